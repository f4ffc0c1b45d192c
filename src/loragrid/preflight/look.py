"""Look at a model and data formatted for it, as they really are, and write what follows for its runs."""

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from loragrid.errors import UserError
from loragrid.files import read_json, read_jsonl, write_json
from loragrid.modeling.architecture import Architecture, architecture_of
from loragrid.modeling.chat import Chat
from loragrid.modeling.formatted import largest_id, open_rows
from loragrid.modeling.reference import reference_row
from loragrid.modeling.targets import refuse_packing, targets
from loragrid.modeling.tokenizer import load_chat
from loragrid.study.steps import check_learning_rates, total_steps

MANY = 0.1
"""Share of rows or prompts that are cut which is worth a warning."""

FEWEST = 6
"""Dialogues below which no difference between two models can be told from chance: the smallest two-sided p-value of a
permutation test on n of them is 2/2ⁿ, and 2/2⁵ is above 0.05."""


def look(
    out: Path,
    *,
    key: str,
    model: Path,
    formatted: Path,
    chat: Mapping[str, Any],
    trainings: Sequence[Mapping[str, Any]],
    asked: Sequence[Mapping[str, Any]],
    prompts: Mapping[str, Path],
) -> None:
    """Write a report: `key`, `refused` (each with the `training` and the `reason`) and `warnings`.

    It is written whatever is found, and whatever cannot be looked at: that is a warning, and the training will tell.

    Args:
        out: the report.
        key: the preflight's, recorded.
        model: folder of the model.
        formatted: folder of the formatted data.
        chat: as in `format_dataset`.
        trainings: settings, see `loragrid.study.preflights.training_of`.
        asked: `prompts` (id), `max_new_tokens` and whether the `likelihood` of references is asked for.
        prompts: files of prompts by id.
    """
    refused: list[dict[str, Any]] = []
    warnings: list[str] = []

    def tried(what: str, found: Callable[[], list[str]]) -> None:
        try:
            warnings.extend(found())
        except UserError as error:
            warnings.append(f"{what}: {error}")
        except Exception as error:  # a fault of ours must not keep anybody from training
            traceback.print_exc()
            warnings.append(f"{what} could not be looked at ({type(error).__name__}: {error})")

    try:
        architecture, loaded = _model(model, chat)
        rows = _rows(formatted, architecture)
    except UserError as error:
        refused = [{"training": dict(training), "reason": str(error)} for training in trainings]
    else:
        tried("the trainings", lambda: _refused(trainings, model, architecture, rows, refused))
        tried("the rows", lambda: _rows_in_words(formatted))
        for each in asked:
            file = prompts[each["prompts"]]
            tried(str(file), partial(_prompts_in_words, loaded, architecture, file, each))
    write_json(out, {"key": key, "refused": refused, "warnings": list(dict.fromkeys(warnings))})


def _model(folder: Path, chat: Mapping[str, Any]) -> tuple[Architecture, Chat]:
    loaded = load_chat(str(folder), chat)
    architecture = architecture_of(folder).grown(loaded.added_token)
    architecture.check_padding(loaded.tokenizer)
    return architecture, loaded


def _rows(formatted: Path, architecture: Architecture) -> int:
    """How many rows there are to train on, all of which the model can read."""
    train, validation = (open_rows(formatted / f"{split}.arrow") for split in ("train", "validation"))
    architecture.check_length(read_json(formatted / "format.json")["max_length"])
    architecture.check_ids(max(largest_id(train), largest_id(validation)))
    return len(train)


def _refused(
    trainings: Sequence[Mapping[str, Any]],
    folder: Path,
    architecture: Architecture,
    rows: int,
    refused: list[dict[str, Any]],
) -> list[str]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))
    for training in trainings:
        try:
            if training["precision"] == "nf4":
                refuse_packing(architecture.kind)
            targets(model, training["target_modules"], training["rank"])
            steps = total_steps(rows, training["batch_size"], training["epochs"], training["max_steps"])
            check_learning_rates(steps, training["warmup"])
        except UserError as error:
            refused.append({"training": dict(training), "reason": str(error)})
    return []


def _rows_in_words(formatted: Path) -> list[str]:
    """What is doubtful of the rows to train on: what is known of the template and tokens, and how much is cut."""
    manifest = read_json(formatted / "format.json")
    train, found = manifest["splits"]["train"], list(manifest["warnings"])
    cut, number = train["shortened"] + train["too_long"], train["rows"] + train["too_long"]
    if cut > MANY * number:
        found.append(
            f"{cut / number:.0%} of the training examples are longer than max_length {manifest['max_length']} and lose "
            f"their beginning ({train['shortened']}) or are left out ({train['too_long']}); the longest has "
            f"{train['longest']} tokens"
        )
    return found


def _prompts_in_words(chat: Chat, architecture: Architecture, file: Path, asked: Mapping[str, Any]) -> list[str]:
    """What is doubtful of what runs are asked."""
    prompts = list(read_jsonl(file))
    dialogues = len({prompt["dialogue"] for prompt in prompts})
    found = []
    if dialogues < FEWEST:
        found.append(f"{file}: {dialogues} dialogues are too few for any verdict; {FEWEST} are the fewest")
    room = architecture.prompt_room(asked["max_new_tokens"])
    cut = sum(len(chat.prompt(prompt["messages"])) > room for prompt in prompts) if room is not None else 0
    if cut > MANY * len(prompts):
        found.append(
            f"{file}: {cut} of {len(prompts)} prompts do not fit the model's context of {architecture.context} tokens "
            f"beside an answer of {asked['max_new_tokens']} (max_new_tokens), and lose their beginning"
        )
    if asked["likelihood"]:
        rows = (reference_row(chat, prompt, architecture) for prompt in prompts)
        reasons = Counter(row for row in rows if isinstance(row, str))
        found += [
            f"{file}: {number} of {len(prompts)} references cannot be scored: {reason}"
            for reason, number in sorted(reasons.items())
        ]
    return found
