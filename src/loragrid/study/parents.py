"""What keeps a run from going on from its parent."""

from collections.abc import Iterator

from loragrid.study.grid import Chat, Run
from loragrid.study.recipe import Recipe
from loragrid.study.schema.recipe import Point
from loragrid.study.together import BESIDE_MATRICES, SUBTRACTED, asks_for

OF_THE_ADAPTER = ("rank", "alpha", "target_modules", "rslora", "dora", "initialisation", "lora_config")
"""Fields of a recipe that say what an adapter is: the same, as long as it is trained on."""


def clashes_with_parent(where: str, point: Point, recipe: Recipe, chat: Chat, parent: Run) -> Iterator[str]:
    """What does not go together in a run and its parent, `key: reason` for each.

    Args:
        where: the point's key in the study.
        point: which names the parent.
        recipe: of the run.
        chat: likewise.
        parent: the run that it goes on from.
    """
    if parent.recipe.method != recipe.method:
        yield (
            f"{where}.method: goes on from {point.parent!r}, so it must be {parent.recipe.method!r} as there: the "
            "base is the same"
        )
    name = str(point.parent)
    stacks = recipe.adapter == "stack"
    clashes = _of_a_stack(name, chat, parent) if stacks else _of_one(name, recipe, chat, parent)
    yield from (f"{where}.{clash}" for clash in clashes)


def _of_a_stack(name: str, chat: Chat, parent: Run) -> Iterator[str]:
    if parent.recipe.dora:
        yield (
            f"adapter: {name!r} is trained with `dora`, which changes the base's weights, too, and nothing can be "
            "stacked over it; use `adapter: continue`"
        )
    for field in BESIDE_MATRICES:
        if asks_for(parent.recipe.lora_config.get(field)):
            yield (
                f"adapter: {name!r} is trained with `lora_config: {{{field}: …}}`, which is more than an update of "
                "layers, and nothing can be stacked over it; use `adapter: continue`"
            )
    if "train" in (chat.end_token, parent.chat["end_token"]):
        yield (
            f"adapter: a token that is trained for the end of answers (`end_token: train`) cannot be stacked over "
            f"{name!r}; use `adapter: continue`, or `end_token: text` for both"
        )


def _of_one(name: str, recipe: Recipe, chat: Chat, parent: Run) -> Iterator[str]:
    if parent.recipe.adapter == "stack":
        yield (
            f"adapter: {name!r} has several adapters in one, which have no one rank to go on with; use `adapter: stack`"
        )
        return
    ends = [(each.end_token, each.template_key) for each in (chat, Chat(**parent.chat))]
    if ends[0] != ends[1] and "train" in (ends[0][0], ends[1][0]):
        yield (
            f"chat: training goes on with the adapter of {name!r}, and a token that is trained for the end of answers "
            "belongs to it: both need the same template and end_token"
        )
    if parent.recipe.initialisation in SUBTRACTED:
        yield (
            f"parent: the adapter of {name!r} begins with a part of the base (`initialisation: "
            f"{parent.recipe.initialisation}`) and is saved with twice its rank: training does not go on with it"
        )
    for field in OF_THE_ADAPTER:
        ours, theirs = getattr(recipe, field), getattr(parent.recipe, field)
        if ours != theirs:
            yield (
                f"{field}: training goes on with the adapter of {name!r}, so it must be {theirs!r} as there, not "
                f"{ours!r}"
            )
