"""Cleaning steps and formats as a study resolves them, and what they make of single records."""

from loragrid.data.formats import FORMATS
from loragrid.data.steps import STEPS
from loragrid.study import choices


def resolved(*steps):
    return [choices.resolved(step, STEPS) for step in steps]


def cleaned(record, *steps):
    """A record after some steps, or why it was dropped."""
    for choice in resolved(*steps):
        step, options = choices.found("step", choice, STEPS)
        record = step.begin(options)(record, "train")
        if isinstance(record, str):
            break
    return record


def formatted(record, format_):
    """The examples of a record, or why there are none."""
    module, options = choices.found("format", choices.resolved(format_, FORMATS), FORMATS)
    return module.examples(record, options)


def said(messages):
    return [(message["role"], message["content"]) for message in messages]
