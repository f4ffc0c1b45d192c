"""Do intervals cover the truth at 95 %, and how often is a difference claimed where there is none?

    python benchmarks/chance.py [--studies 500] [--tables 400]

Coverage is counted over studies with made-up dialogues whose truth is known, for a value and for the gain of one system
over another, with 8, 15 and 60 dialogues, beside that of the plain percentile interval. False claims are counted over
tables of eight runs that do not differ from the untrained model.
"""

import argparse
from collections.abc import Callable

import numpy as np

from loragrid.comparing.compare import compare
from loragrid.comparing.draws import Draws
from loragrid.comparing.holm import holm
from loragrid.comparing.interval import bootstrap
from loragrid.comparing.permutation import p_values
from loragrid.comparing.verdict import ALPHA, verdict
from loragrid.metrics import COLUMNS

Pair = tuple[np.ndarray, np.ndarray]
"""Statistics of the system and of what it is compared with, shape (dialogues, statistics)."""

TRUTH = 2_000_000  # dialogues from which the true values are taken


def mean_of_normal(random: np.random.Generator, number: int) -> Pair:
    """A mean over items, normal: dialogues differ in how hard they are, and each system has noise of its own."""
    hard, one = random.normal(0, 1, number), np.ones(number)
    system, other = (hard + random.normal(shift, 0.7, number) for shift in (0.3, 0))
    return np.column_stack([system, one]), np.column_stack([other, one])


def mean_of_log_normal(random: np.random.Generator, number: int) -> Pair:
    """A mean over items, log-normal with σ = 1."""
    hard, one = random.normal(0, 1, number), np.ones(number)
    system, other = (factor * np.exp(hard + random.normal(0, 0.3, number)) for factor in (0.7, 1))
    return np.column_stack([system, one]), np.column_stack([other, one])


def mean_that_seldom_differs(random: np.random.Generator, number: int) -> Pair:
    """A mean over items, of which a fifth differ at all."""
    other, one = random.random(number) * 0.3, np.ones(number)
    differs = random.random(number) < 0.2
    return np.column_stack([other + differs * random.random(number) * 0.3, one]), np.column_stack([other, one])


def likelihood(size: float, log_normal: bool) -> Callable[[np.random.Generator, int], Pair]:
    """Nats over bytes or tokens, which are log-normal; nats per unit are normal or log-normal with σ = 0.5."""

    def draw(random: np.random.Generator, number: int) -> Pair:
        length = np.exp(random.normal(4, 0.6, number))
        noise = random.normal(0, 1, number)
        rate = np.exp(0.5 * noise - 0.125) if log_normal else 1 + 0.2 * noise
        nats = length * rate / size
        system = nats * (1 + 0.1 * random.normal(0, 1, number)) * 1.1
        return np.column_stack([system, length]), np.column_stack([nats * 1.3, length])

    return draw


def bleu(random: np.random.Generator, number: int) -> Pair:
    """Counts of n-grams of answers that differ in length and quality."""
    reference = random.poisson(np.exp(random.normal(2.7, 0.4, number))) + 4

    def system(quality: float) -> np.ndarray:
        answer = np.maximum(1, random.poisson(reference * 0.9))
        totals = np.stack([np.maximum(answer - order, 0) for order in range(4)], axis=1)
        matches = [random.binomial(totals[:, 0], random.beta(quality * 6, (1 - quality) * 6, number))]
        for order in range(1, 4):
            matches.append(random.binomial(np.minimum(matches[-1], totals[:, order]), 0.5))
        return np.column_stack([answer, reference, *matches, totals]).astype(float)

    return system(0.45), system(0.35)


KINDS = {
    "mean, normal": ("rougeL", mean_of_normal),
    "mean, log-normal": ("rougeL", mean_of_log_normal),
    "mean, a fifth differ": ("rougeL", mean_that_seldom_differs),
    "bits per byte, normal": ("bits_per_byte", likelihood(1.0, log_normal=False)),
    "bits per byte, log-normal": ("bits_per_byte", likelihood(1.0, log_normal=True)),
    "perplexity, normal": ("perplexity", likelihood(0.5, log_normal=False)),
    "perplexity, log-normal": ("perplexity", likelihood(0.5, log_normal=True)),
    "BLEU": ("sacrebleu", bleu),
}


def coverage(kind: str, dialogues: int, studies: int) -> dict[str, float]:
    """Shares of studies whose interval has the truth in it, ours and the percentile one, of a value and of a gain."""
    name, draw = KINDS[kind]
    metric = COLUMNS[name]
    random = np.random.default_rng(1)
    parts = [draw(random, TRUTH // 10) for _ in range(10)]
    true = [float(metric.value(np.sum([pair[side].sum(axis=0) for pair in parts], axis=0))) for side in (0, 1)]
    draws = Draws([f"d{index}" for index in range(dialogues)])
    counts = np.concatenate(list(draws.counts()))
    hits: dict[str, list[bool]] = {}
    for _ in range(studies):
        system, other = draw(random, dialogues)
        found = bootstrap(metric, [system, other], [{0: 1.0}, {0: 1.0, 1: -1.0}], draws)
        values = [metric.value(counts @ sums) for sums in (system, other)]
        for what, truth, interval, resampled in (
            ("value", true[0], found[0], values[0]),
            ("gain", true[0] - true[1], found[1], values[0] - values[1]),
        ):
            low, high = np.quantile(resampled, [0.025, 0.975])
            hits.setdefault(what, []).append(interval.low <= truth <= interval.high)
            hits.setdefault(f"{what}, percentile", []).append(bool(low <= truth <= high))
    return {what: float(np.mean(hit)) for what, hit in hits.items()}


def false_claims(kind: str, dialogues: int, tables: int, runs: int = 8) -> float:
    """The share of tables that claim a difference, where runs and untrained model differ in noise alone."""
    name, draw = KINDS[kind]
    metric = COLUMNS[name]
    random = np.random.default_rng([dialogues, list(KINDS).index(kind)])  # no two of them alike
    draws = Draws([f"d{index}" for index in range(dialogues)], runs)
    claims = 0
    for _ in range(tables):
        # Which of two systems is which is decided by a coin for each dialogue: so they are equal, whatever the metric.
        differences = []
        for _ in range(runs):
            one, other = draw(random, dialogues)
            coin = random.random(dialogues) < 0.5
            differences.append([(np.where(coin[:, None], one, other), np.where(coin[:, None], other, one))])
        # Only what the p-values leave open needs an interval, too.
        if min(holm(p_values(metric, differences, draws))) >= ALPHA:
            continue
        found = compare(metric, differences, draws)
        p_holm = holm([comparison.p for comparison in found if comparison.p is not None])
        claims += any(
            verdict(metric, one.gain, one.low, one.high, p) != "chance"
            for one, p in zip(found, p_holm, strict=True)
            if one.low is not None and one.high is not None
        )
    return claims / tables


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Coverage of intervals, and false claims of tables.")
    parser.add_argument("--studies", type=int, default=500, help="made-up studies for each coverage (default: 500)")
    parser.add_argument(
        "--tables", type=int, default=400, help="made-up tables for each share of claims (default: 400)"
    )
    arguments = parser.parse_args()
    error = (0.95 * 0.05 / arguments.studies) ** 0.5
    print(f"coverage of 95 % intervals, in % (± {100 * error:.1f}): ours / percentile\n")
    print("| | dialogues | value | gain |\n|---|---|---|---|")
    for kind in KINDS:
        for dialogues in (8, 15, 60):
            share = coverage(kind, dialogues, arguments.studies)
            cells = [
                f"{100 * share[what]:.1f} / {100 * share[f'{what}, percentile']:.1f}" for what in ("value", "gain")
            ]
            print(f"| {kind} | {dialogues} | {' | '.join(cells)} |", flush=True)
    error = (ALPHA * (1 - ALPHA) / arguments.tables) ** 0.5
    print(f"\ntables with a false claim, in % (at most {100 * ALPHA:g}, ± {100 * error:.1f})\n")
    print("| | 15 dialogues | 60 |\n|---|---|---|")
    for kind in KINDS:
        shares = [f"{100 * false_claims(kind, dialogues, arguments.tables):.1f}" for dialogues in (15, 60)]
        print(f"| {kind} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
