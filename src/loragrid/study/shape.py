"""How members are put into jobs: how much work a job is given, and which jobs are left as they are.

Loading a base model and importing libraries is counted once a job, so that members are worth putting together; jobs run
side by side, so that they are worth keeping apart.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from loragrid.study.members import Member, Stage

M = TypeVar("M", bound=Member)

ONE_AT_A_TIME: tuple[Stage, ...] = ("judge",)
"""Stages whose jobs do not run side by side, or together they would ask faster than is allowed."""

TOLERANCE = 1e-9
"""For sums of minutes that come out equal but for rounding."""


@dataclass(frozen=True)
class Shape:
    """What jobs are to be like.

    Args:
        minutes: of work that a member is, without the start of its job.
        longest: minutes of work that a job is given, or half a member more; 0 for a job for each member.
        shortest: minutes of work below which starting a job costs more than another job saves.
        slots: jobs that run side by side.
        living: ids of recorded batches that somebody works on, or whose job waits, by stage: these stay as they are.
    """

    minutes: Callable[[Member], float]
    longest: float
    shortest: float
    slots: int
    living: Mapping[Stage, Collection[str]] = field(default_factory=dict)

    def divide(self, stage: Stage, groups: Sequence[Sequence[M]]) -> list[list[M]]:
        """Put members into jobs.

        Args:
            stage: what is done to them.
            groups: members that may share a job, in their order.

        Returns:
            The members of each job: about equally much work in those of a group, so that the last is no remainder.
        """
        minutes = [[self.minutes(member) for member in group] for group in groups]
        slots = 1 if stage in ONE_AT_A_TIME else self.slots
        fill = min(self.longest, max(self.shortest, sum(map(sum, minutes)) / slots))
        return [job for group, each in zip(groups, minutes, strict=True) for job in _evenly(group, each, fill)]


def _evenly(members: Sequence[M], minutes: Sequence[float], fill: float) -> list[list[M]]:
    """Cut a group into as many jobs as its work fills, where that leaves about equally much in each."""
    total = sum(minutes)
    share = total / max(1, math.ceil(total / fill - TOLERANCE)) if fill > 0 else 0
    jobs: dict[int, list[M]] = {}
    before = 0.0
    for place, (member, each) in enumerate(zip(members, minutes, strict=True)):
        # A member belongs where its middle lies.
        jobs.setdefault(int((before + each / 2) / share) if share > 0 else place, []).append(member)
        before += each
    return list(jobs.values())
