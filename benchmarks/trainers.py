"""Ways of training one model on the same rows for an epoch, for training.py, which starts a process for each.

    python benchmarks/trainers.py NAME FOLDER OUTPUT small|whole ROWS

The model, its NF4 base, LoRA, optimiser and effective batch are the same in all of them.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from bench import MICRO_BATCH, SMALL, SMOLLM2_135M, Bench, records

from loragrid.jobs.environment import importing, peak_memory, stream

with importing():
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Trainer, TrainingArguments
    from trl import SFTConfig, SFTTrainer

    from loragrid.files import read_json, write_json
    from loragrid.training.order import WholeTraining

MODEL = "smollm2-135m"

RECIPE: dict[str, Any] = {
    "rank": 8, "alpha": 64, "batch_size": 16, "learning_rate": 2e-4, "schedule": "constant", "epochs": 1,
    "max_steps": None, "evaluations": 1, "max_length": 512,
}  # fmt: skip
"""Ranks, batch and length of config/studies/tinyllama-sft-dpo.yaml; without dropout, so that losses can be compared."""

LORA = LoraConfig(
    r=RECIPE["rank"], lora_alpha=RECIPE["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
)  # fmt: skip

WORDS = 256
"""Tokens that rows are made of, so that a loss falls within an epoch."""


def lengths(number: int) -> list[int]:
    """Tokens of each row: short messages, 35 tokens on average."""
    draw = random.Random(0)
    return [draw.randint(20, 50) for _ in range(number)]


def base(bench: Bench, dtype: torch.dtype) -> Any:
    """The model in NF4, loaded as its documentation does it."""
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )  # fmt: skip
    return AutoModelForCausalLM.from_pretrained(
        bench.model().folder, dtype=dtype, quantization_config=nf4, device_map={"": "cpu"}, use_safetensors=True,
        trust_remote_code=False,
    )  # fmt: skip


def common(micro_batch: int) -> dict[str, Any]:
    """Arguments of transformers that say how much is trained, not how."""
    return {
        "output_dir": "others", "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": RECIPE["batch_size"] // micro_batch, "num_train_epochs": RECIPE["epochs"],
        "learning_rate": RECIPE["learning_rate"], "lr_scheduler_type": "constant", "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True,
    }  # fmt: skip


def losses(trainer: Trainer) -> list[float]:
    """Of each step, in nats a token."""
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def rows_of(folder: str, *columns: str) -> Dataset:
    """The rows for training."""
    return Dataset.from_file(f"{folder}/train.arrow").select_columns(list(columns))


# -- the ways


def loragrid(bench: Bench, folder: str) -> list[float]:
    """As a job does it, with records, and a validation of two rows at the end."""
    work = bench.train(f"run-{os.getpid()}", folder, **RECIPE)
    return [line["loss"] for line in records(work) if "loss" in line]


def padded(bench: Bench, folder: str) -> list[float]:
    """The tinyllama study's way: transformers' Trainer, each row filled up to 512 tokens; here in our order of rows."""
    rows = rows_of(folder, "input_ids", "labels", "length")
    order = WholeTraining(
        rows["length"], RECIPE["batch_size"], len(rows) // RECIPE["batch_size"],
        f"{read_json(Path(folder, 'format.json'))['key']}:{stream(42, 'order')}", group=True,
    )  # fmt: skip
    fill = AutoTokenizer.from_pretrained(bench.model().folder).pad_token_id

    def whole(row: dict[str, list[int]]) -> dict[str, list[int]]:
        missing = RECIPE["max_length"] - len(row["input_ids"])
        return {
            "input_ids": row["input_ids"] + [fill] * missing,
            "labels": row["labels"] + [-100] * missing,
            "attention_mask": [1] * len(row["input_ids"]) + [0] * missing,
        }

    filled = rows.select(list(order)).map(whole, remove_columns=["length"], keep_in_memory=True)
    model = get_peft_model(base(bench, torch.float32), LORA)
    arguments = TrainingArguments(**common(MICRO_BATCH), train_sampling_strategy="sequential")
    trainer = Trainer(model, arguments, train_dataset=filled)
    trainer.train()
    return losses(trainer)


def with_trl(dtype: torch.dtype, micro_batch: int, **settings: Any) -> Callable[[Bench, str], list[float]]:
    """TRL's SFTTrainer with some settings, and with its defaults where there are none."""

    def train(bench: Bench, folder: str) -> list[float]:
        trainer = SFTTrainer(
            base(bench, dtype),
            SFTConfig(
                **common(micro_batch), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **settings
            ),
            train_dataset=rows_of(folder, "input_ids", "labels"),
            processing_class=AutoTokenizer.from_pretrained(bench.model().folder),
            peft_config=LORA,
        )
        for weight in trainer.model.parameters():  # TRL has made the adapter of an NF4 base bf16, whatever the base
            if weight.requires_grad:
                weight.data = weight.data.to(dtype)
        trainer.train()
        return losses(trainer)

    return train


EXPERT = {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"}
"""Nothing is computed again, which is memory for time, and rows of like length are padded less."""

TRAIN: dict[str, Callable[[Bench, str], list[float]]] = {
    "loragrid": loragrid,
    "padded": padded,
    "trl": with_trl(torch.bfloat16, MICRO_BATCH),
    "trl-float32": with_trl(torch.float32, MICRO_BATCH, bf16=False),
    "trl-expert": with_trl(torch.float32, MICRO_BATCH, bf16=False, **EXPERT),
    "trl-expert-bf16": with_trl(torch.bfloat16, MICRO_BATCH, **EXPERT),
}
"""By the names of training.py."""


def main() -> None:
    """Train in one of the ways; seconds within Trainer.train, losses of the steps and the peak of the memory."""
    name, folder, output, size, rows = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    bench = Bench({MODEL: SMALL if size == "small" else SMOLLM2_135M}, steps=1)
    data = bench.noise(MODEL, lengths(int(rows)), words=WORDS, prompts=0.5)
    bench.model()
    train, seconds = Trainer.train, []

    def timed(trainer: Trainer, *arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        result = train(trainer, *arguments, **keywords)
        seconds.append(time.perf_counter() - began)
        return result

    with mock.patch.object(Trainer, "train", timed):
        of_steps = TRAIN[name](bench, data)
    write_json(Path(output), {"seconds": sum(seconds), "losses": of_steps, "memory_bytes": peak_memory()})


if __name__ == "__main__":
    main()
