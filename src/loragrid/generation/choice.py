"""How likely a model finds each choice of a question, by lm-evaluation-harness, subject by subject."""

import contextlib
import hashlib
import io
import itertools
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from loragrid.files import canonical, read_growing, write_jsonl
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat
from loragrid.modeling.choice_text import Asked, choice_text, examples_in, without_first_example


def ask_choices(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    chat: Chat | None,
    prompts: list[dict[str, Any]],
    kept: Path,
    *,
    batch_size: int,
    stop: Stop,
    reporter: Reporter,
    about: Mapping[str, Any],
    system: str | None = None,
    progress: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[str, str]], dict[str, int]]:
    """Log-likelihood of each choice of each question, given the examples before it.

    The adapter that is active is asked, so the same model may be handed over again after `set_adapter`. What is
    finished stays in a file, by subject, so that an interrupted job goes on with the next one. A prompt that is longer
    than the model's context loses whole examples, the first ones first.

    Args:
        model: base model, perhaps with an adapter.
        tokenizer: its tokenizer.
        chat: its chat, to ask through; None for plain text.
        prompts: `id`, `dialogue`, `subject`, `messages`, `letters` and `reference` each.
        kept: the growing file. That of other answers, or to other questions, is begun anew.
        batch_size: questions at a time.
        stop: tells when to end.
        reporter: is told how many questions are asked.
        about: whose answers these are.
        system: system prompt of the chat.
        progress: whether this attempt has made something before.

    Returns:
        For each question, in their order: `id`, `dialogue`, `groups` with the `subject`, `correct` (1 or 0; lm-eval
        takes the first of two likeliest), `log_likelihoods` in nats (those of blanks at the end of the prompt included,
        which are the same for each) and `shots`, the number of examples; then `id` and `reason` of each that is left
        out; and how many have `fewer_examples`, since all were longer than the context.

    Raises:
        Interrupted: told to end.
    """
    harness = _Harness(model, tokenizer, chat, batch_size, system)
    by_subject = [list(each) for _, each in itertools.groupby(prompts, key=lambda prompt: prompt["subject"])]
    digest = hashlib.sha256(canonical(prompts).encode()).hexdigest()
    done = _finished(kept, about, digest, by_subject)
    before, pace = len(done), 0.0
    reporter.begin("questions", sum(map(len, done)), len(prompts))
    for questions in by_subject[len(done) :]:
        stop.unless_time_for(2 * pace * len(questions))
        stop.check(f"after {sum(map(len, done))} of {len(prompts)} questions", progress=progress or len(done) > before)
        began = time.monotonic()
        lines = harness.ask(questions)
        pace = max(pace, (time.monotonic() - began) / len(questions))
        with kept.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        done.append(lines)
        reporter.reach(sum(map(len, done)))
        print(f"compared the choices of {sum(map(len, done))} of {len(prompts)} questions", flush=True)
    lines = [line for each in done for line in each]
    items = [line for line in lines if "reason" not in line]
    excluded = [{"id": line["id"], "reason": line["reason"]} for line in lines if "reason" in line]
    for reason, number in Counter(each["reason"] for each in excluded).items():
        print(f"warning: {number} of {len(prompts)} questions are left out: {reason}", flush=True)
    wanted = {prompt["id"]: examples_in(prompt["messages"]) for prompt in prompts}
    fewer = sum(item["shots"] < wanted[item["id"]] for item in items)
    if fewer:
        print(
            f"warning: {fewer} of {len(prompts)} questions were asked with fewer examples, since these are longer than "
            "the model's context",
            flush=True,
        )
    return items, excluded, {"fewer_examples": fewer}


def _finished(
    kept: Path, about: Mapping[str, Any], questions_sha256: str, by_subject: list[list[dict[str, Any]]]
) -> list[list[dict[str, Any]]]:
    """The subjects that an earlier attempt finished; the file is cut after the last whole one."""
    head = {**about, "questions_sha256": questions_sha256}
    lines = list(read_growing(kept)) if kept.exists() else []
    done, at = [], 1
    for questions in by_subject if lines[:1] == [head] else ():
        part = lines[at : at + len(questions)]
        if [line["id"] for line in part] != [question["id"] for question in questions]:
            break
        done.append(part)
        at += len(questions)
    write_jsonl(kept, [head, *(line for part in done for line in part)])
    return done


class _Harness:
    """lm-evaluation-harness around a model that is loaded already.

    Args:
        model: base model, perhaps with an adapter.
        tokenizer: its tokenizer.
        chat: its chat, to ask through; None for plain text.
        batch_size: questions at a time.
        system: system prompt of the chat.
    """

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, chat: Chat | None, batch_size: int, system: str | None
    ):
        # Seconds of imports, which jobs without choices do without.
        from lm_eval.models.huggingface import HFLM

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self._chat = chat
        self._system = system
        self._architecture = Architecture.of(model.config)
        self._lm = HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=batch_size,
            # Without a limit, none: what is asked is cut here, by examples.
            max_length=self._architecture.context or sys.maxsize,
            # A chat template says itself how a dialogue begins; plain text begins as the tokenizer has it.
            add_bos_token=None if chat is None else False,
            # Probabilities in 16 bits would make ties of what the logits tell apart.
            softmax_dtype="float32",
        )

    def ask(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What is kept of each question of a subject: an item, or the reason why there is none."""
        asked = {question["id"]: self._fitting(question) for question in questions}
        found = self._compare({id_: each for id_, each in asked.items() if not isinstance(each, str)}, questions)
        return [
            found[question["id"]]
            if question["id"] in found
            else {"id": question["id"], "reason": asked[question["id"]]}
            for question in questions
        ]

    def _compare(
        self, asked: Mapping[str, tuple[Asked, int]], questions: list[dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        from datasets import Dataset
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.evaluator import evaluate

        there = [question for question in questions if question["id"] in asked]
        if not there:
            return {}
        rows = [
            {
                "text": asked[question["id"]][0][0],
                "choices": [asked[question["id"]][0][1] + letter for letter in question["letters"]],
                "answer": question["letters"].index(question["reference"]),
            }
            for question in there
        ]
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            task = ConfigurableTask(
                config={
                    "task": "choices",
                    "custom_dataset": lambda: {"test": Dataset.from_list(rows)},
                    "test_split": "test",
                    "output_type": "multiple_choice",
                    "doc_to_text": _field("text"),
                    "doc_to_choice": _field("choices"),
                    "doc_to_target": _field("answer"),
                    # It stands before the letters already: what it is depends on the chat's text.
                    "target_delimiter": "",
                    "num_fewshot": 0,
                    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
                }
            )
            results: Any = evaluate(self._lm, {"tasks": {"choices": task}, "groups": {}}, bootstrap_iters=0)
        samples = sorted(results["samples"]["choices"], key=lambda sample: sample["doc_id"])
        items = {}
        for question, sample in zip(there, samples, strict=True):
            likelihoods = [likelihood for likelihood, _ in sample["filtered_resps"]]
            items[question["id"]] = {
                "id": question["id"],
                "dialogue": question["dialogue"],
                "groups": {} if question["subject"] is None else {"subject": question["subject"]},
                "correct": int(sample["acc"]) if all(map(math.isfinite, likelihoods)) else 0,
                "log_likelihoods": likelihoods,
                "shots": asked[question["id"]][1],
            }
        return items

    def _fitting(self, question: dict[str, Any]) -> tuple[Asked, int] | str:
        """The prompt with as many of its examples as fit, and their number; or why it cannot be asked."""
        messages = question["messages"]
        while True:
            text, between = choice_text(messages, self._chat, self._system)
            # All letters are of one length: one character after the same text.
            before, letter = self._lm._encode_pair(text, between + question["letters"][0])
            if not letter:
                return "the tokenizer makes one token of the letter of a choice and what stands before it"
            if max(*before, *letter) >= self._architecture.rows:
                return f"has tokens that the model's embedding of {self._architecture.rows} rows lacks"
            context = self._architecture.context
            if context is None or len(before) + len(letter) - 1 <= context:
                return (text, between), examples_in(messages)
            if not examples_in(messages):
                return f"longer than the model's context of {context} tokens, even without examples"
            messages = without_first_example(messages)


def _field(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: row[name]
