"""Chat templates: the text and the tokens of dialogues, which of them are answers, and what is known of a template."""

import json
import re
from pathlib import Path

import pytest
from nano import MODEL
from objects import OWN_CHAT
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from loragrid.errors import UserError
from loragrid.modeling.chat import Chat
from loragrid.modeling.templates import TEMPLATES
from loragrid.modeling.tokenizer import load_chat, load_tokenizer

CASES = Path(__file__).parents[3] / "shared" / "cases" / "templates"

NO_SYSTEM = (
    "{% if messages and messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
SILENT = NO_SYSTEM.replace("{{ raise_exception('System role not supported') }}", "").replace(
    "{% else %}", "{% elif m['role'] == 'assistant' %}"
)
# As with templates that show the thoughts of the last answer only.
UNSTABLE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DIALOGUE = [
    {"role": "user", "content": "Today my dog ran away."},
    {"role": "assistant", "content": "Tell me more."},
    {"role": "user", "content": "Today he came home."},
    {"role": "assistant", "content": "How lovely to hear!"},
]
SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.fixture
def chat(nano):
    def chat(template=None, **options):
        tokenizer = load_tokenizer(MODEL)
        tokenizer.chat_template = template or tokenizer.chat_template
        return Chat(tokenizer, **options)

    return chat


def answers(chat, encoded):
    """The marked stretches of a row, as text."""
    parts, before = [], False
    for token, marked in zip(encoded.ids, encoded.is_answer, strict=True):
        if marked:
            parts = [*parts, []] if not before else parts
            parts[-1].append(token)
        before = marked
    return [chat.tokenizer.decode(part) for part in parts]


def prompts_begin_rows(chat, dialogue):
    """Whether what a model is asked is how the rows begin that it was trained on, token by token."""
    rows = [row.ids for row in chat.encode(dialogue)]
    asked = [chat.prompt(dialogue[:n]) for n, message in enumerate(dialogue) if message["role"] == "assistant"]
    return all(any(row[: len(ids)] == ids for row in rows) for ids in asked)


def test_chatml_marks_answers_and_the_token_that_ends_them(chat):
    chatml = chat()
    (row,) = chatml.encode([SYSTEM, *DIALOGUE])
    assert answers(chatml, row) == ["Tell me more.<|im_end|>", "How lovely to hear!<|im_end|>"]
    assert chatml.tokenizer.decode(row.ids) == chatml.render([SYSTEM, *DIALOGUE])
    assert chatml.tokenizer.decode(row.ids).count("<|im_start|>") == 5
    assert row.split == 0
    assert not chatml.warnings()


def test_only_the_last_answer(chat):
    chatml = chat()
    (row,) = chatml.encode(DIALOGUE, last_only=True)
    assert answers(chatml, row) == ["How lovely to hear!<|im_end|>"]
    assert row.ids == chatml.encode(DIALOGUE)[0].ids


@pytest.mark.parametrize("template", [NO_SYSTEM, SILENT])
def test_without_a_system_role_the_first_user_message_begins_with_it(chat, template):
    mistral = chat(template)
    assert mistral.describe()["system"] == "before the first user message"
    assert mistral.render([SYSTEM, *DIALOGUE[:1]]) == "[INST] Be kind.\n\nToday my dog ran away. [/INST]"
    (row,) = mistral.encode([SYSTEM, *DIALOGUE])
    assert [text.strip() for text in answers(mistral, row)] == [
        "Tell me more.<|im_end|>",
        "How lovely to hear!<|im_end|>",
    ]


def test_a_system_role_is_a_matter_of_the_template_and_not_of_the_words(chat):
    silent = chat(SILENT)
    # The system's words are also in the answer.
    dialogue = [{"role": "system", "content": "Sorry"}, DIALOGUE[0], {"role": "assistant", "content": "Sorry to hear."}]
    assert silent.render(dialogue) == "[INST] Sorry\n\nToday my dog ran away. [/INST] Sorry to hear.<|im_end|>"
    assert prompts_begin_rows(silent, dialogue)


def test_a_template_that_is_not_prefix_stable_makes_a_row_of_each_answer_without_its_marks(chat):
    thinking = chat(UNSTABLE)
    first, second = thinking.encode(DIALOGUE)
    assert thinking.tokenizer.decode(first.ids) == thinking.render(DIALOGUE[:2])
    assert thinking.tokenizer.decode(second.ids) == thinking.render(DIALOGUE)
    for row, answer in ((first, "Tell me more.<|im_end|>"), (second, "How lovely to hear!<|im_end|>")):
        assert answers(thinking, row) == [answer]
    assert thinking.introduction.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert prompts_begin_rows(thinking, DIALOGUE)
    assert "asks for an answer with" in thinking.warnings()[0]


def test_thoughts_are_left_out_where_the_template_can(chat):
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is false %}{{ '<think></think>' }}{% endif %}{% endif %}"
    )
    assert chat(template).describe()["arguments"] == {"enable_thinking": False}
    assert chat(template, arguments={"enable_thinking": True}).describe()["arguments"] == {"enable_thinking": True}


