"""The backend vLLM against a stand-in for its server, which answers by transformers: there is no CUDA here."""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from nano import (
    GREEDY,
    MODEL,
    SAMPLING,
    base_model,
    dialogue,
    interrupted,
    never,
    train,
    train_member,
    write_adapter,
    write_batch,
    write_six,
)
from objects import SCORES, make_answers
from vllm_stand_in import install, requests_of, starts_of

from loragrid.errors import NodeError, UserError
from loragrid.files import read_jsonl, write_jsonl
from loragrid.generation.answer import answer_together
from loragrid.generation.backends import vllm
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.generate import generate_batch
from loragrid.generation.records import repeatable
from loragrid.generation.sheet import Request
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Interrupted
from loragrid.jobs.vllm_program import EXECUTABLE, executable_of
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import empty_base, load_base
from loragrid.modeling.mixed import read_updates
from loragrid.modeling.tokenizer import load_tokenizer
from loragrid.scoring.of_model import write_of_model
from loragrid.study.batches import Batch
from loragrid.study.members import AnswerMember


@pytest.fixture(scope="module")
def folders(nano_root, tmp_path_factory):
    return write_six(tmp_path_factory.mktemp("adapters"), nano_root / MODEL)


@pytest.fixture
def chat(nano):
    return Chat(load_tokenizer(MODEL))


@pytest.fixture
def prompts():
    made = (dialogue(number) for number in range(300, 306))
    return [{"id": d["id"], "messages": d["messages"][:-1]} for d in made]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Installs the stand-in; the folder that has what it was asked."""

    def stand_in(name="vllm-env", **behaviour):
        monkeypatch.setenv(EXECUTABLE, str(install(tmp_path / name, **behaviour)))
        return tmp_path / name

    return stand_in


@pytest.fixture
def asked(prompts, folders, tmp_path):
    """What the base and adapters are asked, in a folder each."""

    def asked(place, adapter_of, number=None):
        made = []
        for index, folder in enumerate([*folders[:number], None]):
            out = tmp_path / place / f"{index}" / "generations.jsonl"
            out.parent.mkdir(parents=True, exist_ok=True)
            adapter = adapter_of(folder) if folder else None
            made.append(Request(prompts, out, index, {"of": f"{index}"}, Reporter(out.parent), adapter))
        return made

    return asked


@pytest.fixture
def by_transformers(nano, chat, asked):
    """The answers of transformers."""

    def by_transformers(decoding, number=None, chat=chat):
        base = load_base(MODEL, "nf4").eval()
        made = asked("transformers", lambda folder: read_updates(base, folder), number)
        answer_together(Transformers(base, 8), chat, made, decoding=decoding, stop=never())
        found = answers(made)
        for request in made:
            request.out.unlink()
        return found

    return by_transformers


def serving(folders, log, stop=None, precision="nf4"):
    return vllm.serving(MODEL, precision, folders, log, stop or never())


def answers(requests):
    return [[repeatable(row) for row in read_jsonl(request.out)] for request in requests]


def which(found):
    """Subject and prompt of each request."""
    return [(each["body"]["model"], tuple(each["body"]["prompt"])) for each in found]


def gone(processes):
    """Whether processes end within some seconds."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in processes if psutil.pid_exists(pid)], timeout=120)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_six_adapters_and_their_base_answer_as_by_transformers(
    by_transformers, asked, folders, chat, stand_in, tmp_path
):
    place, log = stand_in(), tmp_path / "server.log"
    tokenizer = load_tokenizer(MODEL)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + ' e' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    words = Chat(tokenizer)  # whose end of turn is no token
    with serving(folders, log) as backend:
        for number, (decoding, how) in enumerate(
            [(GREEDY, chat), (SAMPLING, chat), (GREEDY | {"max_new_tokens": 20}, words)]
        ):
            expected = by_transformers(decoding, chat=how)
            made = asked(f"vllm-{number}", lambda folder: folder)
            answer_together(backend, how, made, decoding=decoding, stop=never())
            assert answers(made) == expected
            records = [record for each in expected for record in each]
            assert {record["ended"] for record in records} >= {"length"}
    took = json.loads(made[0].out.with_name("generation.json").read_text())
    assert (took["backend"], took["vllm"], took["peak_memory_bytes"]) == ("vllm", "0.0.0+stand-in", None)
    assert (took["of"], took["answers"], took["together"]) == ("0", 6, 7)
    (start,) = starts_of(place)
    arguments = " ".join(start["argv"])
    assert "--host 127.0.0.1" in arguments
    assert "--max-loras 6 --max-cpu-loras 6 --max-lora-rank 16" in arguments
    assert "--quantization bitsandbytes" in arguments
    key = start["environment"]["VLLM_API_KEY"]
    assert len(key) > 30
    assert {each["headers"]["Authorization"] for each in requests_of(place)} == {f"Bearer {key}"}
    assert key not in arguments
    assert key not in log.read_text()
    assert "TORCHDYNAMO_DISABLE" not in start["environment"]  # it compiles
    assert gone(start["processes"])


