"""Train the runs of a batch: each ends as a finished adapter in its work folder, or with the reason why not."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel

from loragrid.errors import UserError
from loragrid.files import read_json, remove, sha256_of, write_json
from loragrid.jobs import old, slurm
from loragrid.jobs.adapter import CONFIGURATION, WEIGHTS, adapter_of, parent_in_words
from loragrid.jobs.attempts import FAILED, Blocked, cost_of, out_of_memory_attempts
from loragrid.jobs.environment import describe, is_main_process, stream
from loragrid.jobs.stop import Stop
from loragrid.jobs.work import attempt_members
from loragrid.modeling import lora
from loragrid.modeling.architecture import architecture_of
from loragrid.modeling.attention import flash_attention
from loragrid.modeling.chat import Chat
from loragrid.modeling.formatted import largest_id, open_rows
from loragrid.modeling.lend import Lender
from loragrid.modeling.load import attach_adapter, attach_new_adapter, device
from loragrid.modeling.stack import Update, freeze_onto, save_stacked
from loragrid.modeling.tokenizer import load_chat
from loragrid.study.batches import Batch
from loragrid.study.members import Compared, TrainMember, plain
from loragrid.study.micro_batch import micro_batches
from loragrid.study.recipe import Recipe
from loragrid.study.steps import check_learning_rates, steps_per_epoch, total_steps, validation_steps
from loragrid.training import dpo, reports, sft
from loragrid.training.arguments import arguments
from loragrid.training.card import card
from loragrid.training.order import WholeTraining
from loragrid.training.preferences import with_references
from loragrid.training.ranks import world_size
from loragrid.training.shards import shard
from loragrid.training.state import RunState

METHODS: dict[str, Any] = {"sft": sft, "dpo": dpo}
"""By a recipe's objective."""


def train_batch(batch: Batch[TrainMember], checkpoint_minutes: float, report_to: Sequence[str] = ()) -> bool:
    """Train each run of a batch that is not finished.

    Args:
        batch: the recorded batch.
        checkpoint_minutes: minutes between checkpoints.
        report_to: names of what draws curves while it runs (`loragrid.training.reports`).

    Returns:
        Whether every run finished or failed for good; if not, repeating the batch goes on.

    Raises:
        UserError: what is to be reported to is not installed.
    """
    reports.check(report_to)
    lender = Lender()
    return attempt_members(
        batch.members,
        "train",
        lambda member, work, stop: _train(member, work, stop, lender, checkpoint_minutes, report_to),
        slurm.seconds_left,
    )


