"""BERTScore in the workflow: an encoder is fetched, references are encoded once, each score is published alone."""

import pytest
from encoders import LAYER, minilm
from workspace import jobs

from loragrid.metrics.base import Texts
from loragrid.metrics.bertscore import NAMES, Options, items


@pytest.mark.slow
def test_from_answers_that_are_there_to_the_table(finished):
    by = {"encoder": minilm(), "layer": LAYER}
    prompted = {**by, "with_prompt": True, "label": "bertscore_with_prompt"}
    scores = ["rouge", "sacrebleu", "likelihood", {"bertscore": by}, {"bertscore": prompted}]
    finished.study("nano", evaluations={"test": {"decoding": {"max_new_tokens": 8}, "scores": scores}})
    before = finished.made()
    planned = finished.snakemake("-n").stderr
    assert "scores by an encoder (model): 6 to make, references to encode: 1" in planned
    assert "encode" in finished.loragrid("status", "nano").stdout
    done = finished.snakemake()
    made = jobs(done.stdout + done.stderr)
    assert {name: made[name] for name in ("download_encoder", "encode", "score_by_encoder", "publish_score")} == {
        "download_encoder": 1, "encode": 1, "score_by_encoder": 2, "publish_score": 6,
    }  # fmt: skip
    assert "train" not in made
    assert "generate" not in made
    after = finished.made()
    assert {name: after[name] for name in before} == before

    rows = finished.table()
    assert {row["status"] for row in rows} == {"done"}
    assert all(0 < float(row[name]) <= 1 for row in rows for name in (*NAMES, "bertscore_with_prompt_f1"))
    # What is computed for all answers in their order, from files, is what a call with the texts gives.
    (row, *_) = (row for row in rows if row["run"] != "untrained")
    folder = next(path for path in finished.runs().values() if path.name == row["run"])
    (answers_file,) = folder.glob("eval/*/generations.jsonl")
    (prompts_file,) = finished.folder.glob("data/prompts/test-*.jsonl")
    answers = {record["id"]: record["answer"] for record in finished.json_lines(answers_file)}
    prompts = finished.json_lines(prompts_file)
    texts = Texts([answers[prompt["id"]] for prompt in prompts], [prompt["reference"] for prompt in prompts])
    values = [item["bertscore_f1"] for item in items(texts, Options(**by))]
    assert float(row["bertscore_f1"]) == pytest.approx(sum(values) / len(values), abs=1e-4)

    files = [finished.json(file) for file in folder.glob("eval/*/scores/bertscore-*.json")]
    (plain,) = (file for file in files if "with_prompt" not in file["options"])
    assert plain["made"]["encoder"]["layer"] == LAYER
    assert plain["made"]["encoder"]["longest"] == 512
    assert plain["made"]["libraries"].keys() == {"bert-score", "transformers", "torch"}
    assert len(plain["made"]["answers_sha256"]) == 64

    # A damaged file of references is made again by whoever reads it; the score is the same to the last digit.
    (references,) = finished.folder.glob("data/references/*/*.safetensors")
    content = bytearray(references.read_bytes())
    content[-3] ^= 1
    references.write_bytes(content)
    (score,) = (file for file in folder.glob("eval/*/scores/bertscore-*.json") if finished.json(file) == plain)
    score.unlink()
    next((folder / "eval").glob(f"*/work/{score.name}")).unlink()
    finished.snakemake()
    assert finished.json(score) == plain
    logs = "".join(log.read_text() for log in finished.folder.glob("results/logs/score_by_encoder/*.log"))
    assert "stale or damaged; made again" in logs
