"""Look at a model, data formatted for it and what it is asked, as they really are, and write what follows of it."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from loragrid.data.context import in_context
from loragrid.errors import UserError
from loragrid.files import read_json, read_jsonl, write_json
from loragrid.modeling.architecture import Architecture, architecture_of
from loragrid.modeling.chat import Chat
from loragrid.modeling.choice_text import choice_text, examples_in, without_first_example
from loragrid.modeling.formatted import largest_id, open_rows
from loragrid.modeling.load import check_precision, empty_base
from loragrid.modeling.messages import Message
from loragrid.modeling.reference import reference_row
from loragrid.modeling.rows import check_rows
from loragrid.modeling.targets import targets
from loragrid.modeling.tokenizer import load_chat, load_plain_tokenizer
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
    formatted: Path | None,
    chat: Mapping[str, Any],
    trainings: Sequence[Mapping[str, Any]],
    asked: Sequence[Mapping[str, Any]],
    prompts: Mapping[str, Path],
    records: Mapping[str, int | None],
) -> None:
    """Write a report: `key`, `unusable`, `refused`, `unasked` and `warnings`.

    `unusable` says by precision why the model can neither be trained nor asked; what is `refused` has the `training`
    and the `reason`, and what is `unasked` the settings `asked` and the `reason`. It is written whatever is found, and
    whatever cannot be looked at: that is a warning, and the work itself will tell.

    Args:
        out: the report.
        key: the preflight's, recorded.
        model: folder of the model.
        formatted: folder of the formatted data; None where nothing is trained.
        chat: as in `format_dataset`.
        trainings: settings, see `loragrid.study.preflights.training_of`.
        asked: `prompts` (id), `precision`, whether they are asked `in_chat` and are `choices`, `max_new_tokens` (0
            without answers), and whether the `likelihood` of references is asked for.
        prompts: files of prompts by id.
        records: how many records these are made of, where that is known.
    """
    refused: list[dict[str, Any]] = []
    unasked: list[dict[str, Any]] = []
    warnings: list[str] = []

    def tried(what: str, found: Callable[[], list[str]]) -> None:
        try:
            warnings.extend(found())
        except UserError as error:
            warnings.append(f"{what}: {error}")
        except Exception as error:  # a fault of ours must not keep anybody from training
            traceback.print_exc()
            warnings.append(f"{what} could not be looked at ({type(error).__name__}: {error})")

    unusable: dict[str, str] = {}

    def look_at_all() -> list[str]:
        precisions = sorted({each["precision"] for each in (*trainings, *asked)})
        # Whoever is only asked in plain text needs no template.
        in_chat = formatted is not None or any(each["in_chat"] for each in asked)
        try:
            known = _open(model, chat if in_chat else None)
        except UserError as error:
            unusable.update(dict.fromkeys(precisions, str(error)))
            refused.extend({"training": dict(training), "reason": str(error)} for training in trainings)
            return []
        unusable.update(_unusable(model, precisions))
        if formatted is not None:
            tried("the trainings", partial(_refused, trainings, known, formatted, unusable, refused))
            tried("the rows", partial(_rows_in_words, formatted))
        for each in asked:
            file = prompts[each["prompts"]]
            if reason := _unaskable(each, known.architecture, file):
                unasked.append({"asked": dict(each), "reason": reason})
                continue
            tried(str(file), partial(_left_out, each["prompts"], file, records[each["prompts"]]))
            if each["choices"]:
                read = partial(_choice_tokens, known.tokenizer, known.chat if each["in_chat"] else None, chat["system"])
                tried(str(file), partial(_choices_in_words, read, known.architecture.context, file))
            elif known.chat is not None:
                tried(str(file), partial(_prompts_in_words, known.chat, each, known.architecture, file))
        return []

    tried(str(model), look_at_all)
    told = list(dict.fromkeys(warnings))
    write_json(out, {"key": key, "unusable": unusable, "refused": refused, "unasked": unasked, "warnings": told})


@dataclass(frozen=True)
class _Model:
    """A model without weights.

    Args:
        folder: where it lies.
        tokenizer: its tokenizer.
        chat: as it is trained and asked; None where it is asked in plain text alone.
        architecture: what its configuration says.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    chat: Chat | None
    architecture: Architecture


def _open(folder: Path, chat: Mapping[str, Any] | None) -> _Model:
    loaded = load_chat(str(folder), chat) if chat is not None else None
    tokenizer = loaded.tokenizer if loaded else load_plain_tokenizer(str(folder))
    architecture = architecture_of(folder).grown(loaded.added_token if loaded else None)
    architecture.check_padding(tokenizer)
    return _Model(folder, tokenizer, loaded, architecture)


def _unusable(folder: Path, precisions: Iterable[str]) -> dict[str, str]:
    found = {}
    for precision in precisions:
        try:
            check_precision(folder, precision)
        except UserError as error:
            found[precision] = str(error)
    return found


