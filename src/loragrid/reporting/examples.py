"""Example answers side by side, as pages to read."""

from pathlib import Path
from typing import Any

from loragrid.comparing.collect import Results, Row
from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.pages.render import render

PROMPTS = 6
RUNS = 6


def examples_page(results: Results, title: str, rows: list[Row]) -> str:
    """The first prompts of each evaluation with the reference and what was answered.

    Args:
        results: the study.
        title: of the page.
        rows: of one model × dataset.

    Returns:
        HTML. At most six runs, those with the lowest validation loss first; what is missing says why.
    """
    by_prompts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_prompts.setdefault((row.answers.evaluation, row.answers.prompts), []).append(row)
    return render(
        "examples",
        title=title,
        evaluations=[
            {"name": evaluation, **_evaluation(Path(results.grid.prompts[prompts].file), members)}
            for (evaluation, prompts), members in by_prompts.items()
        ],
    )


def _evaluation(prompts_file: Path, rows: list[Row]) -> dict[str, Any]:
    """Prompts, each with who said what, and a note; without prompts the note says why."""
    try:
        prompts = _first(prompts_file, PROMPTS)
    except UserError as error:
        return {"note": f"No prompts to show: {error}", "prompts": []}
    untrained = [row for row in rows if row.run is None]
    runs = sorted(
        (row for row in rows if row.run),
        key=lambda row: float("inf") if row.validation_loss is None else row.validation_loss,
    )
    shown = untrained + runs[:RUNS]
    texts = {id(row): _answers(row, {prompt["id"] for prompt in prompts}) for row in shown}
    described = []
    for prompt in prompts:
        # Of a conversation, what each has said before is shown with the turn before.
        turns = prompt["messages"][-1:] if prompt["is_turn"] else prompt["messages"]
        lines = [(f"{turn.get('role')}", f"{turn.get('content')}") for turn in turns]
        if prompt["reference"]:
            lines.append(("reference", prompt["reference"]))
        lines += [(_name(row), texts[id(row)].get(prompt["id"]) or _absent(row, texts[id(row)])) for row in shown]
        described.append({"id": prompt["id"], "lines": lines})
    note = f"The {RUNS} of {len(runs)} runs with the lowest validation loss." if len(runs) > RUNS else ""
    return {"note": note, "prompts": described}


def _first(file: Path, number: int) -> list[dict[str, Any]]:
    """The first prompts of a file.

    Raises:
        UserError: the file is missing or damaged.
    """
    prompts: list[dict[str, Any]] = []
    for record in read_jsonl(file):
        if len(prompts) == number:
            break
        try:
            messages = [dict(message) for message in record["messages"]]
            about = {"id": str(record["id"]), "reference": str(record["reference"])}
            prompts.append({**about, "messages": messages, "is_turn": record.get("after") is not None})
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{file}: damaged prompt {len(prompts) + 1}") from None
    return prompts


def _answers(row: Row, wanted: set[str]) -> dict[str, str]:
    """The row's answers to some prompts by id; under "" why they cannot be read."""
    file = row.answers.generations
    if file is None:
        return {"": "this evaluation asks for no answers"}
    if row.run and not row.trained:
        return {"": row.reason}
    try:
        return {
            str(record["id"]): str(record["answer"]) or "(empty answer)"
            for record in read_jsonl(Path(file))
            if record["id"] in wanted
        }
    except UserError as error:
        return {"": row.reason or str(error)}
    except (KeyError, TypeError):
        return {"": f"{file}: damaged answers"}


def _absent(row: Row, texts: dict[str, str]) -> str:
    return f"({row.status}: {texts['']})" if "" in texts else "(no answer to this prompt)"


def _name(row: Row) -> str:
    if row.run is None:
        return "untrained"
    return f"{row.run.label} ({row.run.name})" if row.run.label else row.run.name