def test_told_to_end_it_goes_on_with_what_is_left(
    by_transformers, asked, folders, chat, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(vllm, "IN_FLIGHT", 2)
    expected, place = by_transformers(GREEDY, 2), stand_in()
    made, stop = asked("cut", lambda folder: folder, 2), never()
    check = stop.check

    def after_five(where, *, progress=True):
        stop.signalled = any(f"after {number} of" in where for number in range(5, 20))
        check(where, progress=progress)

    stop.check = after_five
    with serving(folders[:2], tmp_path / "server.log") as backend:
        with pytest.raises(Interrupted, match="after 5 of 18 answers"):
            answer_together(backend, chat, made, decoding=GREEDY, stop=stop)
        kept = sum(len(each.out.with_suffix(".part.jsonl").read_bytes().splitlines()) for each in made)
        assert kept == 5
        time.sleep(1)  # those in flight
        before = len(requests_of(place))
        answer_together(backend, chat, made, decoding=GREEDY, stop=never())
    assert len(requests_of(place)) - before == 18 - kept
    assert answers(made) == expected


def test_after_the_server_was_killed_another_one_answers_the_rest(
    by_transformers, asked, folders, chat, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(vllm, "IN_FLIGHT", 2)
    expected, log = by_transformers(GREEDY, 2), tmp_path / "server.log"
    made, place = asked("cut", lambda folder: folder, 2), stand_in(until=8)
    with (
        pytest.raises(vllm.ServerFailed, match=r"does not answer any more(?s:.)*loading the model"),
        serving(folders[:2], log) as backend,
    ):
        answer_together(backend, chat, made, decoding=GREEDY, stop=never())
    parts = [request.out.with_suffix(".part.jsonl") for request in made]
    kept = sum(len(part.read_bytes().splitlines()) for part in parts)
    assert 5 <= kept <= 7
    assert gone(starts_of(place)[0]["processes"])
    other = stand_in("again")
    with serving(folders[:2], log) as backend:
        answer_together(backend, chat, made, decoding=GREEDY, stop=never())
    assert len(requests_of(other)) == 18 - kept
    assert len(set(which(requests_of(other)))) == 18 - kept
    assert answers(made) == expected


def test_a_server_that_does_not_start_says_why(nano, folders, stand_in, tmp_path):
    place = stand_in(dies="RuntimeError: no kernel image is available")
    with (
        pytest.raises(vllm.ServerFailed, match=r"ended with status 1 (?s:.)*no kernel image is available"),
        serving(folders[:1], tmp_path / "server.log"),
    ):
        pass
    assert gone(starts_of(place)[0]["processes"])


def test_a_request_that_is_refused_loses_no_answer_that_is_in_flight(asked, folders, chat, stand_in, tmp_path):
    stand_in(refuses=3)
    with serving(folders[:1], tmp_path / "server.log") as backend:
        made = asked("refused", lambda folder: folder, 1)
        with pytest.raises(UserError, match=r"vLLM refuses a request: .*a word of it is not allowed"):
            answer_together(backend, chat, made, decoding=GREEDY, stop=never())
        files = [each.out if each.out.exists() else each.out.with_suffix(".part.jsonl") for each in made]
        assert sum(len(list(read_jsonl(file))) for file in files) == 2 * 6 - 1


def test_less_room_than_a_prompt_needs_is_told(asked, folders, chat, stand_in, tmp_path):
    place = stand_in(room=20)
    with serving([], tmp_path / "server.log") as backend:
        with pytest.raises(UserError, match="vLLM has room for 20 tokens at a time on this GPU"):
            answer_together(backend, chat, asked("little", None, 0), decoding=GREEDY, stop=never())
        assert not requests_of(place)


def test_conversations_are_those_of_transformers(nano, folders, chat, stand_in, tmp_path):
    stand_in()
    asked, then = ({"role": "user", "content": dialogue(number)["messages"][0]["content"]} for number in (300, 301))
    said = {"role": "assistant", "content": ""}
    turns = [
        {"id": "a#1", "messages": [asked], "reference": "", "after": None},
        {"id": "a#3", "messages": [asked, said, then], "reference": "", "after": "a#1"},
    ]

    def played(place, backend, adapter):
        made = []
        for index, each in enumerate([adapter, None]):
            out = tmp_path / place / f"{index}" / "generations.jsonl"
            out.parent.mkdir(parents=True)
            made.append(Request(turns, out, 0, {}, Reporter(out.parent), each))
        answer_together(backend, chat, made, decoding=GREEDY, stop=never())
        return answers(made)

    base = load_base(MODEL, "nf4").eval()
    expected = played("transformers", Transformers(base, 8), read_updates(base, folders[0]))
    assert expected[0][1]["messages"][1]["content"] == expected[0][0]["answer"]
    with serving(folders[:1], tmp_path / "server.log") as backend:
        assert played("vllm", backend, folders[0]) == expected


def test_told_to_end_while_it_starts(nano, folders, stand_in, tmp_path):
    stand_in()
    with pytest.raises(Interrupted, match="before vLLM answered"), serving([], tmp_path / "server.log", interrupted()):
        pass


def test_without_vllm_it_is_said_what_to_install(nano, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(EXECUTABLE, raising=False)
    with pytest.raises(NodeError, match=r"no vllm on PATH.*pip install -r envs/vllm.txt, then export LORAGRID_VLLM="):
        executable_of()
    monkeypatch.setenv(EXECUTABLE, "/nowhere/vllm")
    with pytest.raises(NodeError, match="LORAGRID_VLLM is /nowhere/vllm, where no program is"):
        executable_of()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"use_dora": True}, "its `use_dora` is more than products"),
        ({"bias": "lora_only"}, "its `bias` is more than products"),
        ({"modules_to_save": ["lm_head"]}, "its `modules_to_save` is more than products"),
        ({"rank_pattern": {"q_proj": 600}}, "its rank is 600, and the largest is 512"),
        ({"target_modules": ["embed_tokens"]}, "it adapts model.embed_tokens, which is no linear layer"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_refused_by_name(nano, tmp_path, config, why):
    folder = write_adapter(tmp_path / "adapter", 0, MODEL, **config)
    with pytest.raises(UserError, match=f"{folder}: vLLM cannot serve this adapter: {why}.*`backend: transformers`"):
        vllm.check_adapter(empty_base(nano / MODEL), folder)


def test_an_adapter_of_another_base_is_refused_by_name(nano, folders, tmp_path):
    file = folders[0] / "adapter_config.json"
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes((folders[1] / "adapter_model.safetensors").read_bytes())
    (other / file.name).write_text(file.read_text())
    with pytest.raises(UserError, match=f"{other}: the adapter does not fit its base"):
        vllm.check_adapter(empty_base(nano / MODEL), other)


# -- as members of a batch


@pytest.fixture
def member(nano, tmp_path):
    """A subject whose evaluation names vLLM."""
    made = (dialogue(number) for number in range(300, 305))
    prompts = [
        {"id": d["id"], "dialogue": d["id"], "messages": d["messages"][:-1], "reference": d["messages"][-1]["content"]}
        for d in made
    ]
    write_jsonl(tmp_path / "prompts.jsonl", prompts)

    def member(name, run=None, backend="vllm"):
        folder = str(tmp_path / "eval" / name)
        answers = make_answers(subject=name, decoding=GREEDY, folder=folder, scores=SCORES, backend=backend)
        parts = {"generations": answers.generations, "likelihood": answers.score_file("likelihood")}
        prompts = str(tmp_path / "prompts.jsonl")
        return AnswerMember(answers, parts, base_model(), prompts, run, preflight_file="data/preflight/none.json")

    return member


def ask(*members):
    return generate_batch(Batch("generate", "0" * 10, members, [], []), write_of_model)


def made_of(member):
    return {file.name for file in member.work.iterdir() if file.suffix in (".json", ".jsonl")}


def test_runs_that_cannot_be_served_fail_by_name_and_the_others_are_answered_and_scored(member, stand_in, tmp_path):
    place, runs = stand_in(), {}
    for name, recipe in {"plain": {}, "dora": {"dora": True}}.items():
        runs[name] = train_member(tmp_path / name, max_steps=1, evaluations=1, **recipe).run
        train(tmp_path / name, max_steps=1, evaluations=1, **recipe)
    plain, dora, untrained = member("a", runs["plain"]), member("b", runs["dora"]), member("c")
    here = member("here", backend="transformers")
    assert ask(plain, dora, untrained, here)
    reason = json.loads((dora.work / "generations.jsonl.failed.json").read_text())["reason"]
    assert "dora/work/adapter: vLLM cannot serve this adapter: its `use_dora`" in reason
    for each in (plain, dora, untrained):
        assert "likelihood-llllllllll.json" in made_of(each)
    assert [each["answer"] for each in read_jsonl(untrained.work / "generations.jsonl")] == [
        each["answer"] for each in read_jsonl(here.work / "generations.jsonl")
    ]
    assert "generations.jsonl" not in made_of(dora)
    assert json.loads((plain.work / "generation.json").read_text())["backend"] == "vllm"
    assert len(starts_of(place)) == 1
    assert (plain.work / "attempt-1-vllm.log").read_text().startswith("loading the model")


def test_a_machine_without_vllm_is_no_failure_for_good(member, monkeypatch):
    monkeypatch.setenv(EXECUTABLE, "/nowhere/vllm")
    untrained = member("untrained")
    for _ in range(4):  # one more than deaths that are allowed
        assert not ask(untrained)
    attempts = read_attempts(untrained.work)
    assert all(attempt["elsewhere"] for attempt in attempts)
    assert "pip install -r envs/vllm.txt" in attempts[-1]["why"]
    assert not untrained.is_settled()


def killed(worker):
    worker.kill()


def told_to_end(worker):
    """As the process that has started a worker does it, all of whose processes hear of it."""
    for process in (worker, *worker.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()


@pytest.mark.parametrize(("end", "ended"), [(killed, "killed"), (told_to_end, "terminated")])
def test_a_server_ends_with_its_worker_and_nothing_is_answered_twice(member, stand_in, tmp_path, end, ended):
    place, untrained = stand_in(), member("untrained")
    untrained = replace(untrained, parts={"generations": untrained.answers.generations})
    many = [{"id": f"p{n}", "messages": dialogue(300 + n)["messages"][:-1]} for n in range(60)]
    write_jsonl(tmp_path / "prompts.jsonl", many)
    batch = write_batch(tmp_path / "generate-0.json", untrained, stage="generate")
    part = untrained.work / "generations.part.jsonl"
    command = [sys.executable, "-m", "loragrid", "worker", "generate", str(batch), "--members", untrained.folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        while worker.poll() is None and not (part.exists() and len(part.read_bytes().splitlines()) >= 3):
            time.sleep(0.02)
        end(psutil.Process(worker.pid))
    assert gone(starts_of(place)[0]["processes"])
    kept = []
    for line in part.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            kept.append(json.loads(line)["id"])
    other = stand_in("again")
    assert ask(untrained)
    assert len(requests_of(other)) == 60 - len(kept)
    assert [each["id"] for each in read_jsonl(untrained.work / "generations.jsonl")] == [each["id"] for each in many]
    assert [attempt["ended"] for attempt in read_attempts(untrained.work)] == [ended, "finished"]
