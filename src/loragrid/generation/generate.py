"""Ask the subjects of a batch: answers to the prompts, and the scores that need base and adapter."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.generation.answer import answer_prompts
from loragrid.generation.choice import ask_choices
from loragrid.generation.likelihood import reference_likelihoods
from loragrid.jobs import slurm
from loragrid.jobs.adapter import adapter_of
from loragrid.jobs.attempts import attempt_members, out_of_memory_attempts, read_attempts
from loragrid.jobs.failures import record_failure
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.architecture import architecture_of
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.tokenizer import load_chat, load_plain_tokenizer
from loragrid.study.batches import Batch
from loragrid.study.members import AnswerMember, failure_of

WriteScore = Callable[
    [Path, Mapping[str, Any], Sequence[dict[str, Any]], Sequence[dict[str, str]], Mapping[str, Any] | None], None
]


def generate_batch(batch: Batch[AnswerMember], write_score: WriteScore) -> bool:
    """Make what each member of a batch still misses.

    Args:
        batch: the recorded batch.
        write_score: writes a score that needs the model, from its items and what is left out.

    Returns:
        Whether every member finished or failed for good.
    """
    return attempt_members(
        batch.members,
        "generate",
        lambda member, work, stop: _generate(member, work, stop, write_score),
        slurm.seconds_left,
    )


def _generate(member: AnswerMember, work: Path, stop: Stop, write_score: WriteScore) -> None:
    answers, run = member.answers, member.run
    adapter = adapter_of(run.folder, run.key, "its training") if run else None
    micro = _micro_batch(member.model.micro_batch, work)
    chat = load_chat(member.model.folder, answers.chat) if answers.in_chat else None
    tokenizer = chat.tokenizer if chat else load_plain_tokenizer(member.model.folder)
    added = chat.added_token if chat else None
    architecture_of(member.model.folder).grown(added).check_padding(tokenizer)
    # One process has all GPUs of this job: the layers of a model that is too big for one are divided among them.
    divided = member.model.sharded and torch.cuda.device_count() > 1
    model: Any = load_base(member.model.folder, answers.precision, "divided" if divided else "here")
    if adapter is not None:
        model = attach_adapter(model, adapter)
    model.eval()
    prompts = list(read_jsonl(Path(member.prompts_file)))
    made, reporter = False, Reporter(work)
    for part, file in sorted(member.parts.items()):
        stop.check(f"before {part}", progress=made)
        out = work / Path(file).name
        if out.exists() or failure_of(work, out).exists():
            continue
        try:
            about = {"of": answers.id, "key": answers.key}
            if part != "generations" and answers.scores[part]["name"] == "accuracy":
                items, excluded, counts = ask_choices(
                    model, tokenizer, chat, prompts, work / "choices.jsonl",
                    batch_size=micro, stop=stop, reporter=reporter, about=about,
                    system=answers.chat["system"], progress=made,
                )  # fmt: skip
                write_score(out, answers.scores[part], items, excluded, counts)
            elif chat is None:
                raise UserError(f"{part}: needs the chat of the model, and was asked in plain text")
            elif part == "generations":
                answer_prompts(
                    model, chat, prompts, out,
                    decoding=answers.decoding, seed=answers.seed, batch_size=micro, stop=stop, reporter=reporter,
                    about=about,
                )  # fmt: skip
            else:
                items, excluded = reference_likelihoods(model, chat, prompts, micro, stop, reporter, progress=made)
                write_score(out, answers.scores[part], items, excluded, None)
        except UserError as error:
            # One that cannot be made does not hold up the others.
            log = work / f"attempt-{len(read_attempts(work))}.log"
            record_failure(failure_of(work, out), "generate", str(error), str(log))
            print(f"{part}: failed for good: {error}", flush=True)
        made = True


def _micro_batch(most: int, work: Path) -> int:
    """Prompts at a time; each attempt that ran out of the GPU's memory halves it.

    Raises:
        UserError: not even one fits.
    """
    halvings = out_of_memory_attempts(work)
    if most >> halvings == 0:
        raise UserError(
            "a single prompt does not fit the GPU's memory: use `precision: nf4`, a smaller max_new_tokens or a GPU "
            f"with more memory. It was tried {halvings} times"
        )
    return most >> halvings
