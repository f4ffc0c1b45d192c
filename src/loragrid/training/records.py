"""What each step and each validation of a run gave, one JSON object a line.

training.jsonl has what comes out the same each time; usage.jsonl seconds and memory, which do not.
"""

import json
from pathlib import Path
from typing import Any

from loragrid.files import read_jsonl, write_jsonl


class Records:
    """The file, which grows with the training.

    Args:
        file: in the run's work folder.
        steps_per_epoch: for the epoch of each record.
        writes: whether this process writes it; of several that train together, one does.
    """

    def __init__(self, file: Path, steps_per_epoch: int, *, writes: bool):
        self.file = file
        self._steps_per_epoch = steps_per_epoch
        self._writes = writes

    def add(self, step: int, **values: float | None) -> None:
        """Append what was measured at a step."""
        if self._writes:
            record = {"step": step, "epoch": round(step / self._steps_per_epoch, 6), **values}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def cut(self, step: int, validated_at: int) -> None:
        """Drop what comes after a checkpoint: it will be written again.

        Args:
            step: of the checkpoint.
            validated_at: step of its last validation.
        """
        if not self._writes or not self.file.exists():
            return
        kept = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            # A kill can cut the last line short; it belongs to a step after the checkpoint.
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break
            if record["step"] <= (validated_at if "validation_loss" in record else step):
                kept.append(record)
        write_jsonl(self.file, kept)

    def has_finite_gradients(self) -> bool:
        """Whether any step had gradients that are numbers."""
        return any(line.get("grad_norm") is not None for line in read_jsonl(self.file))

    def losses(self) -> dict[str, Any]:
        """Mean training loss over the last epoch, and the last validation loss, in nats a token."""
        lines = list(read_jsonl(self.file))
        train = [line for line in lines if "loss" in line]
        last_epoch = [line["loss"] for line in train if line["epoch"] > train[-1]["epoch"] - 1]
        return {
            "train": sum(last_epoch) / len(last_epoch),
            "validation": next(line["validation_loss"] for line in reversed(lines) if "validation_loss" in line),
        }
