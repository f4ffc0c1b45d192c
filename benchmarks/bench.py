"""Models with random weights, made-up rows and runs over them, as the workflow's jobs are given them.

What the benchmarks have in common. Everything is made in the current folder when it is first asked for.
"""

import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from loragrid.jobs.environment import importing

with importing():
    import torch
    from datasets.arrow_writer import ArrowWriter
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    from loragrid.data.format import format_dataset
    from loragrid.data.supervised import FEATURES
    from loragrid.files import read_jsonl, write_json, write_jsonl
    from loragrid.jobs.attempts import read_attempts
    from loragrid.modeling.build import train_tokenizer
    from loragrid.modeling.load import device
    from loragrid.study.batches import Batch
    from loragrid.study.grid import Answers, ModelEntry, Run
    from loragrid.study.members import AnswerMember, Compared, Member, TrainMember
    from loragrid.study.schema.evaluations import Decoding
    from loragrid.study.schema.recipe import RecipeSpec
    from loragrid.training.train import train_batch

TINYLLAMA = {
    "vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "max_position_embeddings": 2048,
}  # fmt: skip
LLAMA_2_7B = {
    "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
}  # fmt: skip
SMOLLM2_135M = {
    "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
}  # fmt: skip
DEMO = {
    "vocab_size": 2048, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512,
}  # fmt: skip
"""Of the model that the demo builds."""
SMALL = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip

MICRO_BATCH = 8
"""Rows at a time; a study's default."""

CHAT = {
    "name": None, "template": None, "template_key": None, "system": None, "arguments": {}, "date": "2024-07-26",
    "end_token": "text",
}  # fmt: skip
"""A model's own chat."""

WHO = ["my dog", "my sister", "the old car", "our neighbour", "a friend of mine", "the new boss"]
DID = ["ran away", "came home", "made me laugh", "broke down", "forgot my birthday", "won a prize"]
KIND = ["That must have been hard.", "How lovely to hear!", "Tell me more.", "I would feel the same."]
RUDE = ["I do not care.", "So what?", "Whatever you say."]


class LeftOut(Exception):
    """A check is impossible here; says why."""


class Bench:
    """Makes models and data, once, and trains with the package's functions.

    Args:
        models: fields of LlamaConfig by name; the first is the one that rows and runs are for by default.
        steps: optimiser steps of a run, unless it says otherwise.
        precision: of the base weights.
    """

    def __init__(self, models: Mapping[str, dict[str, int]], steps: int, precision: str = "nf4"):
        self.models = models
        self.steps = steps
        self.precision = precision
        self.first = next(iter(models))

    # -- models

    def model(self, name: str | None = None, micro_batch: int = MICRO_BATCH) -> ModelEntry:
        """A model with random weights, as a batch holds it; written when it is first asked for."""
        name = name or self.first
        entry = ModelEntry(
            id=name, key="k" * 64, label=name, slug=name, hub=None, revision=None, path=None, build=None,
            precision=self.precision, parameters=None, micro_batch=micro_batch, gpus=1, sharded=False,
            gradient_checkpointing="auto",
        )  # fmt: skip
        if not Path(entry.folder, "model.json").exists():
            write_model(Path(entry.folder), self.models[name])
        return entry

    # -- rows

    def dialogues(self) -> str:
        """Folder of formatted dialogues for the first model."""
        return self._formatted("dialogues", "chat", lambda number: {"messages": dialogue(number)})

    def pairs(self) -> str:
        """Folder of formatted pairs for the first model: the rude answer is the worse."""
        return self._formatted("pairs", "preference", pair)

    def _formatted(self, name: str, kind: str, make: Callable[[int], dict[str, Any]]) -> str:
        clean, out = Path("data/clean", name), Path("data/formatted", self.first, name)
        if not (out / "format.json").exists():
            for split, numbers in {"train": range(32), "validation": range(100, 108)}.items():
                records = ({"id": f"{number}", "meta": {}, **make(number)} for number in numbers)
                write_jsonl(clean / f"{split}.jsonl", records)
            format_dataset(
                clean, Path(self.model().folder), out, key=name[0] * 64, chat=CHAT, mask="answers", max_length=128,
                format_={"name": kind, "version": 1, "options": {}},
            )  # fmt: skip
        return str(out)

    def noise(
        self,
        name: str,
        lengths: Sequence[int],
        validation: Sequence[int] | None = None,
        words: int = 0,
        prompts: float = 0.0,
    ) -> str:
        """Folder of rows of random tokens.

        Args:
            name: of the model.
            lengths: tokens of each row.
            validation: of each row for validation; two that are as long as the first, if left out.
            words: tokens that are drawn from; 0 for all. From few there is something to learn.
            prompts: share of each row, its beginning, that has no label.
        """
        out, draw = Path("data/formatted", name, f"noise-{len(lengths)}-{sum(lengths)}"), random.Random(0)
        if not (out / "format.json").exists():
            out.mkdir(parents=True)
            known = range(3, 3 + words if words else self.models[name]["vocab_size"])
            for split, some in {"train": lengths, "validation": validation or 2 * lengths[:1]}.items():
                with ArrowWriter(path=str(out / f"{split}.arrow"), features=FEATURES) as writer:
                    for length in some:
                        tokens = draw.choices(known, k=length)
                        asked = round(prompts * length)
                        labels = [-100] * asked + tokens[asked:]
                        writer.write({"input_ids": tokens, "labels": labels, "length": length})
                    writer.finalize()
            train = {"shortened": 0, "too_long": 0}
            splits = {"key": "n" * 64, "max_length": max(lengths), "splits": {"train": train}}
            write_json(out / "format.json", splits)
        return str(out)

    # -- training

    def member(
        self,
        folder: str,
        rows: str,
        *,
        model: str | None = None,
        micro_batch: int = MICRO_BATCH,
        parent: str | None = None,
        compared_with: Compared | None = None,
        **recipe: Any,
    ) -> TrainMember:
        """A run as a train batch holds it."""
        entry = self.model(model, micro_batch)
        fields = {
            "rank": 4,
            "alpha": 8,
            "learning_rate": 5e-3,
            "batch_size": 8,
            "max_steps": self.steps,
            "evaluations": 2,
        }
        run = Run(
            name=folder, key="r" * 64, label=None, model=entry.id, dataset="made", clean="made",
            formatted=relpath(rows, "data/formatted"),
            precision=self.precision, chat=CHAT, recipe=RecipeSpec(**(fields | recipe)).recipe(), seed=42,
            parent=parent and f"results/runs/{parent}", compared_with=None, folder=f"results/runs/{folder}",
        )  # fmt: skip
        return TrainMember(run, entry, "", run.key if parent else None, compared_with)

    def attempt(self, member: TrainMember) -> Path | None:
        """Train a run until it ends or is interrupted; its work folder if it has finished.

        Raises:
            RuntimeError: it failed; says why.
        """
        finished = train_batch(batch_of("train", member), checkpoint_minutes=60)
        work = Path(member.run.folder, "work")
        last = read_attempts(work)[-1]
        if last.get("ended") not in ("finished", "terminated", "out of memory"):
            raise RuntimeError(f"{member.run.name}: {last.get('ended')}: {last.get('why')}")
        return work if finished else None

    def train(self, folder: str, rows: str, **settings: Any) -> Path:
        """Train a run to its end, if that was not done; its work folder.

        Raises:
            RuntimeError: it did not finish; says why.
        """
        member = self.member(folder, rows, **settings)
        for _ in range(4):  # an exhausted memory ends an attempt, too
            if work := self.attempt(member):
                return work
        raise RuntimeError(f"{folder}: {read_attempts(Path(member.run.folder, 'work'))[-1]['why']}")

    # -- answers

    def asked(self, member: TrainMember, prompts: Path, longest: int) -> AnswerMember:
        """What a batch of answers holds of a run.

        Args:
            member: the run, as a train batch holds it.
            prompts: file of them.
            longest: tokens of an answer, at most.
        """
        run = member.run
        answers = Answers(
            id="answers", subject=run.folder, evaluation="test", model=run.model, precision=run.precision,
            dataset="made", chat=CHAT, prompts="made", decoding=Decoding(max_new_tokens=longest).model_dump(), seed=0,
            key="e" * 64, scores={}, folder="results/answers",
        )  # fmt: skip
        parts = {"generations": f"{answers.folder}/generations.jsonl"}
        return AnswerMember(answers, parts, member.model, str(prompts), run, preflight_file="")


