"""The score file of a judge: judgements, which were made before, become items."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl, sha256_of
from loragrid.generation.records import answers_sha256, is_scored
from loragrid.judging.judge import EQUAL, answer_sha256
from loragrid.metrics.judge import Judged, Options, items, whole
from loragrid.metrics.rubric import Rubric
from loragrid.scoring.file import write_score
from loragrid.scoring.rows import by_id
from loragrid.study.members import ScoreMember, made_file
from loragrid.words import words


def score_judgements(member: ScoreMember, score: Mapping[str, Any], judgements: Path, out: Path) -> None:
    """Make the score file.

    Args:
        member: of a batch: `answers` and `prompts_file`.
        score: as answers hold it.
        judgements: of these answers by this score's rubric.
        out: score file to write.

    Raises:
        UserError: a file is damaged, or the judgements are of other answers.
    """
    options = Options.model_validate(score["options"])
    prompts = Path(member.prompts_file)
    generations = _answers_in(member.answers.folder)
    asked, answered = by_id(prompts, ("dialogue",)), by_id(generations, ("answer",))
    others = by_id(_answers_in(score["opponent"]), ("answer",)) if score.get("opponent") else {}
    said = _by_item(judgements)
    about, judged = [], []
    for id_, prompt in ((id_, prompt) for id_, prompt in asked.items() if is_scored(prompt)):
        answer = answered.get(id_, {}).get("answer")
        found = said.get(id_)
        other = others.get(id_, {}).get("answer")
        if answer is None or found is None or not all(_is_about(each, answer, other) for each in found):
            raise UserError(
                f"{judgements}: what it says of {id_!r} is not of the answer in {generations}"
                f"{', or of its opponent' if others else ''}; delete it, and the file of this name in "
                f"{member.work}, to judge again"
            )
        length = len(words(answer)) - (len(words(others[id_]["answer"])) if others else 0)
        about.append({"id": id_, "dialogue": prompt["dialogue"]})
        judged.append(Judged(_replies(found), length, _groups(prompt, options.rubric)))
    scored = [own | item for own, item in zip(about, items(judged, options), strict=True)]
    made = {
        "prompts_sha256": sha256_of(prompts),
        "answers_sha256": answers_sha256(generations),
        "judgements_sha256": sha256_of(judgements),
    }
    write_score(out, score, scored, whole=whole(scored), made={**made, "judge": options.model})


def _is_about(judgement: Mapping[str, Any], answer: str, other: str | None) -> bool:
    """Whether a judgement is of an answer, and of that which it was compared with."""
    same = judgement["answer_sha256"] == answer_sha256(answer)
    return bool(same and (other is None or judgement.get("opponent_sha256") in (None, answer_sha256(other))))


def _answers_in(folder: str) -> Path:
    return made_file(folder, "generations.jsonl") or Path(folder, "generations.jsonl")


def _by_item(judgements: Path) -> dict[str, list[dict[str, Any]]]:
    needed = {"item", "criterion", "value", "by", "answer_sha256", "repeat", "swapped"}
    said = defaultdict(list)
    for number, record in enumerate(read_jsonl(judgements), start=1):
        if not isinstance(record, dict) or not needed <= record.keys():
            raise UserError(f"{judgements}:{number}: is no judgement; delete the file to judge again")
        said[record["item"]].append(record)
    return said


def _replies(found: list[dict[str, Any]]) -> list[list[dict[str, float] | None]]:
    """The values of each reply, by repeat; nothing for equal answers, about which nobody was asked."""
    replies: dict[int, dict[bool, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for record in found:
        if record["by"] != EQUAL:
            replies[record["repeat"]][record["swapped"]][record["criterion"]] = record["value"]
    return [[None if None in values.values() else values for values in repeat.values()] for repeat in replies.values()]


def _groups(prompt: dict[str, Any], rubric: Rubric) -> dict[str, str]:
    found = prompt.get("meta", {}).get(rubric.by) if rubric.by else None
    return {str(rubric.by): str(found)} if found is not None else {}
