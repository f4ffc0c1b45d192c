"""What vLLM can serve of a grid, as far as a study tells it.

After vLLM 0.33: `PEFTHelper` (lora/peft_helper.py) refuses DoRA and biases; rows of trained tokens have no place in
`parse_fine_tuned_lora_name` (lora/utils.py); ranks are those of `MaxLoRARanks` (config/lora.py); its kernels
(lora/ops/triton_ops) take 16 bits.
"""

from collections.abc import Iterator

from loragrid.study.grid import Run
from loragrid.study.together import BESIDE_MATRICES, SUBTRACTED, asks_for

MOST_RANK = 512
"""The largest rank that vLLM serves."""


def why_not_served(run: Run) -> Iterator[str]:
    """Why vLLM cannot answer as a run, each reason with the key that it is about.

    Args:
        run: the run.
    """
    recipe = run.recipe
    if run.precision == "32bit":
        yield "`precision: 32bit`, and it computes adapters in 16 bits"
    if recipe.dora:
        yield "`dora`"
    for name in BESIDE_MATRICES:
        if asks_for(recipe.lora_config.get(name)):
            yield f"`lora_config.{name}`"
    if run.chat["end_token"] == "train":
        yield "`end_token: train`, whose token's rows are trained, too"
    if (rank := recipe.rank * (2 if recipe.initialisation in SUBTRACTED else 1)) > MOST_RANK:
        yield f"an adapter of rank {rank}, and its largest is {MOST_RANK}"