def write_model(folder: Path, dimensions: dict[str, int]) -> None:
    """A Llama with random weights in bf16, as if it had been downloaded: drawn on the device, written layer by layer.

    Raises:
        LeftOut: the disk is too small for it.
    """
    tokenizer = train_tokenizer([*WHO, *DID, *KIND, *RUDE], 300, dimensions["max_position_embeddings"])
    config = LlamaConfig(
        **dimensions, tie_word_embeddings=False, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, dtype="bfloat16", architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    with torch.device("meta"):
        weights = LlamaForCausalLM(config).state_dict()
    size = 2 * sum(weight.numel() for weight in weights.values())
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < 1.1 * size:
        raise LeftOut(
            f"the model takes {size / 1e9:.1f} GB, and {folder.resolve()} has {free / 1e9:.1f} GB: set TMPDIR"
        )
    torch.manual_seed(0)
    places, parts = {}, {}
    for name in weights:
        part = name.split(".")[2] if ".layers." in name else "rest"
        places[name] = f"model-{part}.safetensors"
        parts.setdefault(places[name], []).append(name)
    for file, names in parts.items():
        drawn = {}
        for name in names:
            values = torch.ones if name.endswith("norm.weight") else torch.randn
            drawn[name] = values(weights[name].shape, dtype=torch.bfloat16, device=device())
            if values is torch.randn:
                drawn[name] *= config.initializer_range
        save_file(drawn, folder / file, metadata={"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "model.json", {"files": {}})  # last: it is whole


def dialogue(number: int) -> list[dict[str, str]]:
    """Of one to three rounds, so that rows differ in length."""
    draw = random.Random(number)
    messages = []
    for _ in range(draw.randint(1, 3)):
        messages.append({"role": "user", "content": f"Today {draw.choice(WHO)} {draw.choice(DID)}."})
        messages.append({"role": "assistant", "content": draw.choice(KIND)})
    return messages


def pair(number: int) -> dict[str, Any]:
    """A dialogue with a kind and a rude end."""
    *messages, answer = dialogue(number)
    return {"messages": messages, "chosen": answer["content"], "rejected": random.Random(number).choice(RUDE)}


def batch_of(stage: Any, *members: Member) -> Batch[Any]:
    """A batch."""
    return Batch(stage=stage, id="0123456789", members=list(members), needs=[], after=[])


def records(work: Path) -> list[dict[str, Any]]:
    """What the steps and validations of a run gave."""
    return list(read_jsonl(work / "training.jsonl"))
