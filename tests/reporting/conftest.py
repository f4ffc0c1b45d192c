"""A small study with results, made from real grid objects and the files that the stages write."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from objects import (
    make_answers,
    make_clean,
    make_formatted,
    make_grid,
    make_log_probabilities,
    make_model,
    make_prompts,
    make_run,
    make_untrained,
)

from loragrid.scoring.file import write_score
from loragrid.study.grid import Answers, Formatted
from loragrid.study.schema.recipe import RecipeSpec


class Tree:
    """Results of a study in the working directory."""

    def __init__(self, dialogues: int = 12, turns: int = 2):
        self.grid = make_grid(title="A <small> study", description="What does rank do?\n\nAnd alpha?")
        self.dialogues, self.turns = dialogues, turns
        self.grid.clean["ed-1"] = make_clean(id="ed-1", source="ed", slug="ed")
        self.grid.prompts["test-1"] = make_prompts(id="test-1", clean="ed-1")
        self.write_lines(
            self.grid.prompts["test-1"].file,
            [
                {"id": f"d{d}#{t}", "dialogue": f"d{d}", "reference": f"reference {d} {t}", "meta": {},
                 "messages": [{"role": "user", "content": f"question <b>{d}</b>"}]}
                for d in range(dialogues) for t in range(turns)
            ],
        )  # fmt: skip

    def model(self, name: str = "tiny") -> str:
        id_ = f"{name}-0123456789"
        if id_ not in self.grid.models:
            self.grid.models[id_] = make_model(id=id_, label=name, slug=name, build={}, precision="32bit")
        return id_

    def untrained(self, model: str = "tiny") -> Answers:
        folder = f"results/untrained/{model}"
        self.grid.untrained[folder] = make_untrained(
            name=model, model=self.model(model), precision="32bit", folder=folder
        )
        return self._ask(folder, self.model(model))

    def run(self, seed: int = 42, model: str = "tiny", label: str | None = None, **recipe: Any) -> Answers:
        full = RecipeSpec(**{"method": "lora", **recipe}).recipe()
        digits = f"{len(self.grid.runs):010x}"
        name = f"r{full.rank}-a{full.alpha:g}-s{seed}-{digits}"
        compared_with = self._compare(model) if full.objective == "dpo" else None
        folder = f"results/runs/{model}/ed/{name}"
        self.grid.runs[folder] = make_run(
            vars(full), key=digits * 6, label=label, model=self.model(model), dataset="ed", clean="ed-1",
            precision="32bit", seed=seed, folder=folder, compared_with=compared_with,
        )  # fmt: skip
        return self._ask(folder, self.model(model))

    def _compare(self, model: str, id_: str = "tiny/ed/untrained") -> str:
        self.grid.log_probabilities[id_] = make_log_probabilities(id=id_, model=self.model(model), run=None)
        return id_

    def _ask(self, folder: str, model: str) -> Answers:
        place = f"{folder}/eval/test-aa"
        answers = make_answers(
            subject=folder, model=model, precision="32bit", dataset="ed", prompts="test-1",
            folder=place,
        )  # fmt: skip
        self.grid.answers[place] = answers
        return answers

    def format(self, id_: str = "nano/inline", histograms: dict | None = None, **changes: Any) -> Formatted:
        """Formatted data of runs, of which format.json tells the lengths."""
        formatted = make_formatted(id=id_, **changes)
        self.grid.formatted[id_] = formatted
        split = {
            "rows": 30, "shortened": 4, "too_long": 1, "longest": 310, "lengths": {"50%": 25, "100%": 310},
            "histograms": histograms or {"rows": {"19-22": 10, "23-26": 20, "256-303": 1}},
        }  # fmt: skip
        self.write(f"{formatted.folder}/format.json", {"splits": {"train": split, "validation": split}})
        return formatted

    def train(self, answers: Answers, loss: float = 2.0, key: str | None = None, **measured: float) -> None:
        """A finished run; `measured` is in each of its records."""
        run = self.grid.runs[answers.subject]
        self.write(
            f"{run.folder}/run.json",
            {
                "key": key or run.key, "name": run.name, "recipe": vars(run.recipe), "seed": run.seed,
                "precision": "32bit",
                "parameters": {"trainable": 40960, "base": 10**6}, "scale": 2.0,
                "loss": {"train": loss - 0.1, "validation": loss, "best_validation": loss - 0.05, "best_step": 10},
                "steps": 20, "rows": {"train": 100, "validation": 10},
                "cost": {"seconds": 12.5, "tokens": 1000, "peak_memory_bytes": 2**30, "attempts": 2},
            },
        )  # fmt: skip
        records = [{"step": s, "epoch": s / 10, "loss": loss + 1 / s, "learning_rate": 1e-4, "grad_norm": 1.0}
                   for s in range(1, 21)]  # fmt: skip
        records += [
            {"step": 10, "epoch": 1, "validation_loss": loss},
            {"step": 20, "epoch": 2, "validation_loss": loss},
        ]
        self.write_lines(f"{run.folder}/training.jsonl", [record | measured for record in records])

    def score(self, answers: Answers, nats: Any = 50.0, rouge: Any = 0.2, answer: str = "an answer") -> None:
        """Scores and answers; `nats` and `rouge` are one number or one for each item."""
        ids = [(f"d{d}#{t}", f"d{d}") for d in range(self.dialogues) for t in range(self.turns)]
        nats, rouge = np.broadcast_to(nats, len(ids)).tolist(), np.broadcast_to(rouge, len(ids)).tolist()
        likelihood = [{"id": i, "dialogue": d, "nats": n, "tokens": 10, "bytes": 40}
                      for (i, d), n in zip(ids, nats, strict=True)]  # fmt: skip
        bleu = {"matches": [5, 3, 2, 1], "totals": [9, 8, 7, 6], "answer_tokens": 9, "reference_tokens": 10}
        overlap = [{"id": i, "dialogue": d, **dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), r)}
                   for (i, d), r in zip(ids, rouge, strict=True)]  # fmt: skip
        self.score_file(answers, "likelihood", likelihood)
        self.score_file(answers, "rouge", overlap)
        self.score_file(answers, "sacrebleu", [
            {"id": i, "dialogue": d, "sacrebleu": bleu, "sacrebleu_sentence": 20.0} for i, d in ids
        ])  # fmt: skip
        self.write_lines(answers.generations, [{"id": i, "answer": answer, "prompt_tokens": 5, "answer_tokens": 3,
                                                "ended": "stop"} for i, _ in ids])  # fmt: skip
        self.write(
            f"{answers.folder}/generation.json",
            {"answers": len(ids), "seconds": 6.0, "prompt_tokens": 5, "answer_tokens": 72, "peak_memory_bytes": 2**20,
             "device": "cpu"},
        )  # fmt: skip

    @staticmethod
    def score_file(answers: Answers, id_: str, items: list[dict]) -> None:
        write_score(Path(answers.score_file(id_)), answers.scores[id_], items)

    @staticmethod
    def write(path: str, content: Any) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    def write_lines(self, path: str | None, records: list[dict]) -> None:
        assert path is not None
        self.write(path, "".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Tree()


@pytest.fixture
def demo(tree):
    """An untrained model, and runs that are better, equal, not trained and failed."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 3, tree.dialogues * tree.turns)
    base = tree.untrained()
    better, equal = tree.run(rank=8, alpha=16), tree.run(rank=16, alpha=32, learning_rate=1e-4)
    tree.run(rank=32, alpha=64)
    failed = tree.run(rank=64, alpha=64, target_modules=["q_proj", "v_proj"])
    tree.score(base, 50 + noise, 0.2, "I am <script>alert('untrained')</script>")
    tree.train(better, 1.5)
    tree.score(better, 40 + noise + random.normal(0, 1, noise.size), 0.3, "</td></table>**bold** & more")
    tree.train(equal, 1.7)
    tree.score(equal, 50 + noise, 0.2)
    tree.write(
        f"{failed.subject}/work/failed.json", {"reason": "NaN loss at step 12", "log": "logs/x.log", "stage": "train"}
    )
    return tree


def bits(nats: float) -> float:
    """Bits per byte of items with equal nats, as the tree writes them."""
    return nats / 40 / math.log(2)
