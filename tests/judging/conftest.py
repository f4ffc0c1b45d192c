import json
from types import SimpleNamespace

import pytest
from judge_server import TOKEN, Judge, serving
from objects import make_answers, make_batch, make_model

from loragrid.judging import client
from loragrid.metrics.judge import Options
from loragrid.study.keys import changed
from loragrid.study.members import ScoreMember


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """In a folder of its own, without waits between attempts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "BACKOFF", 0.001)
    monkeypatch.setattr(client, "ATTEMPTS", 3)


@pytest.fixture
def judge(monkeypatch):
    """A server, which the environment names."""
    with serving(Judge()) as judge:
        monkeypatch.setenv("LORAGRID_JUDGE_URL", judge.url)
        monkeypatch.setenv("LORAGRID_JUDGE_TOKEN", TOKEN)
        yield judge


@pytest.fixture
def case(tmp_path):
    """Answers to judge: `case({"a": "Hello.", …}, rubric="mt-bench", …)` gives a batch, its member and its score."""

    def make(answers, opponents=None, name="run", meta=None, **settings):
        settings = {"model": "judge", "rubric": "mt-bench", "requests_per_minute": None} | settings
        score = {
            "name": "judge", "label": None, "version": 1, "place": "judge", "needs": [], "with_prompt": False,
            "options": changed(Options.model_validate(settings)), "key": "d" * 64,
            "against": "untrained" if opponents else None, "opponent": "results/other" if opponents else None,
        }  # fmt: skip
        asked = make_answers(folder=f"results/{name}", scores={"judge": score})
        lines(tmp_path / asked.folder / "generations.jsonl", [{"id": i, "answer": a} for i, a in answers.items()])
        if opponents:
            lines(tmp_path / "results/other/generations.jsonl", [{"id": i, "answer": a} for i, a in opponents.items()])
        prompts = [
            {"id": i, "dialogue": i, "messages": [{"role": "user", "content": f"Question {i}?"}], "reference": "r",
             "meta": (meta or {}).get(i, {})}
            for i in answers
        ]  # fmt: skip
        lines(tmp_path / f"prompts-{name}.jsonl", prompts)
        file = f"prompts-{name}.jsonl"
        member = ScoreMember(asked, asked.judgement_files(), make_model(), file, run=None, stage="judge")
        work = tmp_path / asked.folder / "work"
        return SimpleNamespace(
            batch=make_batch(member, stage="judge"), member=member, score=score,
            out=work / "judge-dddddddddd.jsonl", about=work / "judge-dddddddddd.about.json",
            failure=work / "judge-dddddddddd.jsonl.failed.json",
        )  # fmt: skip

    return make


def lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
