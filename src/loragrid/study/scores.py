"""How a study names its scores: a metric, `{metric: {setting: value, label: name}}`, or a group of metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loragrid.study import choices
from loragrid.study.keys import key_of, short
from loragrid.study.problems import unknown
from loragrid.study.registry import Registry


@dataclass(frozen=True)
class Score:
    """What answers are scored by. Answers and batches hold it as a mapping of these fields.

    Args:
        name: of the metric.
        label: takes the metric's name in columns; None for none.
        version: of the metric.
        options: settings that differ from their defaults.
        place: where it is computed.
        needs: files that have to be there.
        with_prompt: whether it reads prompts as the model saw them, for which the model's tokenizer has to be there.
        key: of all but the label and those settings that only say how fast it is made.
        encoded: of a score by an encoder, the ids of this `encoder` and of the evaluation's `references`.
        against: whose answers it compares with, `untrained` or the name of a point; None for none.
        opponent: folder of those answers, which is in the key, too.
    """

    name: str
    label: str | None
    version: int
    options: dict[str, Any]
    place: str
    needs: list[str]
    with_prompt: bool
    key: str
    encoded: dict[str, str] | None = None
    against: str | None = None
    opponent: str | None = None

    @property
    def id(self) -> str:
        """By what a study's scores are told apart."""
        return self.label or self.name


def file_name(score: dict[str, Any]) -> str:
    """The name of a score's file, below `scores/` or in a work folder."""
    return f"{score['name']}-{short(score['key'])}.json"


def judgements_of(folder: str, score: dict[str, Any]) -> str:
    """The file of what a judge said of answers, from the folder of these; it is named like the score's own."""
    return f"{folder}/judgements/{file_name(score).removesuffix('.json')}.jsonl"


def columns_with(metric: Any, options: Mapping[str, Any]) -> Iterable[Any]:
    """The columns of a metric; those of a judge depend on its rubric.

    Args:
        metric: its module.
        options: its checked settings.
    """
    own = getattr(metric, "columns", None)
    return own(metric.Options.model_validate(options)) if own else metric.COLUMNS


def column_name(column: str, metric: str, label: str | None) -> str:
    """What tables call a column of a metric: a label takes the metric's name in it, or goes before it."""
    if label is None:
        return column
    rest = column.removeprefix(metric) if column.startswith(metric) else f"_{column}"
    return f"{label}{'_' if rest and rest[0] != '_' else ''}{rest}"


def column_names(evaluations: Any, registry: Registry) -> set[str]:
    """All columns that a study may speak of: those of every metric, and those with labels of its own.

    Args:
        evaluations: of the study as read, unchecked.
        registry: the metrics there are.
    """
    names = {column.name for metric in registry.metrics.values() for column in metric.COLUMNS}
    for evaluation in evaluations.values() if isinstance(evaluations, dict) else ():
        entries = evaluation.get("scores") if isinstance(evaluation, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            choice, label = _without_label(entry)
            metric = registry.metrics.get(next(iter(choice))) if isinstance(choice, dict) else None
            if metric is not None:
                names |= {
                    column_name(column.name, next(iter(choice)), label if isinstance(label, str) else None)
                    for column in _columns_unchecked(metric, choice)
                }
    return names


def score_problems(where: str, entries: Iterable[Any], registry: Registry) -> list[str]:
    """What is wrong with the scores of an evaluation.

    Args:
        where: their key in the study file.
        entries: as read, of any type.
        registry: the metrics there are.
    """
    problems: list[str] = []
    taken: dict[str, int] = {}
    for index, entry in enumerate(entries):
        here = f"{where}[{index}]"
        if isinstance(entry, str) and entry in registry.groups:
            ids = list(registry.groups[entry])
        else:
            choice, label = _without_label(entry)
            found = _choice_problems(here, choice, registry)
            if label is not None and not _is_label(label):
                found.append(f"{here}: its label is a name of letters, digits and _, not {label!r}")
            problems += found
            if found or not isinstance(choice, str | dict):
                continue
            ids = [label or choices.parted(choice)[0]]
            if label in registry.metrics:
                problems.append(f"{here}: the label {label!r} is the name of a metric; take another one")
        for id_ in ids:
            if id_ in taken:
                problems.append(f"{here}: {id_!r} is there already, as [{taken[id_]}]; give one of them a `label`")
            taken.setdefault(id_, index)
    return problems


def column_problems(evaluations: Mapping[str, Any], registry: Registry) -> list[str]:
    """Scores of several evaluations that would mean different things in one column of the tables.

    Args:
        evaluations: of the study, by name; their scores are without problems.
        registry: the metrics there are.
    """
    problems = []
    first: dict[str, tuple[str, Score]] = {}
    for name, evaluation in evaluations.items():
        for id_, score in resolved_scores(evaluation.scores, registry).items():
            where, other = first.setdefault(id_, (name, score))
            if other.key != score.key:
                problems.append(
                    f"evaluations.{name}.scores: {id_!r} has other settings than in {where!r}, and both would stand in "
                    "one column; give one of them a `label`"
                )
    return problems


def _choice_problems(where: str, choice: Any, registry: Registry) -> list[str]:
    if isinstance(choice, str):
        if choice not in registry.metrics:
            return unknown(where, choice, [*registry.metrics, *registry.groups])
        return choices.problems(where, choice, registry.metrics)  # some metric may need settings
    if isinstance(choice, dict) and len(choice) == 1 and (name := next(iter(choice))) in registry.groups:
        return [f"{where}: {name!r} is several metrics; give settings to one of {', '.join(registry.groups[name])}"]
    return choices.problems(where, choice, registry.metrics)


def resolved_scores(entries: Iterable[choices.Choice], registry: Registry) -> dict[str, Score]:
    """The checked scores of an evaluation, by id."""
    scores = {}
    for entry in entries:
        names = registry.groups.get(entry, (entry,)) if isinstance(entry, str) else (entry,)
        for name in names:
            choice, label = _without_label(name)
            found = choices.resolved(choice, registry.metrics)
            metric = registry.metrics[found["name"]]
            options = metric.Options.model_validate(found["options"])
            against = getattr(metric, "against", None)
            free = getattr(options, "NOT_IN_KEY", ())
            keyed = {name: value for name, value in found["options"].items() if name not in free}
            score = Score(
                label=label,
                place=metric.PLACE,
                needs=list(metric.NEEDS),
                with_prompt=bool(found["options"].get("with_prompt")),
                key=key_of("score", found | {"options": keyed}),
                against=against(options) if against else None,
                **found,
            )
            scores[score.id] = score
    return scores


def _columns_unchecked(metric: Any, choice: dict[str, Any]) -> Iterable[Any]:
    """The columns of a metric with settings that may be wrong, which is told elsewhere."""
    try:
        return columns_with(metric, choices.parted(choice)[1])
    except (ValueError, TypeError, AttributeError):  # pydantic's are of the first kind
        return metric.COLUMNS


def _without_label(entry: Any) -> tuple[Any, Any]:
    """A choice without the label among its options, and the label."""
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, options),) = entry.items()
        if isinstance(options, dict) and "label" in options:
            return {name: {key: value for key, value in options.items() if key != "label"}}, options["label"]
    return entry, None


def _is_label(label: Any) -> bool:
    return isinstance(label, str) and label.replace("_", "a").isalnum() and label.isascii() and label[0].isalpha()