def test_an_answer_is_found_where_it_stands_and_not_where_its_words_occur(chat):
    # As a template that opens the thoughts of an answer to come, and shows none of those that it knows.
    opening = chat(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
    )
    for word in ("end", "im", "start", "a"):
        dialogue = [DIALOGUE[0], {"role": "assistant", "content": word}]
        (row,) = opening.encode(dialogue)
        assert answers(opening, row) == [f"{word}<|im_end|>"]
        assert prompts_begin_rows(opening, dialogue)
    assert "<think>" in opening.warnings()[0]


def test_a_blank_before_an_answer_belongs_to_its_first_word(chat):
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
    spaced = chat(template + "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
    (row,) = spaced.encode(DIALOGUE)
    assert answers(spaced, row) == [" Tell me more.<|im_end|>", " How lovely to hear!<|im_end|>"]
    assert row.split == 0
    assert prompts_begin_rows(spaced, DIALOGUE)


@pytest.mark.parametrize("trims", [False, True])
def test_an_indented_answer_is_not_merged_with_the_line_break_before_it(chat, trims):
    chatml = chat()
    backend = chatml.tokenizer.backend_tokenizer
    # One token of a line break and a blank, as large vocabularies have; and tokenizers that leave blanks out of places.
    backend.post_processor = processors.ByteLevel(trim_offsets=trims)
    chatml.tokenizer.add_tokens(["\n  "])
    dialogue = [
        *DIALOGUE,
        DIALOGUE[0],
        {"role": "assistant", "content": "  indented\n- list"},
        DIALOGUE[0],
        DIALOGUE[1],
    ]
    (row,) = chatml.encode(dialogue)
    assert row.split == 1
    assert answers(chatml, row)[2] == "  indented\n- list<|im_end|>"
    assert chatml.tokenizer.decode(row.ids) == chatml.render(dialogue)
    assert prompts_begin_rows(chatml, dialogue)


def test_the_date_is_the_same_on_every_day(chat):
    template = "{{ strftime_now('%d %b %Y') }}\n{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}"
    assert chat(template).render(DIALOGUE[:1]).startswith("26 Jul 2024\n")
    assert chat(template, date="2025-01-02").render(DIALOGUE[:1]).startswith("02 Jan 2025\n")
    assert chat(template).describe()["date"] == "2024-07-26"
    assert chat().describe()["date"] is None


def test_a_dialogue_that_the_template_refuses(chat):
    strict = chat("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UserError, match="refuses a dialogue: roles must alternate"):
        strict.render(DIALOGUE)


def test_a_template_that_rewrites_answers(chat):
    shouting = chat("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}")
    with pytest.raises(UserError, match="rewrites answers"):
        shouting.encode(DIALOGUE)


def test_the_end_of_a_turn_is_the_templates(chat):
    chatml = chat()
    tokenizer = chatml.tokenizer
    assert (chatml.end, chatml.end_token) == ("<|im_end|>", tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert chat(NO_SYSTEM.replace("<|im_end|>", "<|endoftext|>")).end_token == tokenizer.pad_token_id
    words = chat(NO_SYSTEM.replace("<|im_end|>", "<end_of_turn>"))
    assert (words.end, words.end_token) == ("<end_of_turn>", None)
    assert "ends an answer with '<end_of_turn>', which is no token of this tokenizer" in words.warnings()[0]
    nothing = chat(NO_SYSTEM.replace("<|im_end|>", ""))
    assert (nothing.end, nothing.end_token) == ("", None)
    assert "ends no answer" in nothing.warnings()[0]


@pytest.fixture
def trained_end(nano, tmp_path):
    """A chat of the nano model with `end_token: train`; what its template ends answers with may be given."""

    def trained_end(end, template=NO_SYSTEM):
        (tmp_path / "chat.jinja").write_text(template.replace("<|im_end|>", end))
        return load_chat(MODEL, OWN_CHAT | {"template": str(tmp_path / "chat.jinja"), "end_token": "train"})

    return trained_end


@pytest.mark.parametrize(
    ("end", "token"),
    [
        ("<end_of_turn>", "<end_of_turn>"),
        ("\n<end_of_turn>\n", "<end_of_turn>"),
        ("[/A]", "[/A]"),
        ("\n### End", "### End"),
        ("<end_of_turn>\n<next>", "<end_of_turn>"),
        ("<end_of_turn><|endoftext|>", "<end_of_turn>"),
    ],
)
def test_what_a_template_ends_answers_with_becomes_one_token_that_is_learnt(chat, trained_end, end, token):
    ends = trained_end(end.replace("\n", "\\n"))
    assert ends.added_token == ends.end_token == len(chat().tokenizer)
    assert ends.describe()["added_token"] == ends.describe()["end_token"] == token
    assert token in ends.marks
    (row,) = ends.encode(DIALOGUE)
    assert row.ids.count(ends.added_token) == 2
    assert [id_ for id_, learnt in zip(row.ids, row.is_answer, strict=True) if learnt].count(ends.added_token) == 2
    assert ends.tokenizer.decode(row.ids) == ends.render(DIALOGUE)
    assert prompts_begin_rows(ends, DIALOGUE)
    assert not ends.warnings()


def test_chatml_on_a_tokenizer_without_its_marks(nano, tmp_path):
    backend = Tokenizer.from_str(load_tokenizer(MODEL).backend_tokenizer.to_str())
    content = json.loads(backend.to_str())
    content["added_tokens"] = [each for each in content["added_tokens"] if each["content"] == "<|endoftext|>"]
    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content).replace("<|im_", "<|other_")),
        eos_token="<|endoftext|>",
    )
    bare.save_pretrained(tmp_path)
    text, trained = (
        load_chat(str(tmp_path), OWN_CHAT | {"template": "chatml", "end_token": kind}) for kind in ("text", "train")
    )
    assert text.end_token is None
    (long,), (short,) = text.encode(DIALOGUE), trained.encode(DIALOGUE)
    assert len(short.ids) < len(long.ids)
    # Only the end: what introduces a turn is left as it is.
    assert len(trained.tokenizer) == len(text.tokenizer) + 1
    assert [answer.strip() for answer in answers(trained, short)] == [
        "Tell me more.<|im_end|>",
        "How lovely to hear!<|im_end|>",
    ]
    assert short.ids.count(trained.end_token) == 4
    assert prompts_begin_rows(trained, DIALOGUE)


