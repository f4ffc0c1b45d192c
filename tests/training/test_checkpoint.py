import json
from dataclasses import replace

import pytest
import torch
from bitsandbytes.optim import AdamW8bit, PagedAdamW32bit

from loragrid.training.checkpoint import Checkpoint, load, newest, save


def checkpoint(step):
    parameter = torch.nn.Parameter(torch.arange(6.0))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    parameter.grad = torch.ones(6)
    optimizer.step()
    return Checkpoint(
        step=step,
        validated_at=step - 1,
        adapter={"a.weight": parameter.detach()},
        optimizer=optimizer.state_dict(),
        scheduler={"last_epoch": step},
        scaler={"scale": 1024.0},
        random={"cpu": torch.get_rng_state()},
        best={"loss": 1.5, "step": 1},
        best_adapter={"a.weight": torch.zeros(6)},
        trainer={"global_step": step},
    )


def test_what_is_saved_is_what_is_loaded(tmp_path):
    saved = checkpoint(3)
    save(tmp_path, saved)
    loaded = load(newest(tmp_path)[0])
    for name in ("step", "validated_at", "scheduler", "scaler", "best", "trainer"):
        assert getattr(loaded, name) == getattr(saved, name)
    for name in ("adapter", "random", "best_adapter"):
        for key, tensor in getattr(saved, name).items():
            assert torch.equal(getattr(loaded, name)[key], tensor)
    parameter = torch.nn.Parameter(torch.zeros(6))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    optimizer.load_state_dict(loaded.optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1
    for name, value in saved.optimizer["state"][0].items():
        assert torch.equal(optimizer.state[parameter][name], value)


@pytest.mark.parametrize("kind", [AdamW8bit, PagedAdamW32bit])
def test_moments_of_bitsandbytes_are_loaded_as_they_were_saved(tmp_path, kind):
    parameters = [torch.nn.Parameter(torch.zeros(64, 128)) for _ in range(2)]
    optimizers = [kind([parameter], lr=0.1) for parameter in parameters]
    # What its first step does; the step itself needs a GPU.
    optimizers[0].init_state(optimizers[0].param_groups[0], parameters[0], 0, 0)
    state = optimizers[0].state[parameters[0]]
    state["step"] = 7
    state["state1"] += 3
    save(tmp_path, replace(checkpoint(3), optimizer=optimizers[0].state_dict()))
    optimizers[1].load_state_dict(load(newest(tmp_path)[0]).optimizer)
    loaded = optimizers[1].state[parameters[1]]
    assert loaded.keys() == state.keys()
    assert loaded["state1"].dtype == (torch.uint8 if kind is AdamW8bit else torch.float32)
    for name, value in state.items():
        assert torch.equal(loaded[name], value) if isinstance(value, torch.Tensor) else loaded[name] == value, name


def test_the_two_newest_are_kept(tmp_path):
    for step in (1, 2, 10):
        save(tmp_path, checkpoint(step))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


def truncate(folder):
    (folder / "optimizer.safetensors").write_bytes(b"")


def lose_a_file(folder):
    (folder / "random.safetensors").unlink()


def lose_the_digest(folder):
    (folder / "digest.json").unlink()


def garble_the_digest(folder):
    (folder / "digest.json").write_text("{")


def change_a_number(folder):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"step": 7}))


@pytest.mark.parametrize("damage", [truncate, lose_a_file, lose_the_digest, garble_the_digest, change_a_number])
def test_a_damaged_one_is_recognised_and_the_one_before_is_used(tmp_path, damage):
    before = save(tmp_path, checkpoint(1))
    damaged = save(tmp_path, checkpoint(2))
    damage(damaged)
    found, warnings = newest(tmp_path)
    assert found == before
    assert len(warnings) == 1
    assert str(damaged) in warnings[0]


def test_a_half_written_one_is_not_seen(tmp_path):
    before = save(tmp_path, checkpoint(1))
    save(tmp_path, checkpoint(2)).rename(tmp_path / ".step-00000002")
    assert newest(tmp_path) == (before, [])
    save(tmp_path, checkpoint(2))
    assert not (tmp_path / ".step-00000002").exists()


def test_damaged_ones_do_not_take_the_place_of_good_ones(tmp_path):
    save(tmp_path, checkpoint(1))
    truncate(save(tmp_path, checkpoint(9)))
    for step in (2, 3):
        save(tmp_path, checkpoint(step))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def put_a_link_to_nowhere(path, _):
    path.symlink_to("nowhere")


def put_a_link_to_a_folder(path, elsewhere):
    path.symlink_to(elsewhere)


def put_a_file(path, _):
    path.write_text("in the way")


@pytest.mark.parametrize("put", [put_a_link_to_nowhere, put_a_link_to_a_folder, put_a_file])
@pytest.mark.parametrize("name", ["checkpoints/step-00000002", "checkpoints/.step-00000002", "checkpoints"])
def test_what_lies_in_the_place_of_a_checkpoint_is_replaced(tmp_path, put, name):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "checkpoints"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("of somebody")
    if name != "checkpoints":
        save(folder, checkpoint(1))
    put(tmp_path / name, elsewhere)
    saved = save(folder, checkpoint(2))
    assert newest(folder) == (saved, [])
    assert load(saved).step == 2
    assert not saved.is_symlink()
    assert not (folder / ".step-00000002").is_symlink()
    assert (elsewhere / "thesis.txt").read_text() == "of somebody"


@pytest.mark.parametrize("put", [put_a_link_to_nowhere, put_a_link_to_a_folder, put_a_file])
def test_what_is_no_checkpoint_is_passed_over_and_dropped_in_time(tmp_path, put):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "checkpoints"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("of somebody")
    before = save(folder, checkpoint(2))
    for step in ("00000001", "00000003"):
        put(folder / f"step-{step}", elsewhere)
    found, warnings = newest(folder)
    assert found == before
    assert str(folder / "step-00000003") in warnings[0]
    for step in (4, 5):
        save(folder, checkpoint(step))
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000004", "step-00000005"]
    assert (elsewhere / "thesis.txt").read_text() == "of somebody"


def test_none(tmp_path):
    assert newest(tmp_path / "nowhere") == (None, [])
