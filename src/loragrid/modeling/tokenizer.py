"""Load a tokenizer and its chat: apart from models, whose libraries take seconds to import."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from loragrid.errors import UserError
from loragrid.modeling.chat import Chat
from loragrid.modeling.templates import template_file


def load_chat(folder: str, chat: Mapping[str, Any]) -> Chat:
    """Load the tokenizer of a downloaded or built model, with a study's chat.

    Args:
        folder: the model's folder.
        chat: `template`, a name or a file in place of the tokenizer's own, or None; its `arguments` and `date`; its
            `end_token`, `train` to have a token added for what the template ends answers with.

    Raises:
        UserError: there is no chat template, or no token to end or pad with, and none can be added.
    """
    tokenizer = load_tokenizer(folder, chat["template"])
    loaded = Chat(tokenizer, chat["arguments"], chat["date"])
    return loaded.with_end_token() if chat["end_token"] == "train" else loaded


def load_tokenizer(folder: str, template: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a downloaded or built model.

    Args:
        folder: the model's folder.
        template: name or file of a chat template, in place of the tokenizer's own.

    Raises:
        UserError: there is no chat template, or no token to end or pad with.
    """
    tokenizer = load_plain_tokenizer(folder)
    if template is not None:
        tokenizer.chat_template = template_file(template).read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise UserError(
            f"{folder}: the tokenizer has no chat template; give the model a `template` in the study: a file, or a "
            "name such as chatml"
        )
    return tokenizer


def load_plain_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer for text that is no dialogue.

    Raises:
        UserError: there is no token to end or pad with.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer
