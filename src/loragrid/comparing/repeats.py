"""What repeating the training leaves open of a difference between two ways of training."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from loragrid.comparing.compare import Comparison
from loragrid.comparing.interval import LEVEL

FEWEST_SEEDS = 3
"""Seeds from which on these are the repetitions: runs of one seed share initial values and the order of rows."""

ONE_PAIR = "one pair of runs: how much training varies by itself cannot be told; give the study several seeds"


def with_repeats(comparison: Comparison, differences: Sequence[float], seeds: Sequence[int]) -> Comparison:
    """A comparison over dialogues that also has to stand out from how much the pairs of runs differ in their gains.

    The p-value is the larger one of two: of the dialogues, and of Student's t-test over repetitions, which are the
    means of seeds where there are enough of these, else the pairs. The interval is that of both sources of variance
    added (Owen 2007, The pigeonhole bootstrap, section 3: the sum is on the safe side).

    Args:
        comparison: the mean over the pairs, with its interval and p-value over dialogues.
        differences: of each pair.
        seeds: of each pair.

    Returns:
        The comparison with both; one pair alone has no p-value.
    """
    if comparison.low is None or comparison.high is None or comparison.p is None:
        return comparison
    repetitions = list(differences)
    if len(set(seeds)) >= FEWEST_SEEDS:
        by_seed = {seed: [d for d, s in zip(differences, seeds, strict=True) if s == seed] for seed in seeds}
        repetitions = [statistics.fmean(values) for values in by_seed.values()]
    if len(repetitions) < 2:
        return replace(comparison, low=None, high=None, p=None, smallest_p=None, reason=ONE_PAIR)
    from scipy.special import stdtr, stdtrit

    freedom = len(repetitions) - 1
    error = statistics.stdev(repetitions) / math.sqrt(len(repetitions))
    mean = statistics.fmean(repetitions)
    of_runs = 2 * float(stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)
    width = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    gain = comparison.gain
    return replace(
        comparison,
        low=gain - math.hypot(gain - comparison.low, width),
        high=gain + math.hypot(comparison.high - gain, width),
        p=max(comparison.p, of_runs),
    )
