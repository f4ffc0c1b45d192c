"""Names and paths in a study that refer to nothing.

They are looked for in the file as it was read, not in the checked study, so that they are told together with problems
of form. A value of the wrong type is passed over here: that is told already.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.study import choices
from loragrid.study.encoders import is_local
from loragrid.study.problems import check_part, suggestion, unknown
from loragrid.study.registry import Registry
from loragrid.study.schema.data import DatasetSpec
from loragrid.study.schema.recipe import RecipeSpec
from loragrid.study.scores import column_names, score_problems


def reference_problems(content: dict[str, Any], registry: Registry) -> list[str]:
    """One line for each reference to something that does not exist.

    Args:
        content: a study as read from its file.
        registry: what the study may name.
    """
    models, datasets = _mapping(content.get("models")), _mapping(content.get("datasets"))
    problems = []
    for name, model in _parts(models):
        build = _mapping(model.get("build"))
        problems += missing_path(f"models.{name}.path", model.get("path"))
        problems += _template_problems(f"models.{name}.template", model.get("template"), registry)
        problems += unreadable_text(f"models.{name}.build.corpus", build.get("corpus"))
    chats = _mapping(content.get("chats"))
    for name, chat in _parts(chats):
        problems += _template_problems(f"chats.{name}.template", chat.get("template"), registry)
    for name, dataset in _parts(datasets):
        source = dataset.get("source")
        if "mixture" in dataset:
            problems += _mixture_problems(f"datasets.{name}", dataset, datasets, registry)
            continue
        problems += unknown(f"datasets.{name}.source", source, registry.sources)
        problems += missing_path(f"datasets.{name}.path", dataset.get("path"))
        if isinstance(source, str) and source in registry.sources:
            problems += _data_problems(f"datasets.{name}", registry.sources[source], dataset, registry)
        else:
            problems += _keys_of_no_source(f"datasets.{name}", dataset, registry)
    problems += _point_problems(_list(content.get("points")), models, datasets, chats)
    for index, name in enumerate(_list(content.get("untrained"))):
        problems += unknown(f"untrained[{index}]", name, models)
    for name, evaluation in _parts(_mapping(content.get("evaluations"))):
        problems += unknown(f"evaluations.{name}.dataset", evaluation.get("dataset"), datasets)
        scores = _list(evaluation.get("scores"))
        kind = str(evaluation.get("kind", "dialogue"))
        problems += score_problems(f"evaluations.{name}.scores", scores, registry, kind)
        if kind == "choice":
            problems += _choice_problems(f"evaluations.{name}.dataset", evaluation.get("dataset"), datasets, registry)
        problems += _encoder_problems(f"evaluations.{name}.scores", scores)
    metrics = column_names(content.get("evaluations"), datasets, registry)
    asked = _mapping(content.get("evaluations")) or ["test"]  # as without any
    for index, published in enumerate(map(_mapping, _list(content.get("published")))):
        problems += unknown(f"published[{index}].metric", published.get("metric"), metrics)
        problems += unknown(f"published[{index}].model", published.get("model"), models)
        problems += unknown(f"published[{index}].dataset", published.get("dataset"), datasets)
        problems += unknown(f"published[{index}].evaluation", published.get("evaluation"), asked)
        for field in _mapping(published.get("where")):
            problems += unknown(f"published[{index}].where", field, [*RecipeSpec.model_fields, "name"])
    return problems


def _mixture_problems(where: str, dataset: dict[str, Any], datasets: dict, registry: Registry) -> list[str]:
    """Datasets of a mixture that do not exist, or are mixtures themselves."""
    problems = []
    sources = {name for name, each in _parts(datasets) if "mixture" not in each}
    mixture = _mapping(dataset["mixture"])
    for key in ("weights", "counts"):
        for name in _mapping(mixture.get(key)):
            if name in datasets and name not in sources:
                problems.append(f"{where}.mixture.{key}: {name!r} is a mixture itself: name what it is made of")
            else:
                problems += unknown(f"{where}.mixture.{key}", name, sources)
    if dataset.get("format") is not None:
        problems += choices.problems(f"{where}.format", dataset["format"], registry.formats)
    return problems


def _data_problems(where: str, source: Any, dataset: dict[str, Any], registry: Registry) -> list[str]:
    """Problems of how a dataset is read, cleaned and formatted."""
    options = {name: value for name, value in dataset.items() if name not in DatasetSpec.model_fields}
    problems = check_part(source.Options, options, where, also=DatasetSpec.model_fields)
    path = dataset.get("path")
    if not problems and not missing_path(where, path):  # what data is shows only where it can be found
        try:
            kind = kind_of(source, source.Options.model_validate(options), path)
        except UserError as error:
            problems.append(f"{where}: {error}")
        else:
            problems += _format_problems(f"{where}.format", dataset, kind, registry)
    for index, step in enumerate(_list(dataset.get("steps"))):
        problems += choices.problems(f"{where}.steps[{index}]", step, registry.steps)
    return problems


def _keys_of_no_source(where: str, dataset: dict[str, Any], registry: Registry) -> list[str]:
    """Keys of a dataset without a known source that none would know."""
    valid = set(DatasetSpec.model_fields).union(*(each.Options.model_fields for each in registry.sources.values()))
    return [
        f"{where}.{key}: unknown key.{suggestion(str(key), valid)} Valid keys: {', '.join(sorted(valid))}."
        for key in dataset
        if key not in valid
    ]


def _format_problems(where: str, dataset: dict[str, Any], kind: type, registry: Registry) -> list[str]:
    if (format_ := dataset.get("format")) is None:
        return []
    if found := choices.problems(where, format_, registry.formats):
        return found
    name, _ = choices.parted(format_)
    if registry.formats[name].KIND is kind:
        return []
    fitting = sorted(name for name, format_ in registry.formats.items() if format_.KIND is kind)
    return [f"{where}: {name!r} is not for what {dataset['source']} has. Valid: {', '.join(fitting)}."]


def _choice_problems(where: str, name: Any, datasets: dict, registry: Registry) -> list[str]:
    """Why a dataset has no questions with choices to ask; nothing where that cannot be seen yet."""
    dataset = _mapping(datasets.get(name)) if isinstance(name, str) else {}
    fitting = [each for each, spec in _parts(datasets) if _has_choices(spec, registry)]
    valid = f"Valid: {', '.join(fitting) or 'none of this study'}."
    if "mixture" in dataset:
        return [f"{where}: {name!r} is a mixture; name what it is made of, each in an evaluation of its own. {valid}"]
    if _has_choices(dataset, registry) is False:
        return [f"{where}: {name!r} has no questions with choices. {valid}"]
    return []


def _has_choices(dataset: dict[str, Any], registry: Registry) -> bool | None:
    """Whether a dataset has questions with choices; None where that cannot be seen, which is told elsewhere."""
    name = dataset.get("source")
    source = registry.sources.get(name) if isinstance(name, str) else None
    if source is None or "choice" not in registry.formats:
        return None
    options = {name: value for name, value in dataset.items() if name not in DatasetSpec.model_fields}
    try:
        kind = kind_of(source, source.Options.model_validate(options), dataset.get("path"))
    except (UserError, ValueError, OSError):
        return None
    return bool(kind is registry.formats["choice"].KIND)


def kind_of(source: Any, options: Any, path: Any) -> Any:
    """What the records of a dataset are: a class of the data package.

    Args:
        source: its source.
        options: checked options of it.
        path: of the study, if it is a text.

    Raises:
        UserError: nothing says it, or there is nothing to read.
    """
    local = expand(path) if isinstance(path, str) else None
    if source.KIND is None:
        return source.kind(options, local)
    if source.REMOTE is None and local is None:
        raise UserError(f"has no download; get it from {source.HOMEPAGE} and give its place as `path`")
    return source.KIND


def _encoder_problems(where: str, scores: list) -> list[str]:
    """Local encoders that are not there."""
    problems = []
    for index, score in enumerate(map(_mapping, scores)):
        for name, options in _parts(score):
            encoder = options.get("encoder")
            if isinstance(encoder, str) and is_local(encoder):
                problems += missing_path(f"{where}[{index}].{name}.encoder", encoder)
    return problems


def missing_path(where: str, path: Any) -> list[str]:
    """One problem if a path of a study leads nowhere on this machine."""
    if not isinstance(path, str):
        return []
    if unset := re.findall(r"\$\{?(\w+)", os.path.expandvars(path)):
        variables = " and ".join(f"${name}" for name in unset)
        return [f"{where}: {path!r} uses {variables}, not set in the environment"]
    try:
        if not expand(path).exists():
            return [f"{where}: there is no {path!r} (relative paths start at {Path.cwd()})"]
    except OSError as error:
        return [f"{where}: {path!r} cannot be read ({error.strerror})"]
    return []


def unreadable_text(where: str, path: Any) -> list[str]:
    """One problem if a path of a study leads to no text file, which is seen at its beginning."""
    if problems := missing_path(where, path):
        return problems
    if not isinstance(path, str):
        return []
    try:
        with expand(path).open(encoding="utf-8") as file:
            file.read(1)
    except OSError as error:
        return [f"{where}: {path!r} cannot be read ({error.strerror})"]
    except UnicodeDecodeError as error:
        return [f"{where}: {path!r} is no UTF-8 text ({error.reason})"]
    return []


def expand(path: str) -> Path:
    """A path of a study with ~ and $VARIABLES replaced."""
    return Path(os.path.expandvars(path)).expanduser()


def _template_problems(where: str, template: Any, registry: Registry) -> list[str]:
    if not isinstance(template, str) or template in registry.templates:
        return []
    if "/" not in template and "." not in template and not expand(template).exists():
        return unknown(where, template, registry.templates)
    return unreadable_text(where, template)


def _point_problems(points: list, models: dict, datasets: dict, chats: dict) -> list[str]:
    problems = []
    names = [point["name"] for point in map(_mapping, points) if isinstance(point.get("name"), str)]
    parents = {}
    for index, point in enumerate(map(_mapping, points)):
        problems += unknown(f"points[{index}].model", point.get("model"), models)
        problems += unknown(f"points[{index}].dataset", point.get("dataset"), datasets)
        problems += unknown(f"points[{index}].chat", point.get("chat"), chats)
        problems += unknown(f"points[{index}].parent", point.get("parent"), set(names))
        if isinstance(point.get("name"), str) and isinstance(point.get("parent"), str):
            parents[point["name"]] = point["parent"]
    for name, number in Counter(names).items():
        if number > 1:
            problems.append(f"points: the name {name!r} is given to {number} points; names are unique")
    problems += [
        f"points: {name!r} is, through its parents, its own parent" for name in parents if _is_circular(name, parents)
    ]
    return problems


def _is_circular(name: str, parents: dict[str, str]) -> bool:
    seen = set()
    above = parents.get(name)
    while above is not None and above not in seen:
        if above == name:
            return True
        seen.add(above)
        above = parents.get(above)
    return False


def _mapping(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _parts(value: dict) -> list[tuple[Any, dict]]:
    return [(name, part) for name, part in value.items() if isinstance(part, dict)]
