"""Make a small Llama from a text corpus: a base model for demonstrations and tests where there is no hub.

The same corpus, settings and number of threads give the same bytes.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from loragrid.errors import UserError
from loragrid.files import read_jsonl, sha256_of, write_json
from loragrid.jobs.environment import describe, stream
from loragrid.progress import each
from loragrid.study.swiglu import swiglu_width

START, END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

HELD_OUT = 20
"""Every so many-th document of the corpus is kept out of training to measure the model."""


def build_model(out: Path, key: str, corpus: Path, build: dict[str, Any]) -> None:
    """Train a tokenizer and a small Llama on a corpus, and save both; model.json comes last.

    Args:
        out: the model's folder.
        key: the model's key, recorded in model.json.
        corpus: JSON Lines with `text` or `messages`.
        build: the study's `build` settings.

    Raises:
        UserError: the corpus is too short or a record has neither text nor messages.
    """
    documents = list(_read(corpus))
    texts = [text for index, text in enumerate(documents) if index % HELD_OUT]
    tokenizer = train_tokenizer(texts, build["vocabulary"], build["context"])
    train = [_encode(tokenizer, text) for text in texts]
    # The first token of a text is not predicted, so a text needs two.
    held_out = [_encode(tokenizer, text)[: build["context"]] for text in documents[::HELD_OUT]]
    held_out = [ids for ids in held_out if len(ids) > 1]
    tokens = torch.tensor([token for ids in train for token in [*ids, tokenizer.pad_token_id]])
    if len(tokens) <= build["sequence"] + 1 or not held_out:
        raise UserError(
            f"{corpus}: {len(tokens)} tokens in {len(documents)} documents are too few to train a model on sequences "
            f"of {build['sequence']} tokens and to measure it"
        )
    model = _pretrain(tokens, build, tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_json(
        out / "model.json",
        {
            "key": key,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "build": build,
            "corpus_sha256": sha256_of(corpus),
            "held_out": {
                "documents": len(held_out),
                "bits_per_byte": model_bits_per_byte(model, tokenizer, held_out),
                "unigram_bits_per_byte": unigram_bits_per_byte(tokenizer, train, held_out),
            },
            "files": {file.name: sha256_of(file) for file in sorted(out.iterdir()) if file.name != "model.json"},
            "environment": describe(),
        },
    )


def train_tokenizer(texts: list[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's special tokens and chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[TEXT_END, START, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=TEXT_END,
        additional_special_tokens=[START],
        chat_template=CHATML,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def model_bits_per_byte(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, held_out: Sequence[Sequence[int]]
) -> float:
    """−Σ log2 p(token | tokens before) over the UTF-8 bytes of the texts, the first token of each not counted.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        held_out: token ids of each text, at least two and no more than the context holds.
    """
    nats = 0.0
    model.eval()
    with torch.inference_mode():
        for text in held_out:
            ids = torch.tensor([text])
            nats += model(ids, labels=ids).loss.item() * (len(text) - 1)
    return nats / math.log(2) / _bytes(tokenizer, held_out)


def unigram_bits_per_byte(
    tokenizer: PreTrainedTokenizerFast, train: Iterable[Sequence[int]], held_out: Sequence[Sequence[int]]
) -> float:
    """The same of a model that only counts tokens (add-one smoothed): a bound that a real model must beat."""
    counts = Counter(token for text in train for token in text)
    total = sum(counts.values()) + len(tokenizer)
    nats = sum(-math.log((counts[token] + 1) / total) for text in held_out for token in text[1:])
    return nats / math.log(2) / _bytes(tokenizer, held_out)


def _bytes(tokenizer: PreTrainedTokenizerFast, texts: Iterable[Sequence[int]]) -> int:
    decoded: Any = [tokenizer.decode(list(text[1:])) for text in texts]
    return sum(len(text.encode()) for text in decoded)


def _read(corpus: Path) -> Iterator[str]:
    for number, record in enumerate(read_jsonl(corpus), start=1):
        if "text" in record:
            yield record["text"]
        elif "messages" in record:
            yield "".join(f"{START}{m['role']}\n{m['content']}{END}\n" for m in record["messages"])
        else:
            raise UserError(f"{corpus}:{number}: the record has neither `text` nor `messages`")


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def _pretrain(tokens: torch.Tensor, build: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(stream(build["seed"], "initialisation"))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=build["hidden"],
            intermediate_size=swiglu_width(build["hidden"]),
            num_hidden_layers=build["layers"],
            num_attention_heads=build["heads"],
            num_key_value_heads=build["heads"],
            max_position_embeddings=build["context"],
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=build["learning_rate"], betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=build["learning_rate"], total_steps=build["steps"] + 1, pct_start=0.1
    )
    order = torch.Generator().manual_seed(stream(build["seed"], "order"))
    window = torch.arange(build["sequence"])
    for step in each(range(1, build["steps"] + 1), "building the model", build["steps"]):
        starts = torch.randint(len(tokens) - build["sequence"], (build["batch_size"],), generator=order)
        batch = tokens[starts[:, None] + window]
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == build["steps"]:
            print(f"step {step}/{build['steps']}: loss {loss.item():.3f}", flush=True)
    return model
