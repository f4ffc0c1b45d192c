"""Problems of a study as lines for people: the key, what is wrong, what would be right."""

import difflib
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from loragrid.study.schema.evaluations import UnknownKind


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
        return describe(error, model, value, where, also)
    return []


def describe(
    error: ValidationError, model: type[BaseModel], value: dict, where: str = "", also: Iterable[str] = ()
) -> list[str]:
    """Pydantic's errors as lines.

    Args:
        error: what checking the part raised.
        model: what the part must be.
        value: the part as read.
        where: its key in the study file; empty for the file as a whole.
        also: further keys that are valid there, for the list of alternatives.
    """
    lines: dict[str, str] = {}
    for item in error.errors():
        location = _location(item["loc"], value)
        if item["type"] == "missing":
            location.append(item["loc"][-1])
        elif isinstance(item.get("ctx", {}).get("error"), UnknownKind):
            location.append("kind")
        key = _path(where, location) or "the file"
        if item["type"] == "extra_forbidden":
            valid = [*_keys_at(model, location[:-1], value), *(also if len(location) == 1 else ())]
            text = f"unknown key.{suggestion(str(location[-1]), valid)} Valid keys: {', '.join(sorted(valid))}."
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


def unknown(where: str, name: Any, valid: Iterable[str]) -> list[str]:
    """One problem if a name refers to nothing; none if it does, or is no name at all (told as a wrong type)."""
    there = sorted(map(str, valid))  # unchecked, so perhaps not all of them strings
    if not isinstance(name, str) or name in there:
        return []
    return [f"{where}: there is no {name!r}.{suggestion(name, there)} Valid: {', '.join(there) or 'none'}."]


def suggestion(name: str, valid: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _location(location: tuple[int | str, ...], value: Any) -> list[int | str]:
    """The parts of a location that stand in the file; Pydantic puts names of its own types between them."""
    found = []
    for part in location:
        if part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int):
            value = value[part]
            found.append(part)
    return found


def _path(where: str, location: list[int | str]) -> str:
    text = where
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _keys_at(model: type[BaseModel], location: list[int | str], value: Any) -> list[str]:
    """The field names of the model found by walking `location` down from `model`, and down the value."""
    models: list[type[BaseModel]] = []
    for part in location:
        value = value[part]
        if isinstance(part, str) and part in model.model_fields:
            models = list(_models_in(model.model_fields[part].annotation))
        if models:
            model = next((each for each in models if _is_of_kind(each, value)), models[0])
    return list(model.model_fields)


def _is_of_kind(model: type[BaseModel], value: Any) -> bool:
    kind = model.model_fields.get("kind")
    return kind is not None and isinstance(value, dict) and value.get("kind") in get_args(kind.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    if get_origin(annotation) in (Union, types.UnionType, list, dict, Annotated):
        for argument in get_args(annotation):
            yield from _models_in(argument)