def test_an_end_that_is_a_token_already_is_left_alone(chat, trained_end):
    for end in ("<|im_end|>", "<|endoftext|>", "~"):  # the last is one like any word
        ends = trained_end(end)
        assert ends.added_token is None
        assert ends.describe()["added_token"] is None
        assert len(ends.tokenizer) == len(chat().tokenizer)
        assert ends.warnings() == [
            f"the chat template ends an answer with {end!r}, which is a token of this tokenizer already, so that "
            "`end_token: train` changes nothing"
        ]


@pytest.mark.parametrize(
    ("end", "template", "message"),
    [
        ("", NO_SYSTEM, "ends no answer"),
        ("\\n", NO_SYSTEM, "ends no answer"),
        (" THE END", NO_SYSTEM, "'THE END'; a token for that would be taken from within words"),
        ("[INST]", NO_SYSTEM, "but also writes it where one begins"),
    ],
)
def test_an_end_that_cannot_be_a_token(trained_end, end, template, message):
    with pytest.raises(UserError, match=re.escape(message)):
        trained_end(end, template.replace("[/INST]", "[/INST] [INST]"))


def test_a_tokenizer_without_a_template_asks_for_one(nano, tmp_path):
    plain = load_tokenizer(MODEL)
    plain.chat_template = None
    plain.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no chat template; give the model a `template`"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "chat.jinja").write_text(NO_SYSTEM)
    given = OWN_CHAT | {"template": str(tmp_path / "chat.jinja")}
    assert "[INST]" in load_chat(str(tmp_path), given).render(DIALOGUE)
    assert "User: " in load_chat(str(tmp_path), given | {"template": "plain"}).render(DIALOGUE)


# -- the templates by name

