"""Load a tokenizer: apart from models, whose libraries take seconds to import."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from loragrid.errors import UserError


def load_tokenizer(folder: str, template: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a downloaded or built model.

    Args:
        folder: the model's folder.
        template: file with a Jinja chat template, in place of the tokenizer's own.

    Raises:
        UserError: there is no chat template, or no token to end or pad with.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if template is not None:
        tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise UserError(f"{folder}: the tokenizer has no chat template; give the model a `template` in the study")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer
