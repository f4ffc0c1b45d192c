"""How much there is to do: rows and tokens, counted where the data is formatted, else from a source's usual size."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.files import read_json, read_jsonl
from loragrid.generation.records import is_scored
from loragrid.study.grid import Answers, Clean, Decontaminated, Grid, LogProbabilities, Mixture, Prompts, Run
from loragrid.study.registry import Registry
from loragrid.study.steps import steps_per_epoch, total_steps, validation_steps

LONGEST_QUESTION = 3
"""The longest prompt with choices in typical ones, assumed."""

UNKNOWN_TURNS, USUAL_TURNS = {"replay": 2}, 10
"""Answers of a conversation that is played, until its turns are known: those of MT-Bench, and of dialogues between
people (ESConv's have fifteen, EmpatheticDialogues' two)."""


@dataclass(frozen=True)
class RowCount:
    """Formatted rows of a split.

    Args:
        number: how many.
        tokens: of a row on average.
        longest: tokens of the longest, before it is cut.
    """

    number: float
    tokens: float
    longest: float


@dataclass(frozen=True)
class TrainingWork:
    """The work of one training.

    Args:
        tokens: seen in training, without padding.
        steps: of the optimiser.
        length: tokens of a row on average.
        longest: tokens of the longest row.
        validation_rows: rows of one validation.
        validation_tokens: their tokens.
        validations: how many.
    """

    tokens: float
    steps: int
    length: float
    longest: int
    validation_rows: float
    validation_tokens: float
    validations: int


@dataclass(frozen=True)
class GenerationWork:
    """The work of one set of answers.

    Args:
        prompts: how many.
        prompt_tokens: of one on average.
        longest_prompt: tokens of the longest.
        answer_tokens: of the longest answer allowed.
    """

    prompts: int
    prompt_tokens: float
    longest_prompt: int
    answer_tokens: int


@dataclass(frozen=True)
class Played:
    """Conversations that are played.

    Args:
        turns: answers of the longest; 1 for prompts by themselves.
        conversations: how many answers are scored, where one of each is; 0 if that is not known.
    """

    turns: int
    conversations: int = 0


class Workload:
    """Counts the work of a study's runs and answers.

    Args:
        grid: the study.
        registry: its sources, for the usual sizes.
    """

    def __init__(self, grid: Grid, registry: Registry):
        self.grid = grid
        self.registry = registry
        # Thousands of runs share a few formatted datasets and prompts.
        self._rows = functools.cache(self._count_rows)
        self._prompts = functools.cache(self._count_prompts)
        self._played = functools.cache(self._count_turns)

    def uncounted(self) -> list[str]:
        """The datasets, by the study's names, that are not formatted yet for every run."""
        missing = {item.id for item in self.grid.formatted.values() if not Path(item.folder, "format.json").exists()}
        return sorted({run.dataset for run in self.grid.runs.values() if run.formatted in missing})

    def of_run(self, run: Run) -> TrainingWork:
        """The work of a training."""
        recipe = run.recipe
        rows, validation = self._rows(run.formatted, "train"), self._rows(run.formatted, "validation")
        steps = total_steps(rows.number, recipe.batch_size, recipe.epochs, recipe.max_steps)
        cut = recipe.max_length
        length = min(rows.tokens, cut)
        times = recipe.evaluations
        return TrainingWork(
            tokens=steps * recipe.batch_size * length,
            steps=steps,
            length=length,
            longest=int(min(rows.longest, cut)),
            validation_rows=validation.number,
            validation_tokens=validation.number * min(validation.tokens, cut),
            validations=len(validation_steps(steps, steps_per_epoch(rows.number, recipe.batch_size), times)),
        )

    def of_pairs(self, compared: LogProbabilities) -> GenerationWork:
        """The work of computing what runs by DPO are compared with."""
        counts = [self._rows(compared.formatted, split) for split in ("train", "validation")]
        number = sum(count.number for count in counts)
        tokens = sum(count.number * count.tokens for count in counts) / max(number, 1)
        cut = self.grid.formatted[compared.formatted].max_length
        return GenerationWork(int(number), tokens, int(min(max(count.longest for count in counts), cut)), 0)

    def of_answers(self, answers: Answers) -> GenerationWork:
        """The work of a set of answers."""
        prompts, typical, longest = self._prompts(answers.prompts, answers.model)
        # Of choices nothing is answered: their letters are compared, a token each.
        answer = answers.decoding.get("max_new_tokens", 1)
        # In a conversation the answers stand in the prompts after them, as long as they may be.
        before = self._played(answers.prompts).turns - 1
        return GenerationWork(prompts, typical + answer * before / 2, int(longest + answer * before), answer)

    def scored(self, answers: Answers) -> int:
        """How many of a set of answers are scored."""
        prompts, played = self.grid.prompts[answers.prompts], self._played(answers.prompts)
        number = self.of_answers(answers).prompts
        if not prompts.replay or prompts.turns == "all":
            return number
        return played.conversations or number // played.turns

    def _count_turns(self, prompts_id: str) -> Played:
        prompts: Prompts = self.grid.prompts[prompts_id]
        if not prompts.replay:
            return Played(1)
        if not Path(prompts.file).exists():
            return Played(UNKNOWN_TURNS.get(prompts.format["name"], USUAL_TURNS))
        turns = [(prompt["turn"], is_scored(prompt)) for prompt in read_jsonl(Path(prompts.file))]
        return Played(max((turn for turn, _ in turns), default=1), sum(scored for _, scored in turns))

    def prompts(self, prompts_id: str) -> int:
        """How many prompts an evaluation has."""
        prompts: Prompts = self.grid.prompts[prompts_id]
        if Path(prompts.file).exists():
            return Path(prompts.file).read_bytes().count(b"\n")
        usual, _ = self._usual(prompts.clean, prompts.split)
        if prompts.choice and prompts.choice["rows"]:
            return int(min(usual, prompts.choice["rows"] * self._subjects(prompts)))
        return int(min(usual, prompts.rows or usual)) * self._played(prompts_id).turns

    def _subjects(self, prompts: Prompts) -> int:
        """How many subjects questions are of, as far as their source says it; else one."""
        sources = (self.registry.sources[clean.source] for clean in self.grid.read_for(prompts.clean))
        known = [getattr(source, "CATEGORIES", {}) for source in sources]
        return max(1, len({subject for each in known for subjects in each.values() for subject in subjects}))

    def _count_rows(self, formatted_id: str, split: str) -> RowCount:
        formatted = self.grid.formatted[formatted_id]
        counted = Path(formatted.folder, "format.json")
        if counted.exists():
            found: dict[str, Any] = read_json(counted)["splits"].get(split) or {"rows": 0, "tokens": 0}
            typical = found["tokens"] / max(found["rows"], 1)
            return RowCount(found["rows"], typical, found.get("longest", typical))
        # How long the longest row is shows only when it is formatted: until then, as long as it may be.
        return RowCount(*self._usual(formatted.clean, split), math.inf)

    def _usual(self, clean: str, split: str) -> tuple[float, float]:
        """Rows of a split and tokens of a row, before anything is read."""
        data = self.grid.clean[clean]
        if isinstance(data, Clean):
            size = self.registry.sources[data.source].SIZE
            number: float = _usual_rows(size.rows, data.splits, split)
            return min(number, data.rows.get(split, number)), size.tokens
        if isinstance(data, Decontaminated):
            number, tokens = self._usual(data.base, split)
            return min(number, data.rows.get(split, number)), tokens
        return self._usual_mixture(data, split)

    def _usual_mixture(self, mixture: Mixture, split: str) -> tuple[float, float]:
        whole = sum(part["number"] for part in mixture.parts)
        shares = {part["clean"]: part["number"] / whole for part in mixture.parts}
        usual = {clean: self._usual(clean, split) for clean in shares}
        most = min((number / shares[clean] for clean, (number, _) in usual.items() if number), default=0)
        number = whole if mixture.by == "counts" and split == "train" else mixture.rows.get(split, most)
        return number, sum(shares[clean] * tokens for clean, (_, tokens) in usual.items())

    def _count_prompts(self, prompts_id: str, model: str) -> tuple[int, float, int]:
        prompts: Prompts = self.grid.prompts[prompts_id]
        _, tokens = self._usual(prompts.clean, prompts.split)
        number = self.prompts(prompts_id)
        if prompts.choice:
            tokens *= prompts.choice["shots"] + 1
            return number, tokens, int(LONGEST_QUESTION * tokens)
        sources = {clean.source for clean in self.grid.read_for(prompts.clean)}
        # A prompt is a dialogue without its end, so what is known of the rows of its model is known of it.
        same = [
            formatted.id
            for formatted in self.grid.formatted.values()
            if formatted.model == model and sources & {clean.source for clean in self.grid.read_for(formatted.clean)}
        ]
        rows = [self._rows(id_, "train") for id_ in same]
        typical = max((each.tokens for each in rows), default=tokens)
        longest = max(
            # As long as the longest row; until that is known, as rows may be.
            (
                self.grid.formatted[id_].max_length if math.isinf(each.longest) else each.longest
                for id_, each in zip(same, rows, strict=True)
            ),
            default=4 * tokens,
        )
        return number, typical, int(longest)


def _usual_rows(rows: Mapping[str, int], shares: Mapping[str, float], split: str) -> int:
    """Rows of a split before anything is read: of the dataset's own splits, or of those that a study makes."""
    if split in rows and not shares:
        return rows[split]
    pool = rows.get("all", 0) + rows.get("train", 0)
    if split == "train":
        return round(pool * (1 - sum(shares.values())))
    return round(pool * shares[split]) if split in shares else rows.get(split, 0)
