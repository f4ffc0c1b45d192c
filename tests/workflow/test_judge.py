"""A study with a judge, through the real workflow: the judge is an HTTP server on this machine."""

import json
import subprocess

import pytest
from judge_server import TOKEN, Judge, serving
from workspace import environment, jobs

SCORES = [
    "rouge",
    {"judge": {"model": "judge", "rubric": "emotional-support", "requests_per_minute": 6000}},
    {"judge": {"model": "judge", "rubric": "pairwise", "label": "duel", "requests_per_minute": 6000}},
]
TEST = {"decoding": {"max_new_tokens": 8}, "scores": SCORES}


@pytest.fixture
def judged(finished):
    """The nano study, finished but for a judge."""
    finished.study("nano", evaluations={"test": TEST})
    return finished


def start(workspace, url="", fails=False):
    """Run the workflow where the server on this machine can be reached."""
    own = {"LORAGRID_JUDGE_URL": url, "LORAGRID_JUDGE_TOKEN": TOKEN}
    done = subprocess.run(workspace.command(network=True), cwd=workspace.folder, env=environment() | own, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr + workspace.last_logs()
    return done.stdout + done.stderr


@pytest.mark.slow
def test_scores_of_a_judge_stand_beside_the_others(judged):
    with serving(Judge()) as judge:
        said = start(judged, judge.url)
        assert jobs(said).keys() >= {"judge", "publish_judgements", "score", "publish_score"}
        assert "train" not in jobs(said)
        assert "generate" not in jobs(said)
        assert "judgements to ask for, at most: 56 of judge" in said  # 3 × 8, and 2 × 8 in both orders
        rows = judged.table()
        assert len(rows) == 3
        assert all(0 <= float(row["judge_engagement"]) <= 10 for row in rows)
        assert all(row["judge_mean"] and float(row["judge_parse_failures"]) == 0 for row in rows)
        untrained = next(row for row in rows if not row["rank"])
        assert float(untrained["duel_win_rate"]) == 0.5
        judgements = list(judged.folder.glob("results/**/eval/*/judgements/*.jsonl"))
        assert len(judgements) == 6
        first = json.loads(judgements[0].read_text().splitlines()[0])
        assert first.keys() >= {"answers", "item", "criterion", "value", "by", "raw", "answer_sha256"}
        # Nothing is asked twice.
        number = len(judge.requests)
        start(judged, judge.url)
        assert len(judge.requests) == number
    written = [path for path in judged.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in said


@pytest.mark.slow
def test_without_a_judge_all_else_is_there_and_the_next_start_goes_on(judged):
    said = start(judged, fails=True)
    assert "Warning: LORAGRID_JUDGE_URL is not set" in said
    rows = judged.table()
    assert all(row["rougeL"] for row in rows)
    assert {row["status"] for row in rows} == {"failed"}
    assert all("failed in judge: LORAGRID_JUDGE_URL is not set" in row["reason"] for row in rows)
    status = judged.loragrid("status", "nano").stdout
    assert "judge" in status.splitlines()[0]
    assert "LORAGRID_JUDGE_URL" in judged.loragrid("failures", "nano").stdout
    with serving(Judge(500, "no", "half")) as judge:
        start(judged, judge.url)
    assert {row["status"] for row in judged.table()} == {"done"}
    assert "judge" in judged.loragrid("status", "nano").stdout.splitlines()[0]


def test_a_check_says_how_much_would_be_asked_and_of_whom(judged):
    done = judged.loragrid("check", "nano")
    assert "judgements to ask for, at most: 56 of judge" in done.stdout
    assert "LORAGRID_JUDGE_URL is not set" in done.stderr
    assert "Judgements to ask for, at most: 56 of judge." in judged.loragrid("plan", "nano").stdout


def test_a_start_after_answers_have_failed_says_what_they_hold_up(judged):
    untrained = next(judged.folder.glob("results/untrained/*/eval/*"))
    for file in (untrained / "generations.jsonl", untrained / "work/generations.jsonl"):
        file.unlink()
    failure = {"reason": "no room", "stage": "generate", "log": "a.log", "blocked_by": None}
    (untrained / "work/generations.jsonl.failed.json").write_text(json.dumps(failure))
    planned = judged.snakemake("-n")
    assert jobs(planned.stdout + planned.stderr)["publish_judgements"] == 6
    judged.loragrid("tabulate", "--study", "nano")
    reasons = {row["run"]: row["reason"] for row in judged.table()}
    assert "failed in generate: no room" in reasons.pop("untrained")
    why = "who it is compared with has not answered: failed in generate: no room"
    assert all(why in each for each in reasons.values())
    assert "who it is compared with has not answered: no room" in judged.loragrid("failures", "nano").stdout
