"""How likelihoods and prompts change in the course of dialogues: by the number of utterances that a model reads."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from loragrid.metrics import METRICS
from loragrid.scoring.file import ScoreFile
from loragrid.study.grid import Answers


@dataclass(frozen=True)
class AtUtterances:
    """The references after prompts of equally many utterances.

    Args:
        utterances: of each prompt, the one that is asked among them and the system's not.
        answers: how many references there are.
        perplexity: of all their tokens together.
        prompt_tokens: of a prompt, on average; system prompt and template are part of it.
        share_fitting: share of the prompts that have no more tokens than there is room for; None without a limit.
        room: tokens that the model has for a prompt: its context less the longest answer that is asked for; None where
            there is no limit, or it is not known.
    """

    utterances: int
    answers: int
    perplexity: float
    prompt_tokens: float
    share_fitting: float | None
    room: int | None

    @property
    def utterances_fitting(self) -> int | None:
        """So many utterances would fill the room if all took as many tokens as these do on average."""
        return None if self.room is None else math.floor(self.room * self.utterances / self.prompt_tokens)


def by_utterances(score: ScoreFile, answers: Answers) -> list[AtUtterances]:
    """What a score of likelihoods tells, for each number of utterances that some prompt has.

    Args:
        score: as read.
        answers: what it is a score of.

    Returns:
        In the order of utterances; nothing of a score that was made before they were counted.
    """
    groups = defaultdict[int, list[dict[str, Any]]](list)
    for item in score.items:
        if item.keys() >= {"utterances", "prompt_tokens"}:
            groups[item["utterances"]].append(item)
    context = score.made.get("counts", {}).get("context")
    room = context
    if context is not None and answers.generations:
        room = max(0, context - answers.decoding["max_new_tokens"])
    perplexity = next(column for column in METRICS["likelihood"].COLUMNS if column.name == "perplexity")
    return [
        AtUtterances(
            utterances,
            len(items),
            perplexity.of(items),
            sum(item["prompt_tokens"] for item in items) / len(items),
            None if room is None else sum(item["prompt_tokens"] <= room for item in items) / len(items),
            room,
        )
        for utterances, items in sorted(groups.items())
    ]
