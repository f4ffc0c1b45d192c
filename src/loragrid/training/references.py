"""What runs by DPO are compared with: how likely the parent, or the untrained model, finds each answer.

Computed once for all runs that are compared with the same.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from loragrid.errors import UserError
from loragrid.files import canonical, read_growing, read_json, sha256_of, write_jsonl
from loragrid.jobs import slurm
from loragrid.jobs.adapter import WEIGHTS, adapter_of, parent_in_words
from loragrid.jobs.attempts import out_of_memory_attempts
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.jobs.work import attempt_members
from loragrid.modeling.architecture import architecture_of
from loragrid.modeling.formatted import largest_id, open_rows
from loragrid.modeling.lend import Lender
from loragrid.modeling.load import attach_adapter, compute_dtype, device
from loragrid.modeling.tokenizer import load_chat
from loragrid.study.batches import Batch
from loragrid.study.members import CompareMember
from loragrid.study.micro_batch import pairs_at_a_time
from loragrid.training.preferences import ABOUT, SIDES, log_probabilities_of

SPLITS = ("train", "validation")


def reference_batch(batch: Batch[CompareMember]) -> bool:
    """Compute the log-probabilities of each member of a batch that has none yet.

    Args:
        batch: the recorded batch.

    Returns:
        Whether every member finished or failed for good.
    """
    lender = Lender()
    return attempt_members(
        batch.members,
        "log_probabilities",
        lambda member, work, stop: _compute(member, work, stop, lender),
        slurm.seconds_left,
    )


def _compute(member: CompareMember, work: Path, stop: Stop, lender: Lender) -> None:
    wanted = member.log_probabilities
    run = member.run
    adapter = adapter_of(run.folder, run.key, parent_in_words(run.folder)) if run else None
    at_a_time = _pairs_at_a_time(member.model.micro_batch, work)
    chat = load_chat(member.model.folder, wanted.chat)
    splits = {split: open_rows(member.formatted / f"{split}.arrow") for split in SPLITS}
    architecture = architecture_of(member.model.folder).grown(chat.added_token)
    architecture.check_padding(chat.tokenizer)
    architecture.check_length(read_json(member.formatted / "format.json")["max_length"])
    architecture.check_ids(max(map(largest_id, splits.values())))
    divided = member.model.sharded and torch.cuda.device_count() > 1
    base = lender.base(member.model.folder, wanted.precision, "divided" if divided else "here")
    add_fused_lm_head(base)
    model = (attach_adapter(base, adapter) if adapter else base).eval()
    growing = work / "log_probabilities.part.jsonl"
    about = {"key": wanted.key, "adapter_sha256": sha256_of(adapter / WEIGHTS) if adapter else ""}
    done = _finished(growing, about)
    reporter = Reporter(work)
    total = sum(map(len, splits.values()))
    reporter.begin("pairs", len(done), total)
    collate = DataCollatorForPreference(pad_token_id=chat.tokenizer.pad_token_id)
    before = len(done)
    for split, rows in _batches(splits, done, at_a_time):
        stop.unless_time_for(0)
        stop.check(f"after {len(done)} of {total} pairs", progress=len(done) > before)
        batch = {name: tensor.to(device()) for name, tensor in collate([splits[split][row] for row in rows]).items()}
        # As in training, where the same answers are compared with these.
        with torch.inference_mode(), torch.autocast(device().type, compute_dtype(), enabled=device().type == "cuda"):
            chosen, rejected = log_probabilities_of(model, batch)
        pairs = zip(chosen.tolist(), rejected.tolist(), strict=True)
        lines = {(split, row): pair for row, pair in zip(rows, pairs, strict=True)}
        with growing.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps([*place, *pair]) + "\n" for place, pair in lines.items()))
        done |= lines
        reporter.reach(len(done))
    tensors = {
        f"{split}.{side}": torch.tensor([done[split, row][column] for row in range(len(rows))])
        for split, rows in splits.items()
        for column, side in enumerate(SIDES)
    }
    temporary = work / ".log_probabilities.safetensors"
    # In one entry: of several the order, and so the bytes of the file, would differ from time to time.
    save_file(tensors, temporary, metadata={ABOUT: canonical(about)})
    temporary.replace(work / "log_probabilities.safetensors")
    growing.unlink()


def _pairs_at_a_time(micro_batch: int, work: Path) -> int:
    """Pairs at a time, after the attempts that ran out of the GPU's memory.

    Raises:
        UserError: not even one fits.
    """
    attempts = out_of_memory_attempts(work)
    pairs = pairs_at_a_time(micro_batch, attempts)
    if not pairs:
        raise UserError(
            "a single pair does not fit the GPU's memory: use `method: qlora`, a shorter max_length or a GPU with more "
            f"memory. It was tried {attempts} times"
        )
    return pairs


def _finished(growing: Path, about: dict[str, str]) -> dict[tuple[str, int], tuple[float, float]]:
    """What an earlier attempt has computed with the same adapter."""
    lines = list(read_growing(growing)) if growing.exists() else []
    lines = lines if lines[:1] == [about] else [about]
    write_jsonl(growing, lines)  # without what a kill has cut short
    return {(split, row): (chosen, rejected) for split, row, chosen, rejected in lines[1:]}


def _batches(
    splits: Mapping[str, Dataset], done: Mapping[tuple[str, int], Any], size: int
) -> Iterator[tuple[str, list[int]]]:
    """Rows of like length together, so that less is padded; the same ones, wherever an earlier attempt was stopped."""
    for split, pairs in splits.items():
        lengths = list(pairs["length"])
        order = sorted(range(len(pairs)), key=lengths.__getitem__)
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        yield from ((split, rows) for rows in batches if any((split, row) not in done for row in rows))
