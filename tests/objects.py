"""Objects of the package with defaults for what a test does not care about: a new field gets its default here."""

from pathlib import Path

from loragrid.metrics import METRICS
from loragrid.modeling.dimensions import Dimensions
from loragrid.study.batches import Batch
from loragrid.study.grid import Answers, Clean, Formatted, Grid, LogProbabilities, ModelEntry, Prompts, Run, Untrained
from loragrid.study.schema.recipe import RecipeSpec

CHAT = {"name": "chat", "version": 1, "options": {}}
"""The format of dialogues, resolved."""

OWN_CHAT = {
    "name": None, "template": None, "template_key": None, "system": None, "arguments": {}, "date": "2024-07-26",
    "end_token": "text",
}  # fmt: skip
"""A model's own chat."""

SCORES = {
    name: {"name": name, "label": None, "version": METRICS[name].VERSION, "options": {}, "place": place,
           "needs": [], "with_prompt": False, "key": name[0] * 64}
    for name, place in (("likelihood", "model"), ("rouge", "cpu"), ("sacrebleu", "cpu"))
}  # fmt: skip
"""The usual scores, resolved."""


def make_grid(**changes):
    fields = {"study": "demo", "file": "config/studies/demo.yaml", "title": "A study", "description": ""}
    return Grid(**(fields | changes))


def make_model(**changes):
    fields = {
        "id": "nano", "key": "k" * 64, "label": "nano", "slug": "nano", "hub": None, "revision": None, "path": None,
        "build": None, "precision": "nf4", "parameters": None, "micro_batch": 8, "gpus": 1, "sharded": False,
        "gradient_checkpointing": "auto",
    }  # fmt: skip
    return ModelEntry(**(fields | changes))


def make_clean(**changes):
    fields = {
        "id": "inline", "key": "c" * 64, "raw": "raw", "raw_key": "r" * 64, "source": "inline", "slug": "inline",
        "version": 1,
        "read": {}, "steps": [], "needs": ["train", "validation", "test"], "splits": {}, "rows": {}, "seed": 0,
    }  # fmt: skip
    return Clean(**(fields | changes))


def make_prompts(**changes):
    fields = {
        "id": "test", "key": "p" * 64, "clean": "inline", "format": CHAT, "split": "test", "turns": "all", "rows": None,
        "system": None, "default_system": None,
    }  # fmt: skip
    return Prompts(**(fields | changes))


def make_formatted(**changes):
    fields = {
        "id": "nano/inline", "key": "f" * 64, "clean": "inline", "format": CHAT, "model": "nano", "chat": OWN_CHAT,
        "mask": "answers", "max_length": 200,
    }  # fmt: skip
    return Formatted(**(fields | changes))


def make_log_probabilities(**changes):
    fields = {
        "id": "nano/pairs/untrained", "key": "l" * 64, "model": "nano", "precision": "nf4", "formatted": "nano/pairs",
        "chat": OWN_CHAT, "run": None,
    }  # fmt: skip
    return LogProbabilities(**(fields | changes))


def make_run(recipe=None, **changes):
    """A run in a folder, named like it; of its recipe only what differs from the defaults need be given."""
    fields = {
        "key": "r" * 64, "label": None, "model": "nano", "dataset": "inline", "clean": "inline",
        "formatted": "nano/inline", "precision": "nf4", "chat": OWN_CHAT, "seed": 42, "parent": None,
        "compared_with": None, "folder": "results/runs/run",
    } | changes  # fmt: skip
    return Run(**({"name": Path(fields["folder"]).name} | fields), recipe=RecipeSpec(**(recipe or {})).recipe())


def make_untrained(**changes):
    fields = {"name": "nano", "model": "nano", "precision": "nf4", "folder": "results/untrained/nano"}
    return Untrained(**(fields | changes))


def make_answers(**changes):
    """Answers in a folder, which is their id, too."""
    fields = {
        "subject": "results/runs/run", "evaluation": "test", "model": "nano", "precision": "nf4", "dataset": "inline",
        "chat": OWN_CHAT, "prompts": "test", "decoding": {}, "seed": 0, "key": "e" * 64,
        "scores": SCORES, "folder": "results/runs/run/eval/test",
    } | changes  # fmt: skip
    return Answers(**({"id": fields["folder"]} | fields))


def make_batch(*members, **changes):
    fields = {"stage": "train", "id": "0123456789", "members": list(members), "needs": [], "after": []}
    return Batch(**(fields | changes))


def make_dimensions(**changes):
    """Dimensions of Llama 2 7B."""
    fields = {
        "hidden": 4096, "intermediate": 11008, "layers": 32, "heads": 32, "kv_heads": 32, "head_width": 128,
        "vocabulary": 32_000,
    }  # fmt: skip
    return Dimensions(**(fields | changes))
