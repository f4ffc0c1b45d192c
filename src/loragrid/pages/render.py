"""From plain data to an HTML page. Whatever data says is escaped: templates have no way round it but `safe`."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent


def render(template: str, *, scripts: Sequence[str] = (), **data: Any) -> str:
    """A whole page.

    Args:
        template: its name in `templates/`, without `.html.jinja`.
        scripts: names of files in `assets/`, which the page runs at its end.
        **data: what the template shows: texts and numbers, lists and dicts of them.

    Returns:
        HTML, style sheet and scripts included. The page tells browsers to run and to load nothing else.
    """
    style, script = _asset("style.css"), Markup("\n").join(_asset(name) for name in scripts)
    return (
        _environment()
        .get_template(f"{template}.html.jinja")
        .render(style=style, script=script, style_hash=_hash(style), script_hash=_hash(script), **data)
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _asset(name: str) -> Markup:
    """A style sheet or script of our own, which goes into pages as it is."""
    return Markup((_HERE / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704 - no data in it


def _hash(text: str) -> str:
    """What a content security policy calls a script or style sheet that stands in its page."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
