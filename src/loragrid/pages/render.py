"""From plain data to an HTML page. Everything that templates are given is escaped, but style sheets and scripts."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def render(template: str, *, scripts: Sequence[str] = (), **data: Any) -> str:
    """A whole page.

    Args:
        template: its name in `templates/`, without `.html.jinja`.
        scripts: names of files in `assets/`, which the page runs at its end.
        **data: what the template shows: texts and numbers, lists and dicts of them.

    Returns:
        HTML, style sheet and scripts included. The page tells browsers to run and to load nothing else.
    """
    style, script = _asset("style.css"), "\n".join(map(_asset, scripts))
    return (
        _environment()
        .get_template(f"{template}.html.jinja")
        .render(style=style, script=script, style_hash=_hash(style), script_hash=_hash(script), **data)
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a name that is misspelt is an error, not an empty page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls a script or style sheet that stands in its page."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
