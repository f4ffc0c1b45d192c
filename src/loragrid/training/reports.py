"""Curves to look at while a training runs, on request: TensorBoard, Weights & Biases, MLflow or trackio.

They are filled by the Trainer's own `report_to`, beside the run (`work/reports`), and need no network: W&B is offline
(`wandb sync` uploads it later), MLflow and trackio write local databases. What is set in the environment already, a
server's address say, is left as it is. Nothing reads them again: training.jsonl and usage.jsonl are the record.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback

from loragrid.errors import UserError

_FINISH = {"wandb": "finish", "mlflow": "end_run", "trackio": "finish"}
"""How each ends a run, which the Trainer does not where a training is interrupted. W&B reads its settings once in a
process, so that only the first of several would have its report in the right place: each training has its own."""


def check(names: Sequence[str]) -> None:
    """Look whether what is asked for is installed.

    Raises:
        UserError: it is not.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"report_to: {', '.join(missing)} is not installed where this job runs: `pip install {' '.join(missing)}` "
            "there, or take it out of config/config.yaml"
        )


@contextlib.contextmanager
def beside(work: Path, names: Sequence[str], run: str) -> Iterator[None]:
    """Let reports of a training be written beside it, and end them with it.

    Args:
        work: the run's work folder.
        names: of what is reported to.
        run: the run's name, by which a later attempt goes on in the same report.
    """
    if not names:
        yield
        return
    place = (work / "reports").resolve()
    place.mkdir(parents=True, exist_ok=True)
    settings = {
        "TENSORBOARD_LOGGING_DIR": str(place / "tensorboard"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(place),
        "WANDB_PROJECT": "loragrid",
        "WANDB_RUN_ID": run,
        "WANDB_RESUME": "allow",
        "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "loragrid",
        "TRACKIO_DIR": str(place / "trackio"),
    }
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in names:
            if name in _FINISH and (module := sys.modules.get(name)) is not None:
                getattr(module, _FINISH[name])()
        for name in new:
            del os.environ[name]


def go_on(callbacks: Sequence[Any], step: int) -> None:
    """Let TensorBoard forget what an earlier attempt wrote after the checkpoint that this one goes on from.

    Args:
        callbacks: the Trainer's.
        step: of the checkpoint, 0 without one.
    """
    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.tb_writer = callback._SummaryWriter(log_dir=callback.logging_dir, purge_step=step + 1)
