"""BERTScore, 0–1: how near the tokens of answer and reference come to each other as an encoder sees them.

Each token is matched with the one of the other text to which its vector has the greatest cosine; the precision is the
mean of these over the answer's tokens, the recall over the reference's, F1 their harmonic mean (Zhang et al. 2020,
section 3, equations 1–3). Special tokens weigh nothing, and may be matched.

The package bert-score 0.3.13 does the arithmetic. What it gets wrong with transformers 5, or always, is mended here and
in `loragrid.modeling.encoder`, with a test for each:

- A text without words scores 0 in all three, as the package means it to; with transformers 5 it is an error there.
- RoBERTa and GPT-2 read the first word as they read the others, with a space before it, and not as another word.
- A tokenizer without a limit, such as DeBERTa's, is given that of the encoder's positions: an overflow otherwise.
- The encoder is told from its configuration, not from a "t5" in its path, and computes in float32 whatever its files
  are in. Its layer is named where the package's table has none.
- A pair scores the same whatever stands beside it in a batch: padding counts as a cosine of 0 in the package, which is
  more than a negative one. And two tokens that are words are no empty text.
"""

import ast
import csv
import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from loragrid.errors import UserError
from loragrid.metrics.base import Place, TextOptions, Texts, mean
from loragrid.progress import each
from loragrid.study.encoders import By, encoder_of

if TYPE_CHECKING:
    from torch import Tensor

    from loragrid.modeling.encoder import Encoded, Encoder, Tokens

VERSION = 1
TITLE = "BERTScore"
PLACE: Place = "encoder"
LIBRARIES = ("bert-score", "transformers", "torch")
NEEDS: tuple[str, ...] = ()

NAMES = ("bertscore_p", "bertscore_r", "bertscore_f1")

COLUMNS = tuple(mean(name, f"BERTScore {name.rpartition('_')[2].upper()}", bounds=(-math.inf, 1.0)) for name in NAMES)

Weigh = Callable[[Sequence[int]], list[float]]


