import pytest
from nano import MODEL

from loragrid.errors import UserError
from loragrid.modeling.chat import encode, end_of_turn, render
from loragrid.modeling.tokenizer import load_tokenizer

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
def tokenizer(nano):
    def tokenizer(template=None):
        loaded = load_tokenizer(MODEL)
        loaded.chat_template = template or loaded.chat_template
        return loaded

    return tokenizer


def answers(tokenizer, encoded):
    """The marked stretches of a row, as text."""
    parts, before = [], False
    for token, marked in zip(encoded.ids, encoded.is_answer, strict=True):
        if marked:
            parts = [*parts, []] if not before else parts
            parts[-1].append(token)
        before = marked
    return [tokenizer.decode(part) for part in parts]


def test_chatml_marks_answers_and_the_token_that_ends_them(tokenizer):
    chatml = tokenizer()
    (row,) = encode(chatml, [SYSTEM, *DIALOGUE])
    assert answers(chatml, row) == ["Tell me more.<|im_end|>", "How lovely to hear!<|im_end|>"]
    assert chatml.decode(row.ids) == render(chatml, [SYSTEM, *DIALOGUE])
    assert chatml.decode(row.ids).count("<|im_start|>") == 5


def test_only_the_last_answer(tokenizer):
    chatml = tokenizer()
    (row,) = encode(chatml, DIALOGUE, last_only=True)
    assert answers(chatml, row) == ["How lovely to hear!<|im_end|>"]
    assert row.ids == encode(chatml, DIALOGUE)[0].ids


@pytest.mark.parametrize("template", [NO_SYSTEM, SILENT])
def test_without_a_system_role_the_first_user_message_begins_with_it(tokenizer, template):
    mistral = tokenizer(template)
    assert render(mistral, [SYSTEM, *DIALOGUE[:1]]) == "[INST] Be kind.\n\nToday my dog ran away. [/INST]"
    (row,) = encode(mistral, [SYSTEM, *DIALOGUE])
    assert [text.strip() for text in answers(mistral, row)] == [
        "Tell me more.<|im_end|>",
        "How lovely to hear!<|im_end|>",
    ]


def test_a_template_that_is_not_prefix_stable_makes_a_row_of_each_answer(tokenizer):
    thinking = tokenizer(UNSTABLE)
    first, second = encode(thinking, DIALOGUE)
    assert thinking.decode(first.ids) == render(thinking, DIALOGUE[:2])
    assert thinking.decode(second.ids) == render(thinking, DIALOGUE)
    for row, answer in ((first, "Tell me more.<|im_end|>"), (second, "How lovely to hear!<|im_end|>")):
        assert answers(thinking, row) == [f"<think>\n\n</think>\n\n{answer}"]


def test_answers_stand_where_the_prompt_ends(tokenizer):
    chatml = tokenizer()
    (row,) = encode(chatml, DIALOGUE)
    prompt = chatml(render(chatml, DIALOGUE[:3], answer_next=True), add_special_tokens=False).input_ids
    assert row.ids[: len(prompt)] == prompt
    assert row.is_answer[len(prompt)]
    assert not row.is_answer[len(prompt) - 1]


def test_a_dialogue_that_the_template_refuses(tokenizer):
    strict = tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UserError, match="refuses a dialogue: roles must alternate"):
        render(strict, DIALOGUE)


def test_a_template_that_rewrites_answers(tokenizer):
    shouting = tokenizer(
        "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    with pytest.raises(UserError, match="rewrites answers"):
        encode(shouting, DIALOGUE)


def test_the_token_that_ends_a_turn_is_the_templates(tokenizer):
    chatml = tokenizer()
    assert end_of_turn(chatml) == chatml.convert_tokens_to_ids("<|im_end|>")
    assert end_of_turn(tokenizer(NO_SYSTEM.replace("<|im_end|>", "<|endoftext|>"))) == chatml.pad_token_id
    assert end_of_turn(tokenizer(NO_SYSTEM.replace("<|im_end|>", ""))) is None


def test_a_tokenizer_without_a_template_asks_for_one(nano, tmp_path):
    plain = load_tokenizer(MODEL)
    plain.chat_template = None
    plain.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no chat template; give the model a `template`"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "chat.jinja").write_text(NO_SYSTEM)
    assert "[INST]" in render(load_tokenizer(str(tmp_path), str(tmp_path / "chat.jinja")), DIALOGUE)
