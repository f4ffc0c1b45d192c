"""How a study names its scores: a metric, `{metric: {setting: value, label: name}}`, or a group of metrics."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loragrid.study import choices
from loragrid.study.keys import key_of
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


def usual_options(source: Any, registry: Registry) -> dict[str, Any]:
    """Settings that scores of choices take from the source of what is asked, unless a study says others.

    Args:
        source: its name, of any type.
        registry: the sources there are.
    """
    reader = registry.sources.get(source) if isinstance(source, str) else None
    categories = getattr(reader, "CATEGORIES", None)
    return {"categories": categories} if categories else {}


def column_names(evaluations: Any, datasets: Any, registry: Registry) -> set[str]:
    """All columns that a study may speak of: those of every metric, and those with labels of its own.

    Args:
        evaluations: of the study as read, unchecked.
        datasets: the same.
        registry: the metrics and sources there are.
    """
    names = {column.name for metric in registry.metrics.values() for column in metric.COLUMNS}
    for evaluation in evaluations.values() if isinstance(evaluations, dict) else ():
        if not isinstance(evaluation, dict):
            continue
        entries, usual = evaluation.get("scores"), {}
        if evaluation.get("kind") == "choice":
            dataset = datasets.get(evaluation.get("dataset")) if isinstance(datasets, dict) else None
            usual = usual_options(dataset.get("source") if isinstance(dataset, dict) else None, registry)
            entries = ["accuracy"] if entries is None else entries
        for entry in entries if isinstance(entries, list) else ():
            choice, label = _without_label(entry)
            named = isinstance(choice, str) or (isinstance(choice, dict) and len(choice) == 1)
            name = (choice if isinstance(choice, str) else next(iter(choice))) if named else None
            metric = registry.metrics.get(name) if isinstance(name, str) else None
            if name is not None and metric is not None:
                names |= {
                    column_name(column.name, name, label if isinstance(label, str) else None)
                    for column in _columns_unchecked(metric, choice, usual)
                }
    return names


def fits(metric: Any, kind: str) -> bool:
    """Whether a metric is one of what an evaluation of some kind makes.

    Args:
        metric: its module.
        kind: of the evaluation.
    """
    if kind == "replay" and not getattr(metric, "WITHOUT_REFERENCE", False):
        return False
    return bool(_is_of_choices(metric) == (kind == "choice"))


def score_problems(where: str, entries: Iterable[Any], registry: Registry, kind: str = "dialogue") -> list[str]:
    """What is wrong with the scores of an evaluation.

    Args:
        where: their key in the study file.
        entries: as read, of any type.
        registry: the metrics there are.
        kind: of the evaluation.
    """
    problems: list[str] = []
    taken: dict[str, int] = {}
    for index, entry in enumerate(entries):
        here = f"{where}[{index}]"
        if isinstance(entry, str) and entry in registry.groups:
            ids = list(registry.groups[entry])
            problems += _kind_problems(here, ids, registry, kind)
        else:
            choice, label = _without_label(entry)
            found = _choice_problems(here, choice, registry)
            if label is not None and not _is_label(label):
                found.append(f"{here}: its label is a name of letters, digits and _, not {label!r}")
            problems += found
            if found or not isinstance(choice, str | dict):
                continue
            ids = [label or choices.parted(choice)[0]]
            problems += _kind_problems(here, [choices.parted(choice)[0]], registry, kind)
            if kind == "replay":
                problems += _pair_problems(here, choice, registry)
            if label in registry.metrics:
                problems.append(f"{here}: the label {label!r} is the name of a metric; take another one")
        for id_ in ids:
            if id_ in taken:
                problems.append(f"{here}: {id_!r} is there already, as [{taken[id_]}]; give one of them a `label`")
            taken.setdefault(id_, index)
    return problems


def column_problems(evaluations: Mapping[str, Any], datasets: Mapping[str, Any], registry: Registry) -> list[str]:
    """Scores of several evaluations that would mean different things in one column of the tables, and equal ones.

    Args:
        evaluations: of the study, by name; their scores are without problems.
        datasets: the same.
        registry: the metrics and sources there are.
    """
    problems = []
    before: dict[str, list[tuple[str, Score]]] = defaultdict(list)
    for name, evaluation in evaluations.items():
        usual = usual_options(datasets[evaluation.dataset].source, registry) if evaluation.dataset else {}
        scores = resolved_scores(evaluation.scores, registry, usual)
        by_key: dict[str, str] = {}
        for id_, score in scores.items():
            if (same := by_key.setdefault(score.key, id_)) != id_:
                problems.append(f"evaluations.{name}.scores: {same!r} and {id_!r} are one score; give it once")
        for id_, score in scores.items():
            for where, other in before[id_]:
                if (what := _differs(score, other, registry)) is not None:
                    problems.append(
                        f"evaluations.{name}.scores: {what} than in {where!r}, and both would stand in one column; "
                        "give one of them a `label`"
                    )
                    break
            before[id_].append((name, score))
    return problems


def _differs(score: Score, other: Score, registry: Registry) -> str | None:
    """What two scores of one id have otherwise, in words; None if each of their columns means one thing."""
    if score.key == other.key:
        return None
    metric = registry.metrics[score.name]
    clash = getattr(metric, "clash", None)
    if clash is None or score.name != other.name:
        return f"{score.id!r} has other settings"
    found = clash(*(metric.Options.model_validate(each.options) for each in (score, other)))
    return None if found is None else f"{score.id!r} has other subjects of {found!r}"


def _kind_problems(where: str, names: Iterable[str], registry: Registry, kind: str) -> list[str]:
    """Metrics of answers in an evaluation of choices, or the other way round, and the like."""
    fitting = [name for name, metric in registry.metrics.items() if fits(metric, kind)]
    wrong = [name for name in names if name not in fitting]
    valid = f"Valid: {', '.join(sorted(fitting)) or 'none'}."
    return [f"{where}: {name!r} {_misfit(registry.metrics[name], kind)}. {valid}" for name in wrong]


def _misfit(metric: Any, kind: str) -> str:
    if kind == "choice":
        return "needs answers in words, of which a `kind: choice` evaluation has none"
    if _is_of_choices(metric):
        return "is of an evaluation of `kind: choice`"
    return (
        "compares with a reference, and what was recorded answered another conversation than the model's own; "
        "ask by `kind: dialogue` for that"
    )


def _pair_problems(where: str, choice: choices.Choice, registry: Registry) -> list[str]:
    """Two answers are compared as answers to one prompt, which those of two conversations are not."""
    found = choices.resolved(choice, registry.metrics)
    metric = registry.metrics[found["name"]]
    against = getattr(metric, "against", None)
    if against is None or against(metric.Options.model_validate(found["options"])) is None:
        return []
    return [
        f"{where}: compares two answers to the same prompt; in a `kind: replay` evaluation each model has a "
        "conversation of its own. Ask by `kind: dialogue`, or judge each by itself."
    ]


def _is_of_choices(metric: Any) -> bool:
    return bool(getattr(metric, "OF_CHOICES", False))


def _choice_problems(where: str, choice: Any, registry: Registry) -> list[str]:
    if isinstance(choice, str):
        if choice not in registry.metrics:
            return unknown(where, choice, [*registry.metrics, *registry.groups])
        return choices.problems(where, choice, registry.metrics)  # some metric may need settings
    if isinstance(choice, dict) and len(choice) == 1 and (name := next(iter(choice))) in registry.groups:
        return [f"{where}: {name!r} is several metrics; give settings to one of {', '.join(registry.groups[name])}"]
    return choices.problems(where, choice, registry.metrics)


def resolved_scores(
    entries: Iterable[choices.Choice], registry: Registry, usual: Mapping[str, Any] | None = None
) -> dict[str, Score]:
    """The checked scores of an evaluation, by id.

    Args:
        entries: as the study has them.
        registry: the metrics there are.
        usual: settings of scores of choices that do not say them, see `usual_options`.
    """
    scores = {}
    for entry in entries:
        names = registry.groups.get(entry, (entry,)) if isinstance(entry, str) else (entry,)
        for name in names:
            choice, label = _without_label(name)
            id_, given = choices.parted(choice)
            if usual and _is_of_choices(registry.metrics[id_]):
                choice = {id_: {**usual, **given}}
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


def _columns_unchecked(metric: Any, choice: choices.Choice, usual: Mapping[str, Any]) -> Iterable[Any]:
    """The columns of a metric with settings that may be wrong, which is told elsewhere."""
    try:
        return columns_with(metric, {**(usual if _is_of_choices(metric) else {}), **choices.parted(choice)[1]})
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
