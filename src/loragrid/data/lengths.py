"""How long rows are: what format.json says of the distribution of their lengths in tokens."""

import itertools
import math
from collections.abc import Mapping

_EDGES = sorted({round(2 ** (quarter / 4)) for quarter in range(4 * 24)})
"""Where bins begin: four to a doubling, the same for all data, from 1 to 16 million tokens."""


def quantiles(lengths: Mapping[int, int]) -> dict[str, int]:
    """The length that a share of rows does not exceed.

    Args:
        lengths: how many rows there are of each length in tokens, at least one.
    """
    number, ordered = sum(lengths.values()), sorted(lengths)
    found, below, place = {}, 0, -1
    for share in (5, 25, 50, 75, 95, 99, 100):
        while below < math.ceil(share / 100 * number):
            place += 1
            below += lengths[ordered[place]]
        found[f"{share}%"] = ordered[place]
    return found


def histogram(lengths: Mapping[int, int]) -> dict[str, int]:
    """How many rows there are in each bin of lengths, such as `{"16-18": 3, "19-22": 10}`; empty bins are left out.

    Args:
        lengths: how many rows there are of each length in tokens.
    """
    bins = {}
    for first, after in itertools.pairwise(_EDGES):
        if number := sum(lengths[length] for length in lengths if first <= length < after):
            bins[f"{first}-{after - 1}"] = number
    return bins
