"""Read a study file and say everything that is wrong with it at once."""

import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from loragrid.errors import StudyError, UserError
from loragrid.files import unreadable
from loragrid.study.arguments import argument_problems
from loragrid.study.problems import check_part, describe, suggestion, unknown
from loragrid.study.references import reference_problems
from loragrid.study.registry import Registry
from loragrid.study.schema.recipe import Point, RecipeSpec
from loragrid.study.schema.study import Study
from loragrid.study.scores import column_problems


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key is a problem instead of silently winning, and 2e-4 is a number."""

    def __init__(self, text: str):
        super().__init__(text)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *defaults`; its keys may be given again
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, Hashable):  # if not, the loader itself refuses it
                if key in seen:
                    self.repeated.append(f"line {key_node.start_mark.line + 1}: the key {key!r} is there twice")
                seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, wants a dot in it; YAML 1.2 and everybody who writes learning rates do not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def find_study(name: str, folder: Path = Path("config/studies")) -> Path:
    """The file of a study given by name or by path.

    Raises:
        UserError: there is no such study (the message lists those there are), or nobody may look.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        if path.exists() or path.is_symlink():  # where a link leads to nothing, reading it tells that
            return path
    except OSError as error:
        raise UserError(f"study {name!r}: {unreadable(path, error)}") from None
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    known = f"{suggestion(name, there)} Studies in {folder}: {', '.join(there) or 'none'}."
    raise UserError(f"study {name!r}: no file {path}.{known}")


def load_study(path: Path, registry: Registry) -> Study:
    """Read and check one study file; what is left shows when it is expanded (`loragrid.study.grid.resolve`).

    Args:
        path: the YAML file.
        registry: sources and metrics that the study may name.

    Raises:
        StudyError: all problems of form, value and reference, each with its key and the valid alternatives.
    """
    content, problems = read_yaml(path)
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        problems += describe(error, Study, content)
    problems += _recipe_problems(content)
    problems += reference_problems(content, registry)
    problems = problems or column_problems(study.evaluations, study.datasets, registry)
    if problems:
        raise StudyError(str(path), problems)
    return study


def read_yaml(path: Path) -> tuple[dict[Any, Any], list[str]]:
    """What a study file says, unchecked, and a problem for each key that is there twice.

    Raises:
        StudyError: it cannot be read, is not YAML or no mapping.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        content = loader.get_single_data()
    except OSError as error:
        raise StudyError(str(path), [f"the file cannot be read ({error.strerror})"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(str(path), [f"not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(content, dict):
        raise StudyError(str(path), ["the file must be a mapping with the keys title, models, datasets, …"])
    return content, loader.repeated


def _recipe_problems(content: dict) -> list[str]:
    """Check recipe fields where they stand: in `recipe`, in each value of each axis and in each point."""
    problems = []
    recipe = content.get("recipe")
    if isinstance(recipe, dict):
        problems += _check_fields(recipe, "recipe")
    grid = content.get("grid")
    for axis, values in grid.items() if isinstance(grid, dict) else ():
        if not isinstance(values, list):
            continue  # told by the study's own check
        if not values:
            problems.append(f"grid.{axis}: an empty list makes an empty grid; give values or drop the axis")
        if axis == "chat":
            for index, value in enumerate(values):
                problems += unknown(f"grid.chat[{index}]", value, _names(content.get("chats")))
            continue
        for index, value in enumerate(values):
            if axis not in RecipeSpec.model_fields:
                problems += check_part(RecipeSpec, {axis: value}, "grid", also=["chat"])
                break  # the same for each value
            found = _check_fields({axis: value}, "grid")
            problems += [problem.replace(f"grid.{axis}", f"grid.{axis}[{index}]", 1) for problem in found]
    points = content.get("points")
    for index, point in enumerate(points if isinstance(points, list) else ()):
        if isinstance(point, dict):
            fields = {key: value for key, value in point.items() if key not in Point.model_fields}
            problems += _check_fields(fields, f"points[{index}]", also=Point.model_fields)
    return problems


def _check_fields(fields: dict[str, Any], where: str, also: Iterable[str] = ()) -> list[str]:
    return check_part(RecipeSpec, fields, where, also) + list(argument_problems(fields, where))


def _names(part: Any) -> list[Any]:
    return list(part) if isinstance(part, dict) else []
