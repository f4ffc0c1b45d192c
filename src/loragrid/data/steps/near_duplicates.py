"""Records that nearly repeat an earlier one of the same split are dropped.

Two records are compared by the sets of their runs of words (of characters, where a language has no blanks), as
estimated by MinHash with locality-sensitive hashing (Broder 1997; the library datasketch). The first one stays.
"""

from pydantic import BaseModel, Field

from loragrid.data.records import Dropped, Record, texts
from loragrid.data.steps.base import Apply

VERSION = 1

PERMUTATIONS = 128
"""Hash functions of a MinHash: its estimate of a similarity has a standard error of at most 0.044."""


class Options(BaseModel, extra="forbid", frozen=True):
    """How alike is too alike."""

    similarity: float = Field(
        0.8, gt=0, lt=1, description="Jaccard similarity of the sets of runs, from which on two are nearly the same."
    )
    words: int = Field(3, ge=1, description="Words of a run; for texts without blanks twice as many characters.")


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    from datasketch import LeanMinHash, MinHash, MinHashLSH

    indices: dict[str, MinHashLSH] = {}
    kept: list[LeanMinHash] = []

    def apply(record: Record, split: str) -> Record | Dropped:
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([run.encode("utf-8", "surrogatepass") for run in _runs("\n".join(texts(record)), options)])
        index = indices.setdefault(split, MinHashLSH(threshold=options.similarity, num_perm=PERMUTATIONS))
        # The index also finds some that are less alike.
        if any(kept[found].jaccard(sketch) >= options.similarity for found in index.query(sketch)):
            return "nearly the same as an earlier one"
        index.insert(len(kept), sketch)
        kept.append(LeanMinHash(sketch))
        return record

    return apply


def _runs(text: str, options: Options) -> set[str]:
    words = text.lower().split()
    # So long between two blanks is no word, but a sentence of a language that writes none.
    if len(text) > 12 * max(1, len(text.split())):
        words, length = list("".join(words)), 2 * options.words
    else:
        length = options.words
    return {" ".join(words[start : start + length]) for start in range(max(1, len(words) - length + 1))}
