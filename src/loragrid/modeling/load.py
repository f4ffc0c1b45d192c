"""Load a base model at a precision the device has, and adapters on it."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.bitsandbytes import Bnb4bitQuantize

from loragrid.errors import NodeError, UserError
from loragrid.jobs.environment import stream
from loragrid.jobs.slurm import has_job_to_itself
from loragrid.modeling import lora
from loragrid.modeling.adapters import refuse_adapter
from loragrid.modeling.rows import merge_rows, rows_for, show_head
from loragrid.modeling.targets import refuse_packing, targets
from loragrid.study.recipe import Recipe

Place = Literal["here", "host", "divided"]
"""Where a base is loaded to."""


ALLOW_CPU = "LORAGRID_ALLOW_CPU"
"""Environment variable that, set to 1, lets a cluster's job that was given GPUs compute on the CPU."""


def device() -> torch.device:
    """The GPU of this process, or the CPU.

    Raises:
        NodeError: a job of the cluster was given GPUs, and torch cannot use them: on the CPU it would take weeks.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if has_job_to_itself() and given not in ("", "-1", "NoDevFiles") and os.environ.get(ALLOW_CPU) != "1":
        raise NodeError(
            f"this job was given GPU {given} on {platform.node()}, and torch {torch.__version__} cannot use it "
            f"({_why_no_gpu()}): see nvidia-smi there, and `GPUs` in cluster/README.md"
        )
    return torch.device("cpu")


def _why_no_gpu() -> str:
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:  # what torch raises without CUDA, and without a usable driver
        return str(error).splitlines()[0]
    return "no reason was told"


def compute_dtype() -> torch.dtype:
    """What the device calculates in: bf16 where it has it, fp16 on a T4, fp32 on a CPU."""
    if not torch.cuda.is_available():
        return torch.float32
    # is_bf16_supported() is also true where bf16 is only emulated, as on a T4; compute capability 8 has it for real.
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def load_base(folder: str, precision: str, place: Place = "here", attention: str | None = None) -> PreTrainedModel:
    """Load a base model, without the dropout that it was pre-trained with: a recipe's is the adapter's alone.

    Args:
        folder: the model's folder.
        precision: `nf4` (4 bits with double quantisation, Dettmers et al. 2023, section 3), `16bit` or `32bit`.
        place: `here`, on this process's device; `host`, on the CPU, from where parts of it go to GPUs; `divided`,
            whole layers on each of the GPUs that this process has.
        attention: by transformers' name; None for its own choice.

    Raises:
        UserError: the folder holds no model that transformers knows, or one that is quantised in another way than
            asked for, or its GPUs are too small for it; or its weights cannot be packed.
    """
    refuse_adapter(Path(folder))
    dtype = torch.float32 if precision == "32bit" else compute_dtype()
    places: dict[Place, str | dict[str, Any]] = {"here": {"": device()}, "host": {"": "cpu"}, "divided": "balanced"}
    try:
        config = _without_dropout(AutoConfig.from_pretrained(folder, trust_remote_code=False))
        quantization = _quantization(config, folder, precision, dtype)
        with _packing_here() if place == "host" else contextlib.nullcontext():
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                **quantization,
                attn_implementation=attention,
                device_map=places[place],
                use_safetensors=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be loaded as a causal language model: {error}") from error
    if place == "divided" and any(parameter.device.type != "cuda" for parameter in model.parameters()):
        raise UserError(f"{folder}: its GPUs have too little memory together: give the model more `gpus`")
    _keep_gradients(model)
    return model


def empty_base(folder: Path) -> PreTrainedModel:
    """A base model's layers without weights, on the meta device.

    Args:
        folder: the model's.
    """
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def check_precision(folder: Path, precision: str) -> None:
    """See that a base can be loaded at a precision.

    Raises:
        UserError: it is no causal language model, or quantised in another way, or its weights cannot be packed.
    """
    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"{folder}: cannot be loaded as a causal language model: transformers has none of the kind "
            f"{config.model_type}"
        )
    _quantization(config, str(folder), precision, torch.float32)


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """GPT-2 and OPT have a tenth, which would be on in training, beside the recipe's, and is in no key."""
    text = config.get_text_config(decoder=True)
    for part in (text, getattr(text, "attn_config", None)):  # MPT's attention has its own
        for name in vars(part) if part is not None else ():
            if name.endswith(("dropout", "pdrop", "layerdrop")) and getattr(part, name):
                setattr(part, name, 0.0)
    return config


def _quantization(config: PreTrainedConfig, folder: str, precision: str, dtype: torch.dtype) -> dict[str, Any]:
    """How weights come to their precision, as arguments of `from_pretrained`: packed here, or as the files are."""
    saved = getattr(config, "quantization_config", None)
    if saved is None and precision != "nf4":
        return {}
    if saved is None:
        refuse_packing(config.model_type)
        nf4 = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        return {"quantization_config": nf4}
    saved = dict(saved) if isinstance(saved, dict) else saved.to_dict()
    is_nf4 = saved.get("load_in_4bit") and saved.get("bnb_4bit_quant_type") == "nf4"
    if not is_nf4:
        how = f"{saved.get('quant_method', 'unknown')}, {8 if saved.get('load_in_8bit') else saved.get('bits', 4)} bits"
        raise UserError(f"{folder}: its weights are quantised already ({how}), which is not NF4; name the whole model")
    if precision != "nf4":
        raise UserError(
            f"{folder}: its weights are quantised to NF4 already, so it cannot be loaded in "
            f"{precision.replace('bit', ' bits')}: use `method: qlora`, or name the whole model"
        )
    # The file says what its maker's GPU computed in, bf16 as a rule; here that follows this device.
    config.quantization_config = {**saved, "bnb_4bit_compute_dtype": str(dtype).removeprefix("torch.")}
    return {}


