"""What a model can take, as its configuration says: before any of its weights is loaded."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase

from loragrid.errors import UserError
from loragrid.modeling.adapters import refuse_adapter

LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Names of the longest sequence in configurations, MPT's last: its distances are a table, too (transformers 5.23)."""


@dataclass(frozen=True)
class Architecture:
    """What a configuration says of its language model; other towers are never asked.

    Args:
        kind: the family, as transformers calls it.
        context: longest sequence in tokens; None where there is no limit: distances without a table (ALiBi, Press et
            al. 2022, as in Bloom) or a recurrent state (Mamba).
        rows: of the embedding: token ids are below.
    """

    kind: str
    context: int | None
    rows: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "Architecture":
        """What a configuration says."""
        text = config.get_text_config(decoder=True)
        named = (getattr(text, name, None) for name in LENGTHS)
        # Falcon's configuration has both kinds of positions, and says which it uses.
        context = None if getattr(text, "alibi", False) else next((length for length in named if length), None)
        return cls(config.model_type, context, text.vocab_size)

    def grown(self, added_token: int | None) -> "Architecture":
        """The same with a row for a token that was added to the tokenizer."""
        return self if added_token is None else Architecture(self.kind, self.context, max(self.rows, added_token + 1))

    def check_length(self, max_length: int) -> None:
        """See that rows of a length can be read.

        Args:
            max_length: longest row in tokens.

        Raises:
            UserError: they are longer than the context.
        """
        if self.context is not None and max_length > self.context:
            raise UserError(
                f"max_length {max_length} is more than this {self.kind} can read, which has positions for "
                f"{self.context} tokens: set max_length to {self.context} or less in the recipe"
            )

    def prompt_room(self, max_new_tokens: int) -> int | None:
        """Tokens of a prompt that fit the context together with the longest answer.

        Args:
            max_new_tokens: of an answer.

        Returns:
            Their number; None without a limit.

        Raises:
            UserError: there is no room.
        """
        if self.context is None:
            return None
        if max_new_tokens >= self.context:
            raise UserError(
                f"decoding.max_new_tokens ({max_new_tokens}) leaves no room for a prompt in the model's context of "
                f"{self.context} tokens"
            )
        return self.context - max_new_tokens

    def check_padding(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """See that the embedding has a row for the padding.

        Raises:
            UserError: it has none.
        """
        if tokenizer.pad_token_id >= self.rows:
            raise UserError(
                f"the tokenizer pads with {tokenizer.pad_token!r}, which is token {tokenizer.pad_token_id}, and the "
                f"embedding has {self.rows} rows (0 to {self.rows - 1}): name another `pad_token` in the model's "
                f"tokenizer_config.json, such as {tokenizer.eos_token!r}"
            )

    def check_ids(self, largest: int) -> None:
        """See that the embedding has a row for each token.

        Args:
            largest: of their ids.

        Raises:
            UserError: it has not.
        """
        if largest >= self.rows:
            raise UserError(
                f"the tokenizer makes tokens up to {largest} of this text, and the embedding has {self.rows} rows (0 "
                f"to {self.rows - 1}): tokenizer and model do not belong together; use the tokenizer that the model "
                "was trained with, and add no token to it"
            )


def architecture_of(folder: Path | str) -> Architecture:
    """What the configuration in a model's folder says.

    Raises:
        UserError: there is none, or none that transformers knows; or the folder is an adapter's.
    """
    refuse_adapter(Path(folder))
    try:
        return Architecture.of(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder}: no configuration of a model that transformers knows ({str(error).splitlines()[0]})"
        ) from None