TEXTS = {
    "chatml": (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nToday my dog ran away.<|im_end|>\n"
        "<|im_start|>assistant\nTell me more.<|im_end|>\n<|im_start|>user\nToday he came home.<|im_end|>\n"
        "<|im_start|>assistant\nHow lovely to hear!<|im_end|>\n"
    ),
    "llama-2": (
        "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nToday my dog ran away. [/INST] Tell me more. </s>"
        "<s>[INST] Today he came home. [/INST] How lovely to hear! </s>"
    ),
    "llama-3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nToday my dog ran away.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nTell me more.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nToday he came home.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHow lovely to hear!<|eot_id|>"
    ),
    "mistral": (
        "<s>[INST] Be kind.\n\nToday my dog ran away. [/INST] Tell me more.</s>"
        "[INST] Today he came home. [/INST] How lovely to hear!</s>"
    ),
    "gemma": (
        "<s><start_of_turn>user\nBe kind.\n\nToday my dog ran away.<end_of_turn>\n"
        "<start_of_turn>model\nTell me more.<end_of_turn>\n<start_of_turn>user\nToday he came home.<end_of_turn>\n"
        "<start_of_turn>model\nHow lovely to hear!<end_of_turn>\n"
    ),
    "phi-3": (
        "<|system|>\nBe kind.<|end|>\n<|user|>\nToday my dog ran away.<|end|>\n<|assistant|>\nTell me more.<|end|>\n"
        "<|user|>\nToday he came home.<|end|>\n<|assistant|>\nHow lovely to hear!<|end|>\n"
    ),
    "zephyr": (
        "<|system|>\nBe kind.</s>\n<|user|>\nToday my dog ran away.</s>\n<|assistant|>\nTell me more.</s>\n"
        "<|user|>\nToday he came home.</s>\n<|assistant|>\nHow lovely to hear!</s>\n"
    ),
    "plain": (
        "<s>Be kind.\n\nUser: Today my dog ran away.\nAssistant: Tell me more.</s>\n"
        "User: Today he came home.\nAssistant: How lovely to hear!</s>\n"
    ),
}
ENDS = {
    "chatml": "<|im_end|>", "llama-3": "<|eot_id|>", "gemma": "<end_of_turn>", "phi-3": "<|end|>",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer_of(nano_root, tmp_path_factory):
    """The nano tokenizer with the tokens that a template's own models have."""

    def tokenizer_of(name):
        folder = tmp_path_factory.mktemp(name)
        loaded = AutoTokenizer.from_pretrained(nano_root / MODEL)
        assert isinstance(loaded, PreTrainedTokenizerFast)
        loaded.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
        loaded.add_tokens([ENDS[name]] if name in ENDS else [], special_tokens=True)
        loaded.save_pretrained(folder)
        return str(folder)

    return tokenizer_of


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_and_the_learnt_tokens_of_each_template(tokenizer_of, name):
    chat = load_chat(tokenizer_of(name), OWN_CHAT | {"template": name})
    dialogue = [SYSTEM, *DIALOGUE]
    assert chat.render(dialogue) == TEXTS[name]
    (row,) = chat.encode(dialogue)
    assert chat.tokenizer.decode(row.ids) == TEXTS[name]
    end = ENDS.get(name, "</s>")
    learnt = [text.strip() for text in answers(chat, row)]
    blank = " " if name == "llama-2" else ""
    assert learnt == [f"Tell me more.{blank}{end}", f"How lovely to hear!{blank}{end}"]
    assert chat.end_token == chat.tokenizer.convert_tokens_to_ids(end)
    assert row.split == 0
    assert prompts_begin_rows(chat, dialogue)
    assert row.ids.count(chat.tokenizer.bos_token_id) == TEXTS[name].count("<s>")
    assert not chat.warnings()


@pytest.mark.parametrize(
    ("name", "text", "warned"),
    [
        ("date.jinja", "system\nToday Date: 26 Jul 2024<|im_end|>", ""),
        ("think.jinja", "assistant\n<think>\n\n</think>\n\nHow lovely", ""),
        ("turns.jinja", "<start_of_turn>assistant\nHow lovely", "is no token of this tokenizer"),
        ("alpaca.jinja", "### Response:\nHow lovely", "ends no answer"),
    ],
)
def test_templates_that_did_harm_elsewhere(chat, name, text, warned):
    if not CASES.is_dir():
        pytest.skip(f"no templates at {CASES}")
    loaded = chat((CASES / name).read_text())
    assert text in loaded.render(DIALOGUE)
    assert [answers(loaded, row)[-1].split("<")[0].strip() for row in loaded.encode(DIALOGUE)][
        -1
    ] == "How lovely to hear!"
    assert prompts_begin_rows(loaded, DIALOGUE)
    assert warned in " ".join(loaded.warnings())
    assert bool(warned) == bool(loaded.warnings())
