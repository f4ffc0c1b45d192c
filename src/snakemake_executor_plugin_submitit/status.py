"""From what a job wrote and what Slurm says to how it ended."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

# States in which a job has ended for good …
FINAL = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT",
})  # fmt: skip
# … or from which Slurm may put it back into the queue.
MAY_RETURN = frozenset({"NODE_FAIL", "PREEMPTED"})

# How often in a row a job must look ended, without having written a result, before it counts as killed: a result is
# seen late on network file systems, and a preempted job may come back into the queue.
LOOKS_IF_FINAL, LOOKS_IF_NOT = 2, 4

SUCCESS = ""
PREEMPTED = "The job was preempted, and Slurm did not put it back into the queue."


@dataclass(frozen=True)
class State:
    """What Slurm says about a job: its state, e.g. `RUNNING`, and the reason for it."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.name} ({self.reason})" if self.reason not in ("", "None") else self.name

    @property
    def is_alive(self) -> bool:
        """Whether the job waits, runs or is about to end."""
        return self.name not in FINAL | MAY_RETURN


# States by job id, without jobs that are unknown; None if Slurm did not answer.
States = Mapping[str, State] | None


class Judge:
    """Tells how jobs ended, over several looks at them."""

    def __init__(self) -> None:
        self._looked_ended: Counter[str] = Counter()

    def is_unsure(self) -> bool:
        """Whether some job should be looked at again soon."""
        return bool(self._looked_ended)

    def problem(self, id_: str, status: int | None, states: States) -> str | None:
        """How a job ended.

        Args:
            id_: the job.
            status: the exit status that it wrote, if it did.
            states: what Slurm says.

        Returns:
            SUCCESS, PREEMPTED or what else went wrong; None if it has not ended, as far as one knows.
        """
        state = states.get(id_) if states is not None else None
        if status is not None:
            self._looked_ended.pop(id_, None)
            # What Slurm killed inside of the job says more than its status does.
            said = f"; Slurm says {state}" if state and state.name in FINAL - {"FAILED", "COMPLETED"} else ""
            return SUCCESS if status == 0 else f"The job's command ended with status {status}{said}."
        if states is None or (state and state.is_alive):
            self._looked_ended.pop(id_, None)
            return None
        self._looked_ended[id_] += 1
        if self._looked_ended[id_] < (LOOKS_IF_FINAL if state and state.name in FINAL else LOOKS_IF_NOT):
            return None
        del self._looked_ended[id_]
        if state and state.name == "COMPLETED":
            return SUCCESS
        if state and state.name == "PREEMPTED":
            return PREEMPTED
        return f"The job ended without a result: {state or 'Slurm does not know it any more'}."
