"""Parts of a study that name something with options of its own: `whitespace`, or `{whitespace: {within: single}}`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from loragrid.errors import UserError
from loragrid.study.keys import changed
from loragrid.study.problems import check_part, unknown

Choice = str | dict[str, dict[str, Any] | None]
"""A name, or a name with options, as `{name: options}`."""


def parted(choice: Choice) -> tuple[str, dict[str, Any]]:
    """The name and the options of a choice."""
    if isinstance(choice, str):
        return choice, {}
    ((name, options),) = choice.items()
    return name, options or {}


def problems(where: str, choice: Any, valid: Mapping[str, Any]) -> list[str]:
    """What is wrong with a choice of a study.

    Args:
        where: its key in the study file.
        choice: as read, of any type.
        valid: what may be chosen by name, each with `Options`.
    """
    if isinstance(choice, dict) and len(choice) != 1:
        return [f"{where}: needs one name with its options, as `{{name: {{option: value}}}}`"]
    if not isinstance(choice, str | dict):
        return [f"{where}: needs a name, or `{{name: {{option: value}}}}`, not {choice!r}"]
    name, options = parted(choice)
    if found := unknown(where, name, valid):
        return found
    if not isinstance(options, dict):
        return [f"{where}.{name}: its options are a mapping, not {options!r}"]
    return check_part(valid[name].Options, options, f"{where}.{name}") if name in valid else []


def resolved(choice: Choice, valid: Mapping[str, Any]) -> dict[str, Any]:
    """A checked choice as artifacts hold it and keys use it.

    Args:
        choice: without problems.
        valid: what may be chosen by name, each with `Options` and `VERSION`.

    Returns:
        `name`, `version`, and those `options` that differ from their defaults.
    """
    name, options = parted(choice)
    module = valid[name]
    return {"name": name, "version": module.VERSION, "options": changed(module.Options.model_validate(options))}


def found(kind: str, choice: Mapping[str, Any], valid: Mapping[str, Any]) -> tuple[Any, BaseModel]:
    """What a resolved choice stands for.

    Args:
        kind: what is chosen, for messages.
        choice: as `resolved` made it.
        valid: what may be chosen by name, each with `Options` and `VERSION`.

    Returns:
        The module, and a checked instance of its options.

    Raises:
        UserError: another version of loragrid resolved it.
    """
    name = choice["name"]
    if name not in valid or choice["version"] != valid[name].VERSION:
        raise UserError(
            f"{kind} {name!r}, version {choice['version']}, is not what this loragrid has: the study was recorded by "
            "another one; start the workflow again"
        )
    module = valid[name]
    return module, module.Options.model_validate(choice["options"])