def _train(
    member: TrainMember, work: Path, stop: Stop, lender: Lender, checkpoint_minutes: float, report_to: Sequence[str]
) -> None:
    run, recipe = member.run, member.run.recipe
    formatted = member.formatted
    train_rows, validation_rows = (open_rows(formatted / f"{split}.arrow") for split in ("train", "validation"))
    manifest = read_json(formatted / "format.json")
    # Without their oldest turns, and not among the rows at all: recorded here, since formatted data may be deleted.
    cut = {name: manifest["splits"]["train"][name] for name in ("shortened", "too_long")}
    if device().type == "cpu" and recipe.optimizer != "adamw":
        raise UserError(f"optimizer {recipe.optimizer!r} needs a GPU; on a CPU use `adamw`")
    method = METHODS[recipe.objective]
    lengths = list(train_rows["length"])
    tokens, loss_tokens = method.tokens(train_rows)
    if (compared := member.compared_with) is not None:
        train_rows, validation_rows = _compared(member, compared, train_rows, validation_rows)
    micro = _micro_batch(recipe.batch_size, recipe.examples(member.model.micro_batch), work)
    per_epoch = steps_per_epoch(len(train_rows), recipe.batch_size)
    steps = total_steps(len(train_rows), recipe.batch_size, recipe.epochs, recipe.max_steps)
    check_learning_rates(steps, recipe.warmup)
    chat = load_chat(member.model.folder, run.chat)
    architecture = architecture_of(member.model.folder).grown(chat.added_token)
    architecture.check_padding(chat.tokenizer)
    architecture.check_length(manifest["max_length"])
    architecture.check_ids(max(largest_id(rows) for rows in (train_rows, validation_rows)))
    model, frozen = _model(member, work, lender, chat.added_token)
    parameters = lora.parameters(model)
    configuration = _configuration(member, micro, work, steps, report_to)
    if _is_sharded(member):
        shard(model)
    order = WholeTraining(
        lengths,
        recipe.batch_size,
        steps,
        f"{manifest['key']}:{stream(run.seed, 'order')}",
        group=recipe.group_by_length,
    )
    state = RunState(
        work,
        order=order,
        tokens=tokens,
        loss_tokens=loss_tokens,
        steps_per_epoch=per_epoch,
        validate_at=validation_steps(steps, per_epoch, recipe.evaluations),
        keep_best=recipe.keep == "best",
        patience=recipe.patience,
        checkpoint_seconds=60 * checkpoint_minutes,
        seed=configuration.seed,
        loraplus=recipe.loraplus,
        stop=stop,
    )
    with reports.beside(work, report_to, run.name), _refused_settings(recipe, state):
        trainer = method.trainer(model, chat, state, configuration, train_rows, _by_length(validation_rows))
        stop.check("before the first step", progress=False)
        trainer.resume()
    if not is_main_process():
        return
    if recipe.keep == "best":
        state.use_best()
    of_run = plain(run)
    record = {
        "version": old.VERSION,
        **{
            name: of_run[name]
            for name in (
                "key",
                "name",
                "label",
                "dataset",
                "recipe",
                "seed",
                "precision",
                "parent",
                "compared_with",
                "chat",
            )
        },
        "scale": recipe.scale,
        "parameters": parameters,
        "rows": {"train": len(train_rows), "validation": len(validation_rows)},
        "cut": cut,
        "steps": state.ended_at,
        "planned_steps": steps,
        "stopped_early": state.stops_early,
        "loss": state.losses(),
        "cost": {**cost_of(work), "tokens": sum(state.tokens_by_step[: state.ended_at])},
        "micro_batch": micro * recipe.rows_per_example,
        "gpus": world_size(),
        "attention": model.config._attn_implementation,
        "out_of_memory": out_of_memory_attempts(work),
        **_origin(member),
        "environment": describe(),
    }
    _save_adapter(model, frozen, member, work, chat, card(record))
    record["adapter_sha256"] = sha256_of(work / "adapter" / WEIGHTS)
    record["adapter_config_sha256"] = sha256_of(work / "adapter" / CONFIGURATION)
    # Last: its presence is what says that the run is finished.
    write_json(work / "run.json", record)


@contextlib.contextmanager
def _refused_settings(recipe: Recipe, state: RunState) -> Iterator[None]:
    """Take what a library refuses before the first step for the settings' fault, if there are any of its own.

    Raises:
        UserError: it is.
    """
    further = {"training_arguments": recipe.training_arguments, "lora_config": recipe.lora_config}
    given = [f"{part} ({', '.join(settings)})" for part, settings in further.items() if settings]
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        if not given or state.has_stepped or state.began_at:
            raise
        raise UserError(f"{' or '.join(given)}: the training cannot begin with it: {error}") from error


def _configuration(member: TrainMember, micro: int, work: Path, steps: int, report_to: Sequence[str]) -> Any:
    recipe = member.run.recipe
    try:
        return METHODS[recipe.objective].configuration(arguments(member, micro, work, steps, report_to), recipe)
    except (TypeError, ValueError) as error:
        given = ", ".join(recipe.training_arguments) or "none"
        raise UserError(f"training_arguments ({given}): transformers does not take this recipe: {error}") from error


def _model(
    member: TrainMember, work: Path, lender: Lender, added_token: int | None
) -> tuple[PeftModel, dict[str, Update] | None]:
    """The base with a trainable adapter: a fresh one, or the parent's, which has the rows of an added token already.

    Returns:
        The model, and what is frozen below its adapter, if that is stacked over the parent's.
    """
    run, frozen = member.run, None
    # First, because a parent that failed is told at once.
    parent = _parent(member)
    attention = flash_attention(member.model.folder) if run.recipe.objective == "sft" else None
    base = lender.base(member.model.folder, run.precision, "host" if _is_sharded(member) else "here", attention)
    base.config.use_cache = False
    if parent is not None and run.recipe.adapter == "continue":
        return attach_adapter(base, parent, dropout=run.recipe.dropout), None
    if parent is not None:
        frozen = freeze_onto(base, parent)
    return attach_new_adapter(base, run.recipe, run.seed, added_token, _begun(work)), frozen