@contextlib.contextmanager
def _packing_here() -> Iterator[None]:
    """Let NF4 weights be packed on this process's device, wherever they are to lie.

    A CPU packs 20 million weights a second (measured on one thread of a server's; a second one did not help), which is
    an hour for a model of 70B.
    """
    convert = Bnb4bitQuantize.convert

    def convert_here(
        self: Bnb4bitQuantize, weights: dict[str, list[torch.Tensor]], **keywords: Any
    ) -> dict[str, torch.Tensor]:
        packed = convert(self, {name: [values[0].to(device())] for name, values in weights.items()}, **keywords)
        return {name: weight.to(weights[name][0].device) for name, weight in packed.items()}

    setattr(Bnb4bitQuantize, "convert", convert_here)  # noqa: B010 – a method, to mypy
    try:
        yield
    finally:
        setattr(Bnb4bitQuantize, "convert", convert)  # noqa: B010


def _keep_gradients(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from packing NF4 weights for the CPU's AVX512-BF16 instructions.

    It does so at the first forward pass in evaluation mode and does not undo it for training, where its product over
    packed weights then has no gradient (bitsandbytes 0.50, nn/modules.py and autograd/_functions.py): everything after
    the first validation would be trained wrongly, and in bf16, on some CPUs and not on others.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def attach_new_adapter(
    model: PreTrainedModel,
    recipe: Recipe,
    seed: int,
    added_token: int | None = None,
    begun: Path | None = None,
) -> PeftModel:
    """Put a fresh LoRA adapter on a base model, with float32 weights drawn from the seed's own stream.

    Args:
        model: the base model.
        recipe: the run's.
        seed: the run's seed.
        added_token: a token that the base does not know, whose rows of the embedding and the head are trained, too.
        begun: file for what the adapter begins with where that is a part of the base (`loragrid.modeling.lora.begin`).

    Raises:
        UserError: a target module is not in each layer of the model; the message lists those there are. Or the rank is
            larger than a layer, or rows of this model cannot be trained, or PEFT does not take the recipe.
    """
    chosen = targets(model, recipe.target_modules, recipe.rank, recipe.lora_config)
    rows = rows_for(model, added_token) if added_token is not None else None
    torch.manual_seed(stream(seed, "initialisation"))
    further = recipe.lora_config
    if chosen.full:
        by_number = ("layers_to_transform", "layers_pattern")
        further = {name: value for name, value in further.items() if name not in by_number}
    recipe = replace(recipe, target_modules=chosen.names, lora_config=further)
    config = lora.configuration(recipe, rows)
    try:
        adapted = get_peft_model(model, config)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UserError(f"PEFT does not take this recipe: {error}") from error
    lora.begin(adapted, recipe, begun)
    if rows is not None:
        show_head(model)
    return adapted


def attach_adapter(model: PreTrainedModel, folder: Path, *, dropout: float | None = None) -> PeftModel:
    """Put a trained adapter on a base model.

    Args:
        model: the base model.
        folder: the adapter's.
        dropout: train the adapter on, with this dropout instead of the one that it was trained with. None: frozen.

    Raises:
        UserError: it is another base's, or not whole.
    """
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(
            f"{folder}/adapter_config.json: is not that of a LoRA adapter; delete the run's folder to train again"
        )
    if dropout is not None:
        config.lora_dropout = dropout
    rows: Any = config.trainable_token_indices  # by module, as `loragrid.modeling.rows` asks for it
    for token in sorted(set().union(*rows.values())) if rows else ():
        rows_for(model, token)
    try:
        adapted = PeftModel.from_pretrained(model, str(folder), config=config, is_trainable=dropout is not None)
    except (RuntimeError, ValueError) as error:  # other shapes, other layers
        raise UserError(f"{folder}: does not fit {model.config.model_type}: {_first_line(error)}") from error
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        saved = set(file.keys())
    # PEFT only warns.
    check_names(folder, saved, set(get_peft_model_state_dict(adapted, save_embedding_layers=False)))
    if rows and dropout is not None:
        show_head(model)
    elif rows:
        merge_rows(adapted)
    return adapted


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def check_names(folder: Path, saved: set[str], wanted: set[str]) -> None:
    """See that each weight of an adapter has its place in the base, and each place its weight.

    Args:
        folder: the adapter's.
        saved: names of the weights that it has.
        wanted: names of those that it is to have on this base.

    Raises:
        UserError: they differ.
    """
    missing, unknown = sorted(wanted - saved), sorted(saved - wanted)
    if missing or unknown:
        parts = [f"{what} {len(names)}, first {names[0]}" for what, names in
                 (("lacks", missing), ("has besides", unknown)) if names]  # fmt: skip
        raise UserError(
            f"{folder}: the adapter does not fit its base: it {'; it '.join(parts)}. Delete the run's folder to train "
            "it again"
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
