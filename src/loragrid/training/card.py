"""The model card of an adapter: what a stranger who has only its folder needs to know.

It is written when the training ends, and so knows losses but no scores; those stand in the tables of the studies that
ask the run, which may change while the adapter does not. It names no folder of this machine, and is the same for equal
runs, byte for byte: what took how long stands in run.json.
"""

from typing import Any

from huggingface_hub import ModelCardData

from loragrid.study.arguments import shown
from loragrid.study.recipe import Recipe


def card(record: dict[str, Any]) -> str:
    """A model card with the hub's metadata.

    Args:
        record: what run.json says, of which base, data, recipe, steps and losses are used.
    """
    model, recipe = record["model"], Recipe(**record["recipe"])
    is_dpo = recipe.objective == "dpo"
    kind = "DoRA" if recipe.dora else "LoRA"
    metadata = ModelCardData(
        base_model=model["id"],
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["dora" if recipe.dora else "lora", *(["dpo"] if is_dpo else []), "loragrid"],
    )
    of = f"`{model['id']}`, revision `{model['revision']}`" if model["id"] else f"{model['name']}, made by loragrid"
    losses = "Losses are those of pairs of answers." if is_dpo else "Losses are in nats a token."
    rows, loss = record["rows"], record["loss"]
    steps = f"{record['steps']}" + (
        f" of {record['planned_steps']} (early stopping)" if record["stopped_early"] else ""
    )
    facts = {
        "base": of,
        "precision of the base": record["precision"],
        "data": f"{record['dataset']}: {rows['train']} rows, {rows['validation']} for validation",
        "steps": steps,
        "seed": record["seed"],
        "scale of the update": f"{record['scale']:g}",
        "training loss, last epoch": f"{loss['train']:.4f}",
        "validation loss, last": f"{loss['validation']:.4f}",
        "validation loss, lowest": f"{loss['best_validation']:.4f} (step {loss['best_step']})",
        "adapter": "of the lowest validation loss" if recipe.keep == "best" else "of the last step",
    }
    if record["parent"]:
        facts["goes on from"] = record["parent"].rsplit("/", 1)[-1]
    if is_dpo and not record["parent"]:
        facts["compared with"] = "the untrained model"
    unused = {"adapter"} if not record["parent"] else set()
    unused |= {"mask"} if is_dpo else {"beta"}
    settings = {
        name: shown(value) for name, value in vars(recipe).items() if value not in (None, {}) and name not in unused
    }
    return "\n".join([
        "---",
        metadata.to_yaml().strip(),
        "---",
        "",
        f"# {record['label'] or record['name']}",
        "",
        f"A {kind} adapter ({record['name']}), trained with loragrid. {losses} Licences of base and",
        "data apply. What is needed to train it again is in run.json beside this folder; scores are in the tables of",
        "the study.",
        "",
        *_table("what", facts),
        "",
        "## Recipe",
        "",
        *_table("field", settings),
        "",
    ])  # fmt: skip


def _table(first: str, values: dict[str, Any]) -> list[str]:
    rows = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in values.items()]
    return [f"| {first} | |", "|---|---|", *rows]
