"""Ways of answering the same prompts, for answers.py, which starts a process for each.

    python benchmarks/answerers.py NAME FOLDER OUTPUT demo|smollm2-135m|small PROMPTS [ADAPTER]

The model, its NF4 base, the adapters and greedy decoding are the same in all of them. `make` only writes them.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import CHAT, DEMO, MICRO_BATCH, SMALL, SMOLLM2_135M, Bench, dialogue

from loragrid.jobs.environment import importing, peak_memory

with importing():
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file, save_file

    from loragrid.files import read_jsonl, write_json
    from loragrid.generation.answer import answer_prompts, answer_together
    from loragrid.generation.backends.transformers import Transformers
    from loragrid.generation.sheet import Request
    from loragrid.jobs.standing import Reporter
    from loragrid.jobs.stop import Stop
    from loragrid.modeling import lora
    from loragrid.modeling.load import attach_adapter, empty_base, load_base
    from loragrid.modeling.mixed import read_updates
    from loragrid.modeling.tokenizer import load_chat
    from loragrid.study.micro_batch import MOST_ANSWERS
    from loragrid.study.recipe import Recipe

MODELS = {"demo": DEMO, "smollm2-135m": SMOLLM2_135M, "small": SMALL}
"""Dimensions by name; `small` only shows that all works."""

RANKS = (8, 8, 16, 16, 32, 32)
"""Of the adapters: six points of a grid."""

Answers = dict[str, str]
"""By the prompt's id."""


class Subjects:
    """A base, adapters and prompts.

    Args:
        model: by its name in `MODELS`.
        number: of prompts.
    """

    def __init__(self, model: str, number: int):
        self.bench = Bench({model: MODELS[model]}, steps=1)
        self.folder = self.bench.model().folder
        self.decoding = {
            "max_new_tokens": 6 if model == "small" else 64, "temperature": 0.0, "top_p": 1.0, "top_k": 0,
            "repetition_penalty": 1.0,
        }  # fmt: skip
        self.prompts = [{"id": f"{each}", "messages": dialogue(each)[:-1]} for each in range(number)]

    def make(self) -> None:
        """Write the adapters, and let the base only say what its tokenizer has words for."""
        head = Path(self.folder, "model-rest.safetensors")
        weights = load_file(head)
        weights["lm_head.weight"][len(load_chat(self.folder, CHAT).tokenizer) :] = 0
        save_file(weights, head, metadata={"format": "pt"})
        for number, rank in enumerate(RANKS):
            torch.manual_seed(number)
            config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(empty_base(Path(self.folder)), config).to_empty(device="cpu")
            for name, weight in model.named_parameters():
                # A fifth of what the base's weights give: heard, and not so loud that rounding is heard, too.
                if ".lora_" in name:
                    torch.nn.init.normal_(weight, std=(1 if ".lora_A." in name else 0.05) * weight.shape[1] ** -0.5)
            lora.save(model, Recipe(), self.adapter(number), self.folder)

    def adapter(self, number: int) -> Path:
        """Folder of an adapter."""
        return Path(f"adapters/{number}")


# -- the ways: what each gives is the answers by adapter, and the seconds without loading


def one_by_one(subjects: Subjects, number: int) -> tuple[dict[int, Answers], float]:
    """The studies' way: a loop over the prompts, and `generate` of transformers and PEFT for each."""
    # Left to itself, bitsandbytes computes in bf16 on some CPUs, and its texts would be others.
    model = PeftModel.from_pretrained(load_base(subjects.folder, "nf4"), str(subjects.adapter(number))).eval()
    chat = load_chat(subjects.folder, CHAT)
    answers, began = {}, time.perf_counter()
    for prompt in subjects.prompts:
        ids = torch.tensor([chat.prompt(prompt["messages"])])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                max_new_tokens=subjects.decoding["max_new_tokens"], pad_token_id=chat.tokenizer.pad_token_id,
            )  # fmt: skip
        text = str(chat.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
        answers[prompt["id"]] = text.strip()
    return {number: answers}, time.perf_counter() - began


def alone(subjects: Subjects, number: int) -> tuple[dict[int, Answers], float]:
    """loragrid's, one adapter in a process."""
    model = attach_adapter(load_base(subjects.folder, "nf4"), subjects.adapter(number)).eval()
    chat, out, began = load_chat(subjects.folder, CHAT), Path(f"{os.getpid()}/generations.jsonl"), time.perf_counter()
    out.parent.mkdir()
    answer_prompts(
        model, chat, subjects.prompts, out, decoding=subjects.decoding, seed=0, batch_size=MICRO_BATCH,
        most=MOST_ANSWERS, stop=Stop(), reporter=Reporter(out.parent), about={},
    )  # fmt: skip
    return {number: answers_in(out)}, time.perf_counter() - began


def together(subjects: Subjects, _: int) -> tuple[dict[int, Answers], float]:
    """loragrid's, all adapters mixed in one process."""
    base = load_base(subjects.folder, "nf4").eval()
    adapters = [read_updates(base, subjects.adapter(number)) for number in range(len(RANKS))]
    chat, requests, began = load_chat(subjects.folder, CHAT), [], time.perf_counter()
    for number, adapter in enumerate(adapters):
        out = Path(f"{os.getpid()}/{number}/generations.jsonl")
        out.parent.mkdir(parents=True)
        requests.append(Request(subjects.prompts, out, 0, {}, Reporter(out.parent), adapter))
    backend = Transformers(base, MICRO_BATCH, MOST_ANSWERS)
    answer_together(backend, chat, requests, decoding=subjects.decoding, stop=Stop())
    found = {number: answers_in(request.out) for number, request in enumerate(requests)}
    return found, time.perf_counter() - began


def answers_in(out: Path) -> Answers:
    """Of a finished file."""
    return {record["id"]: record["answer"] for record in read_jsonl(out)}


ANSWER: dict[str, Callable[[Subjects, int], tuple[dict[int, Answers], float]]] = {
    "one-by-one": one_by_one,
    "alone": alone,
    "together": together,
}
"""By the names of answers.py."""


def main() -> None:
    """Answer in one of the ways; the answers, the seconds that they took and the peak of the memory."""
    name, folder, output, model, prompts, *adapter = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    subjects = Subjects(model, int(prompts))
    if name == "make":
        subjects.make()
        return
    answers, seconds = ANSWER[name](subjects, int(adapter[0]) if adapter else 0)
    found: dict[str, Any] = {"seconds": seconds, "answers": answers, "memory_bytes": peak_memory()}
    write_json(Path(output), found)


if __name__ == "__main__":
    main()
