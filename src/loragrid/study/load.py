"""Read a study file and say everything that is wrong with it at once."""

import difflib
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from loragrid.errors import StudyError, UserError
from loragrid.study.schema import Point, Recipe, Study


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a repeated key is an error instead of silently winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def find_study(name: str, folder: Path = Path("config/studies")) -> Path:
    """The file of a study given by name or by path.

    Raises:
        UserError: there is no such study; the message lists those there are.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if path.is_file():
        return path
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    raise UserError(f"study {name!r}: no file {path}.{suggestion(name, there)} Studies in {folder}: {', '.join(there) or 'none'}.")


def load_study(path: Path) -> Study:
    """Read and check one study file; what needs other files is checked by `loragrid.study.grid.resolve`.

    Raises:
        StudyError: all problems of form and value, each with its key and the valid alternatives.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(str(path), [f"not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(content, dict):
        raise StudyError(str(path), ["the file must be a mapping with the keys title, models, datasets, …"])
    problems = []
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        problems = describe(error, Study)
    problems += _recipe_problems(content)
    if problems:
        raise StudyError(str(path), problems)
    return study


def _recipe_problems(content: dict) -> list[str]:
    """Check recipe fields where they stand: in `recipe`, in each value of each axis and in each point."""
    problems = []
    recipe = content.get("recipe")
    if isinstance(recipe, dict):
        problems += check_part(Recipe, recipe, "recipe")
    grid = content.get("grid")
    for axis, values in grid.items() if isinstance(grid, dict) else ():
        if not isinstance(values, list):
            continue  # told by the study's own check
        if not values:
            problems.append(f"grid.{axis}: an empty list makes an empty grid; give values or drop the axis")
        for index, value in enumerate(values):
            found = check_part(Recipe, {axis: value}, "grid")
            problems += [p.replace(f"grid.{axis}", f"grid.{axis}[{index}]", 1) for p in found]
            if any("unknown key" in p for p in found):
                break
    points = content.get("points")
    for index, point in enumerate(points if isinstance(points, list) else ()):
        if isinstance(point, dict):
            fields = {key: value for key, value in point.items() if key not in Point.model_fields}
            problems += check_part(Recipe, fields, f"points[{index}]", also=Point.model_fields)
    return problems


def check_part(model: type[BaseModel], value: dict, where: str, also: Iterable[str] = ()) -> list[str]:
    """Problems of one part of a study.

    Args:
        model: what the part must be.
        value: the part as read.
        where: its key in the study file.
        also: further keys that are valid there, for the list of alternatives.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        return describe(error, model, where, also)
    return []


def describe(error: ValidationError, model: type[BaseModel], where: str = "", also: Iterable[str] = ()) -> list[str]:
    """Pydantic's errors as lines for people: key, what is wrong, what would be right."""
    lines = {}
    for item in error.errors():
        location = [part for part in item["loc"] if not _is_union_branch(part)]
        key = _path(where, location)
        if item["type"] == "extra_forbidden":
            valid = [*_keys_at(model, location[:-1]), *also]
            name = str(location[-1])
            text = f"unknown key.{suggestion(name, valid)} Valid keys: {', '.join(sorted(valid))}."
        elif item["type"] == "missing":
            text = "is missing"
        else:
            message = item["msg"].removeprefix("Value error, ")
            text = message[:1].lower() + message[1:]
            if not isinstance(item["input"], dict | list) and item["type"] != "value_error":
                text += f", not {item['input']!r}"
        # One bad value of a union makes an error for each branch: join them.
        lines[key] = f"{lines[key]}; or {text}" if key in lines else f"{key}: {text}"
    return list(lines.values())


def suggestion(name: str, valid: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _is_union_branch(part: str | int) -> bool:
    return isinstance(part, str) and ("[" in part or part in ("bool", "int", "float", "str", "none"))


def _path(where: str, location: list) -> str:
    text = where
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the file"


def _keys_at(model: type[BaseModel], location: list) -> list[str]:
    """The field names of the model found by walking `location` down from `model`."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, list, dict, Annotated):
        for argument in get_args(annotation):
            if found := _model_in(argument):
                return found
    return None
