"""A real chat model (SmolLM2-135M-Instruct): a tokenizer with 49,152 entries, a template with a default system prompt.

It is made by a program beside the project, from packages; without that the tests are skipped.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nano import never
from objects import OWN_CHAT

from loragrid.generation.answer import answer_prompts
from loragrid.jobs.standing import Reporter
from loragrid.modeling.load import load_base
from loragrid.modeling.templates import TEMPLATES
from loragrid.modeling.tokenizer import load_chat

SHARED = Path(__file__).parents[3] / "shared"
MAKER = SHARED / "tools" / "real_model.py"
CASES = sorted((SHARED / "cases" / "templates").glob("*.jinja"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not MAKER.exists(), reason=f"nothing to make it with at {MAKER}")]

DIALOGUE = [
    {"role": "user", "content": "I lost my job."},
    {"role": "assistant", "content": "I am sorry to hear that. Do you want to talk about it?"},
    {"role": "user", "content": "Show me:\n    if a:\n        b"},
    {"role": "assistant", "content": "  indented\n\n- a list 👩‍👧\n"},
    {"role": "user", "content": "\n\nYes."},
    {"role": "assistant", "content": "\nGood."},
]


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smol")
    subprocess.run([sys.executable, MAKER, folder], check=True, capture_output=True)
    return str(folder)


def chat_of(folder, template=None):
    return load_chat(folder, OWN_CHAT | {"template": template})


@pytest.mark.parametrize("template", [None, *TEMPLATES, *map(str, CASES)], ids=lambda name: Path(name or "own").stem)
def test_what_it_is_asked_is_how_its_rows_begin_and_answers_are_whole(smol, template):
    chat = chat_of(smol, template)
    rows = chat.encode(DIALOGUE)
    for place in (1, 3, 5):
        ids = chat.prompt(DIALOGUE[:place])
        (row,) = [row for row in rows if row.ids[: len(ids)] == ids][:1]
        said = chat.tokenizer.decode(row.ids[len(ids) :])
        # Some templates take the white space around a message away, as their models' own do.
        assert said.lstrip().startswith(DIALOGUE[place]["content"].strip())
        assert row.is_answer[len(ids)]
        assert not row.is_answer[len(ids) - 1]
    for row in rows:
        learnt = chat.tokenizer.decode([id_ for id_, learn in zip(row.ids, row.is_answer, strict=True) if learn])
        assert "I lost my job" not in learnt
    assert chat.tokenizer.decode(rows[-1].ids) == chat.render(DIALOGUE)


def test_its_default_system_prompt_is_there_unless_a_dialogue_has_its_own(smol):
    chat = chat_of(smol)
    assert "named SmolLM" in chat.render(DIALOGUE)
    own = chat.render([{"role": "system", "content": "Be kind."}, *DIALOGUE])
    assert "named SmolLM" not in own
    assert "Be kind." in own
    assert "named SmolLM" in chat.tokenizer.decode(chat.prompt(DIALOGUE[:1]))


def test_its_answers_can_be_read(smol, tmp_path):
    greedy = {"max_new_tokens": 40, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    prompts = [
        {
            "id": "a",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
    ]
    model = load_base(smol, "nf4").eval()
    answer_prompts(
        model,
        chat_of(smol),
        prompts,
        tmp_path / "out.jsonl",
        decoding=greedy,
        seed=0,
        batch_size=1,
        stop=never(),
        reporter=Reporter(None),
        about={},
    )
    answer = json.loads((tmp_path / "out.jsonl").read_text())
    assert "Paris" in answer["answer"]
