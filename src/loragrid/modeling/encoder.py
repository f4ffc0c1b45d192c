"""Encoders: models that turn a text into a vector for each of its tokens, by which BERTScore compares texts."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerBase, RobertaTokenizer
from transformers.utils import logging

from loragrid.errors import UserError
from loragrid.modeling.load import device

USUAL_LENGTH = 512
"""Tokens that a text may have where neither encoder nor tokenizer says it."""

TOKENS_AT_A_TIME = {"cuda": 16_384, "cpu": 4096}
"""Padded tokens of one batch, by the type of device: it changes speed and memory, not results."""


@dataclass(frozen=True)
class Tokens:
    """A text as an encoder reads it.

    Args:
        ids: with its special tokens.
        cut: whether there was more of it than the encoder can read.
    """

    ids: tuple[int, ...]
    cut: bool


@dataclass(frozen=True)
class Encoded:
    """Texts as an encoder sees them, each different one once.

    Args:
        vectors: of the tokens of all of them, one text after the other, shape (tokens, width), float32.
        ids: of the tokens, shape (tokens,).
        ends: where in these the tokens of each different text end, shape (different texts,).
        cut: whether it was cut, shape (different texts,).
        rows: which of the different ones each text is, shape (texts,).
    """

    vectors: Tensor
    ids: Tensor
    ends: Tensor
    cut: Tensor
    rows: Tensor

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.rows)

    def of(self, index: int) -> tuple[list[int], Tensor]:
        """The tokens of one of the texts, and their vectors, shape (tokens, width)."""
        row = int(self.rows[index])
        part = slice(int(self.ends[row - 1]) if row else 0, int(self.ends[row]))
        return self.ids[part].tolist(), self.vectors[part]


class Encoder:
    """An encoder up to one of its layers, on the GPU if there is one.

    Args:
        folder: with safetensors weights, config.json and the tokenizer's files.
        layer: whose hidden states are taken; the first after the embeddings is 1.

    Raises:
        UserError: the folder holds no encoder, or one that has not so many layers.
    """

    def __init__(self, folder: str, layer: int):
        self.folder = folder
        self.device = device()
        before = logging.get_verbosity()
        # It lists all weights of the layers above, which are left out.
        logging.set_verbosity_error()
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if layer > config.num_hidden_layers:
                raise UserError(f"{folder}: has {config.num_hidden_layers} layers, so there is no layer {layer}")
            # Only what is below is made; equal to what bert-score leaves of the whole, for each kind of encoder.
            config.num_hidden_layers = layer
            if getattr(config, "layer_types", None):
                config.layer_types = config.layer_types[:layer]
            # In float32 whatever the files are in, which transformers 5 would take, and bert-score with it.
            model, found = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            self.tokenizer = _tokenizer(folder)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder}: no encoder that transformers can load ({str(error).splitlines()[0]})") from None
        finally:
            logging.set_verbosity(before)
        # Weights that are not in the files would be drawn at random. Nothing is taken from the pooler.
        if missing := sorted(name for name in found["missing_keys"] if "pooler" not in name):
            raise UserError(f"{folder}: the weights are not all there, first {missing[0]}")
        self.model = (model.get_encoder() if config.is_encoder_decoder else model).to(self.device).eval()
        self.longest = min(self.tokenizer.model_max_length, _positions(self.model))

    def tokens(self, text: str) -> Tokens:
        """A text without white space around it, cut where the encoder's positions end."""
        text = text.strip()
        # A tokenizer may know no limit. Where it cuts, it leaves the special tokens at the end.
        whole = len(self.tokenizer(text, verbose=False)["input_ids"])
        cut = whole > self.longest
        ids = self.tokenizer(text, truncation=True, max_length=self.longest)["input_ids"] if cut else None
        return Tokens(tuple(ids or self.tokenizer(text, verbose=False)["input_ids"]), cut)

    def encode(self, batch: Sequence[Tokens]) -> Tensor:
        """Hidden states of the layer, on the device, shape (texts, tokens of the longest, width).

        Args:
            batch: texts; behind those that are shorter than the longest comes what means nothing.
        """
        width = max(len(text.ids) for text in batch)
        ids = torch.full((len(batch), width), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros(len(batch), width, dtype=torch.long)
        for row, text in enumerate(batch):
            ids[row, : len(text.ids)] = torch.tensor(text.ids)
            mask[row, : len(text.ids)] = 1
        with torch.no_grad():
            states = self.model(ids.to(self.device), attention_mask=mask.to(self.device))[0]
        return states

    def encode_all(self, texts: Sequence[str], at_a_time: int | None = None) -> Encoded:
        """Each different text, in batches of like length.

        Args:
            texts: in any number; not empty.
            at_a_time: padded tokens of a batch. Default: what the device can do.
        """
        different = list(dict.fromkeys(texts))
        tokens = [self.tokens(text) for text in different]
        vectors: list[Tensor] = [torch.empty(0)] * len(different)
        for batch in self.batches([len(text.ids) for text in tokens], at_a_time):
            states = self.encode([tokens[index] for index in batch]).cpu()
            for row, index in enumerate(batch):
                vectors[index] = states[row, : len(tokens[index].ids)].clone()
        place = {text: row for row, text in enumerate(different)}
        return Encoded(
            vectors=torch.cat(vectors),
            ids=torch.tensor([id_ for text in tokens for id_ in text.ids]),
            ends=torch.tensor([len(text.ids) for text in tokens]).cumsum(0),
            cut=torch.tensor([text.cut for text in tokens]),
            rows=torch.tensor([place[text] for text in texts]),
        )

    def batches(self, lengths: Sequence[int], at_a_time: int | None = None) -> Iterator[list[int]]:
        """Positions of like length together, the longest first, so that what does not fit fails at once.

        Args:
            lengths: tokens of each.
            at_a_time: padded tokens of a batch. Default: what the device can do.
        """
        most = at_a_time or TOKENS_AT_A_TIME[self.device.type]
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
            if batch and (len(batch) + 1) * lengths[batch[0]] > most:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


@functools.lru_cache(maxsize=1)
def load_encoder(folder: str, layer: int) -> Encoder:
    """An encoder; the last one stays loaded, for all that one job compares by it.

    Raises:
        UserError: see `Encoder`.
    """
    return Encoder(folder, layer)


def _tokenizer(folder: str) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if isinstance(tokenizer, RobertaTokenizer | GPT2Tokenizer):
        # bert-score wants these to read the first word like the others, with a space before it, and says so to
        # `encode`, which since transformers 5 does not listen.
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, add_prefix_space=True)
    return tokenizer


def _positions(model: torch.nn.Module) -> int:
    """Tokens that an encoder has positions for."""
    config = model.config
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 0
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind that of the padding.
    padding = getattr(table, "padding_idx", None)
    before = 0 if padding is None else padding + 1
    return most - before if most > before else USUAL_LENGTH