def _compared(member: TrainMember, compared: Compared, train: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """Pairs with what they are compared with.

    Raises:
        Blocked: that could not be computed.
    """
    file = Path(compared.file)
    if not file.exists() and (file.parent / FAILED).exists():
        failure = read_json(file.parent / FAILED)
        # The first cause, since deleting its record must let everything after it be tried again.
        cause = Path(failure.get("blocked_by") or file.parent / FAILED)
        raise Blocked(f"what it is compared with failed: {failure['reason']}", by=cause)
    parent = _parent(member)
    about = {
        "key": compared.key,
        "adapter_sha256": sha256_of(parent / WEIGHTS) if parent is not None else "",
    }
    return with_references(train, "train", file, about), with_references(validation, "validation", file, about)


def _parent(member: TrainMember) -> Path | None:
    """The folder of the parent's adapter."""
    above, key = member.run.parent, member.parent_key
    return adapter_of(above, key, parent_in_words(above)) if above and key else None


def _is_sharded(member: TrainMember) -> bool:
    # A single process, on a CPU say, has nobody to share with.
    return bool(member.model.sharded) and world_size() > 1


def _origin(member: TrainMember) -> dict[str, Any]:
    """Which model and data a run was made from, with the hashes of their manifests."""
    model = member.model
    return {
        "model": {
            "name": model.label,
            "id": model.hub,
            "revision": model.revision,
            "key": model.key,
            "manifest_sha256": sha256_of(Path(member.model.folder, "model.json")),
        },
        "data": {
            "formatted": member.run.formatted,
            "manifest_sha256": sha256_of(member.formatted / "format.json"),
        },
    }


def _by_length(rows: Dataset) -> Dataset:
    lengths = list(rows["length"])
    # In memory: the cache of the order would be written beside the data, which others use too.
    return rows.select(sorted(range(len(rows)), key=lengths.__getitem__), keep_in_memory=True)


def _micro_batch(batch_size: int, most: int, work: Path) -> int:
    """Examples that one device takes at a time, after the attempts that ran out of its memory.

    Raises:
        UserError: the effective batch cannot be shared out evenly, or not even one row fits.
    """
    ranks = world_size()
    if batch_size % ranks:
        raise UserError(
            f"batch_size {batch_size} cannot be divided over {ranks} GPUs: give the model another number of `gpus`"
        )
    sizes, halvings = micro_batches(batch_size, ranks, most), out_of_memory_attempts(work)
    if halvings >= len(sizes):
        raise UserError(
            "a single row does not fit the GPU's memory: use `method: qlora`, a shorter max_length, a GPU with "
            f"more memory or more `gpus`. It was tried {halvings} times"
        )
    return sizes[halvings]


def _save_adapter(
    model: PeftModel, frozen: dict[str, Update] | None, member: TrainMember, work: Path, chat: Chat, about: str
) -> None:
    """Save the adapter, whole or not at all.

    One with a token of its own has the tokenizer beside it: with that, PEFT's AutoPeftModelForCausalLM also makes room
    for the token in the base.
    """
    folder = work / "adapter"
    temporary = folder.with_name(f".{folder.name}")
    remove(temporary)
    base_name = member.model.hub or member.model.folder
    try:
        lora.save(model, member.run.recipe, temporary, base_name, _begun(work))
        if frozen is not None:
            save_stacked(model, frozen, temporary)
        (temporary / "README.md").write_text(about, encoding="utf-8")
        if chat.added_token is not None:
            chat.tokenizer.save_pretrained(str(temporary))
    except BaseException:
        remove(temporary)  # on a full disk there is room again to say so
        raise
    remove(folder)
    temporary.rename(folder)


def _begun(work: Path) -> Path:
    """What an adapter begins with that begins with a part of the base: with the checkpoints, and as long as they."""
    return work / "checkpoints" / "begun.safetensors"