class Options(TextOptions):
    """What compares the texts, and how."""

    language: str | None = Field(
        None,
        pattern="^[a-z]{2}$",
        description="Of the texts, as an ISO 639-1 code: which encoder is taken where none is named, and which "
        "baseline values are rescaled by.",
    )
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Repository on the hub, or a local folder, which begins with /, ., ~ or $. Default: bert-score's "
        "own for the `language`; roberta-large where none is named.",
    )
    revision: str = Field("main", description="Commit, tag or branch of the encoder on the hub.")
    layer: int | None = Field(
        None,
        ge=1,
        description="Whose hidden states are compared. Default: that of bert-score's table, if the encoder is in it.",
    )
    idf: bool = Field(
        False, description="Weigh tokens by how few references they are in (Zhang et al. 2020, section 3)."
    )
    rescale: bool = Field(
        False,
        description="Stretch values so that those of unrelated texts are about 0: only for reading. Needs a "
        "`language`, and an encoder for which bert-score has a baseline in it.",
    )

    @model_validator(mode="after")
    def _is_known(self) -> "Options":
        name = self._encoder
        if self.layer is None and name not in _table().layers:
            raise ValueError(
                f"name the `layer` whose hidden states are compared: bert-score knows none for {name!r}. About two "
                "thirds of the way up are usual"
            )
        if self.by.is_local and "revision" in self.model_fields_set:
            raise ValueError(f"`revision` is of an encoder on the hub; {name!r} is a folder")
        if self.rescale:
            if self.language is None:
                raise ValueError("`rescale` needs the `language` of the texts")
            if not self._baseline.exists():
                raise ValueError(f"bert-score has no baseline of {name!r} in {self.language!r} to rescale by")
        return self

    @property
    def _encoder(self) -> str:
        return self.encoder or _table().encoders.get(self.language or "en", _table().otherwise)

    @property
    def _baseline(self) -> Path:
        return _package() / "rescale_baseline" / str(self.language) / f"{self._encoder}.tsv"

    @property
    def by(self) -> By:
        """The encoder and its layer."""
        return By(self._encoder, self.revision, self.layer or _table().layers[self._encoder])

    def beside_the_encoder(self) -> dict[str, Any]:
        """The other settings that differ from their defaults: a score's key has the key of the encoder itself."""
        names = {"encoder", "revision", "layer"} | (set() if self.rescale else {"language"})
        return self.model_dump(exclude_defaults=True, exclude=names)

    def baseline(self) -> list[float] | None:
        """Values that are 0 in P, R and F1 when rescaled; None for none."""
        if not self.rescale:
            return None
        with self._baseline.open(encoding="utf-8", newline="") as file:
            row = next(row for row in csv.DictReader(file) if int(row["LAYER"]) == self.by.layer)
        return [float(row[name]) for name in ("P", "R", "F")]


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each answer.

    Raises:
        UserError: the encoder is not there, or cannot be loaded.
    """
    encoder, references = _encoded(texts, options)
    answers = [encoder.tokens(text) for text in texts.answers]
    values = compare(encoder, answers, references, _weights(encoder, references, options))
    if baseline := options.baseline():
        values = [
            tuple((value - zero) / (1 - zero) for value, zero in zip(three, baseline, strict=True)) for three in values
        ]
    return [dict(zip(NAMES, three, strict=True)) for three in values]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """The encoder, how it was used, and what it could not see: how many texts were cut, and how many had no words."""
    encoder, references = _encoded(texts, options)
    answers = [encoder.tokens(text) for text in texts.answers]
    nothing = encoder.tokens("").ids
    of_references = [references.of(index)[0] for index in range(len(references))]
    return {
        "encoder": {**_origin(encoder.folder), "layer": options.by.layer, "longest": encoder.longest},
        "idf": options.idf,
        "baseline": options.baseline(),
        "counts": {
            "answers_cut": sum(answer.cut for answer in answers),
            "references_cut": int(references.cut[references.rows].sum()),
            "answers_empty": sum(answer.ids == nothing for answer in answers),
            "references_empty": sum(tuple(ids) == nothing for ids in of_references),
        },
    }


def compare(
    encoder: "Encoder",
    answers: "Sequence[Tokens]",
    references: "Encoded",
    weigh: Weigh,
    at_a_time: int | None = None,
) -> list[tuple[float, ...]]:
    """Precision, recall and F1 of each answer.

    Args:
        encoder: of both.
        answers: one text each.
        references: of the same number.
        weigh: the weight of each token of a text.
        at_a_time: padded tokens of a batch. Default: what the device can do.
    """
    import torch
    from bert_score.utils import greedy_cos_idf

    nothing = list(encoder.tokens("").ids)
    values: list[tuple[float, ...]] = [(0.0, 0.0, 0.0)] * len(answers)
    pairs = [
        index
        for index, answer in enumerate(answers)
        if list(answer.ids) != nothing and references.of(index)[0] != nothing
    ]
    lengths = [max(len(answers[index].ids), len(references.of(index)[0])) for index in pairs]
    batches = list(encoder.batches(lengths, at_a_time))
    for batch in each(batches, "comparing by BERTScore", len(batches)):
        asked = [pairs[place] for place in batch]
        read = [answers[index] for index in asked]
        states = encoder.encode(read)
        wanted = [references.of(index) for index in asked]
        ours = [states[row, : len(text.ids)] for row, text in enumerate(read)]
        theirs = [vectors.to(encoder.device) for _, vectors in wanted]
        with torch.no_grad():
            found = greedy_cos_idf(
                *_padded(theirs, [weigh(ids) for ids, _ in wanted]),
                *_padded(ours, [weigh(text.ids) for text in read]),
            )
        for index, *three in zip(asked, *(value.tolist() for value in found), strict=True):
            # Where no token of a text weighs anything, as where all references have it, its mean is over nothing.
            values[index] = tuple(value if math.isfinite(value) else 0.0 for value in three)
    return values


def _padded(vectors: "Sequence[Tensor]", weights: Sequence[list[float]]) -> "tuple[Tensor, Tensor, Tensor]":
    """Texts in one tensor, of shapes (texts, tokens, width), (texts, tokens) and (texts, tokens).

    What is missing at the end of a text is its first token again, without weight: that changes no maximum, while
    padding under a mask, as the package has it, counts as a cosine of 0. And three tokens are never taken for none.
    """
    import torch

    width = max(3, *(len(text) for text in vectors))
    longest = torch.stack([torch.cat([text, text[:1].expand(width - len(text), -1)]) for text in vectors])
    weighed = torch.tensor([text + [0.0] * (width - len(text)) for text in weights], device=longest.device)
    return longest, torch.ones_like(weighed), weighed


def _weights(encoder: "Encoder", references: "Encoded", options: Options) -> Weigh:
    from bert_score.utils import get_idf_dict

    if options.idf:
        # Of the tokens themselves: it would cut texts in its own way.
        of_token = get_idf_dict([references.of(index)[0] for index in range(len(references))], None, nthreads=0)
        return lambda ids: [of_token[id_] for id_ in ids]
    special = {encoder.tokenizer.sep_token_id, encoder.tokenizer.cls_token_id}
    return lambda ids: [0.0 if id_ in special else 1.0 for id_ in ids]


def _encoded(texts: Texts, options: Options) -> "tuple[Encoder, Encoded]":
    if texts.encoded is not None:
        return texts.encoded
    from loragrid.modeling.encoder import load_encoder

    encoder = load_encoder(str(_folder(options.by)), options.by.layer)
    return encoder, encoder.encode_all(texts.references)


def _folder(by: By) -> Path:
    """Where an encoder lies, for who compares texts without a study."""
    from loragrid.study.references import expand

    folder = expand(by.name) if by.is_local else Path(encoder_of(by, None).folder)
    if not folder.is_dir():
        brought = "" if by.is_local else "; `snakemake -c1 downloads` brings those that a study names"
        raise UserError(f"BERTScore needs the encoder {by.name!r}, and there is no folder {folder}{brought}")
    return folder


def _origin(folder: str) -> dict[str, Any]:
    """Name and revision of an encoder, and a digest of all its files."""
    from loragrid.data.digest import digest_of
    from loragrid.files import read_json

    manifest = Path(folder, "model.json")
    known = read_json(manifest) if manifest.exists() else {"id": Path(folder).name, "revision": None}
    return {"id": known["id"], "revision": known["revision"], "sha256": digest_of(Path(folder))}


class _Table:
    """What bert-score knows of encoders, read from its source: importing it takes seconds, and torch."""

    def __init__(self) -> None:
        self.layers: dict[str, int] = {}
        self.encoders: dict[str, str] = {}
        self.otherwise = ""
        for node in ast.parse((_package() / "utils.py").read_text(encoding="utf-8")).body:
            match node:
                case ast.Assign(targets=[ast.Name("model2layers")], value=value):
                    self.layers = ast.literal_eval(value)
                case ast.Assign(targets=[ast.Name("lang2model")], value=ast.Call(args=[ast.Lambda(body=value)])):
                    self.otherwise = ast.literal_eval(value)
                case ast.Expr(ast.Call(func=ast.Attribute(ast.Name("lang2model"), "update"), args=[value])):
                    self.encoders = ast.literal_eval(value)


@functools.cache
def _table() -> _Table:
    return _Table()


def _package() -> Path:
    found = importlib.util.find_spec("bert_score")
    if found is None or not found.submodule_search_locations:
        raise UserError("BERTScore needs the package bert-score, which is pinned in envs/cpu.txt")
    return Path(found.submodule_search_locations[0])
