"""What `loragrid status` says of scores by an encoder."""

import re
from pathlib import Path

from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study

MORE = "{bertscore: {encoder: microsoft/deberta-xlarge-mnli}}"


def with_bertscore(place):
    """The study with BERTScore, its first run trained, asked and scored by the texts."""
    answers = place.answers(place.first)
    place.finish(place.first)
    place.answer(answers)
    place.score(answers)
    file = Path("config/studies/small.yaml")
    file.write_text(file.read_text().replace("[likelihood, rouge]", f"[likelihood, rouge, {MORE}]"))
    place.grid = open_study("small", REGISTRY)
    return place.answers(place.first)


def test_what_a_score_waits_for(place):
    answers = with_bertscore(place)
    assert place.cell(place.first, "score") == "waiting"
    (encoder,), (references,) = place.grid.encoders.values(), place.grid.references.values()
    text = place.loragrid("status", "small")
    assert re.search(rf"^download +{encoder.id} +waiting$", text, re.M)
    assert re.search(rf"^encode +{references.id} +waiting$", text, re.M)
    place.write(f"results/logs/download_encoder/{encoder.id}.log", "loragrid: the hub cannot be reached\n")
    assert "failed: the hub cannot be reached" in place.loragrid("status", "small")
    place.write(references.file)
    place.write(encoder.manifest)
    assert not re.search(r"^encode ", place.loragrid("status", "small"), re.M)
    place.write(answers.score_file("bertscore"))
    assert place.cell(place.first, "score") == "done"


def test_a_job_in_the_queue_a_failure_and_what_waits_to_be_published(place):
    answers = with_bertscore(place)
    name = Path(answers.score_file("bertscore")).stem
    id_ = place.batch("score_by_encoder", answers.folder)
    place.write(f"results/logs/score_by_encoder/{id_}.log", "loragrid: no space left\n")
    assert place.cell(place.first, "score") == "failed: no space left"
    place.write(f"{answers.folder}/work/{name}.json")
    assert place.cell(place.first, "score") == "scored, waits to be published"
    Path(f"{answers.folder}/work/{name}.json").unlink()
    failure = {"reason": "no layer 40", "stage": "score", "log": "a.log", "blocked_by": None}
    place.write(f"{answers.folder}/work/{name}.failed.json", failure)
    assert place.cell(place.first, "score") == "failed: no layer 40"