def _rows(formatted: Path, architecture: Architecture) -> int:
    """How many rows there are to train on, all of which the model can read."""
    train, validation = (open_rows(formatted / f"{split}.arrow") for split in ("train", "validation"))
    architecture.check_length(read_json(formatted / "format.json")["max_length"])
    architecture.check_ids(max(largest_id(train), largest_id(validation)))
    return len(train)


def _refused(
    trainings: Sequence[Mapping[str, Any]],
    known: _Model,
    formatted: Path,
    unusable: Mapping[str, str],
    refused: list[dict[str, Any]],
) -> list[str]:
    able = [training for training in trainings if training["precision"] not in unusable]
    refused += [
        {"training": dict(each), "reason": unusable[each["precision"]]} for each in trainings if each not in able
    ]
    if not able:
        return []
    layers = empty_base(known.folder)
    try:
        rows = _rows(formatted, known.architecture)
        if known.chat is not None and known.chat.added_token is not None:
            check_rows(layers)
    except UserError as error:
        refused += [{"training": dict(training), "reason": str(error)} for training in able]
        return []
    for training in able:
        try:
            targets(layers, training["target_modules"], training["rank"], training["lora_config"])
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


def _unaskable(asked: Mapping[str, Any], architecture: Architecture, file: Path) -> str:
    """Why a model cannot be asked something; nothing if it can."""
    try:
        architecture.prompt_room(asked["max_new_tokens"])
    except UserError as error:
        return str(error)
    if file.exists() and file.stat().st_size == 0:
        return f"{file}: there is nothing to ask; {_log_of(asked['prompts'])} says why"
    return ""


def _left_out(id_: str, file: Path, records: int | None) -> list[str]:
    """Whether some records have nothing to ask."""
    asked = len({prompt["dialogue"] for prompt in read_jsonl(file)})
    if records is None or asked >= records:
        return []
    return [f"{file}: {records - asked} of {records} records have nothing to ask; {_log_of(id_)} says why"]


def _log_of(id_: str) -> str:
    return f"results/logs/prompts/{id_}.log"


def _prompts_in_words(chat: Chat, asked: Mapping[str, Any], architecture: Architecture, file: Path) -> list[str]:
    """What is doubtful of prompts that are answered, and of references whose likelihood is asked for."""
    prompts = list(read_jsonl(file))
    found = _too_few(file, prompts)
    room = architecture.prompt_room(asked["max_new_tokens"])
    encoded = [chat.prompt(_nearly_as_asked(prompt)) for prompt in prompts]
    cut = sum(len(ids) > room for ids in encoded) if room is not None else 0
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
    try:
        architecture.check_ids(max(max(ids) for ids in encoded))
    except UserError as error:
        found.append(f"{file}: {error}")
    return found


def _nearly_as_asked(prompt: Mapping[str, Any]) -> list[Message]:
    """What is asked; of a conversation what was recorded, or a word, stands for the model's own answers."""
    messages = [message if message["content"] else {**message, "content": "…"} for message in prompt["messages"]]
    return in_context(messages, **prompt.get("context", {}))


def _choices_in_words(tokens: Callable[[list[Message], str], int], context: int | None, file: Path) -> list[str]:
    """What is doubtful of questions with choices.

    Args:
        tokens: how many a question and the letter of a choice are.
        context: of the model.
        file: with the questions.
    """
    prompts = list(read_jsonl(file))
    found, fewer, too_long = _too_few(file, prompts), 0, 0
    if context is None:
        return found
    for prompt in prompts:
        messages, letter = prompt["messages"], prompt["letters"][0]
        # The last token is never read.
        while not (fits := tokens(messages, letter) - 1 <= context) and examples_in(messages):
            messages = without_first_example(messages)
        fewer += fits and messages is not prompt["messages"]
        too_long += not fits
    if too_long:
        found.append(
            f"{file}: {too_long} of {len(prompts)} questions are longer than the model's context of {context} tokens, "
            "even without examples, and are left out"
        )
    if fewer > MANY * len(prompts):
        found.append(
            f"{file}: {fewer} of {len(prompts)} questions are asked with fewer examples, since these are longer than "
            f"the model's context of {context} tokens"
        )
    return found


def _choice_tokens(
    tokenizer: PreTrainedTokenizerBase, chat: Chat | None, system: str | None, messages: list[Message], letter: str
) -> int:
    text, between = choice_text(messages, chat, system)
    # A chat template says itself how a dialogue begins.
    return len(tokenizer(text + between + letter, add_special_tokens=chat is None, verbose=False)["input_ids"])


def _too_few(file: Path, prompts: list[dict[str, Any]]) -> list[str]:
    dialogues = len({prompt["dialogue"] for prompt in prompts})
    if dialogues >= FEWEST:
        return []
    return [f"{file}: {dialogues} dialogues are too few for any verdict; {FEWEST} are the fewest"]
