"""Chat templates by name, for base models that have none and for comparing. Light to import: checking a study does."""

from collections.abc import Mapping
from pathlib import Path

from loragrid.study.references import expand

TEMPLATES: Mapping[str, Path] = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.jinja"))}
"""The file of each."""


def template_file(template: str) -> Path:
    """The file of a study's `template`: a name, or a path."""
    return TEMPLATES.get(template) or expand(template)
