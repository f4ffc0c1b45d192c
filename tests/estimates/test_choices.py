"""How much a choice evaluation is, before anything is downloaded."""

from pathlib import Path

import pytest
from objects import make_dimensions

from loragrid.estimates.devices import find_device
from loragrid.estimates.memory import generation_memory
from loragrid.estimates.workload import Workload
from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study

STUDY = """
title: Choices
models:
  base: {{id: org/Base-7B, parameters: 7e9, template: chatml}}
datasets:
  firefly: {{source: firefly, splits: {{validation: 0.1, test: 0.1}}}}
  cmmlu: {{source: cmmlu, train: false}}
evaluations:
  zh: {{kind: choice, dataset: cmmlu, {more}}}
"""


@pytest.mark.parametrize(
    ("more", "prompts", "tokens"), [("shots: 5", 11_582, 540), ("shots: 0", 11_582, 90), ("rows: 3", 3 * 67, 540)]
)
def test_questions_are_read_once_with_their_examples(tmp_path, monkeypatch, more, prompts, tokens):
    monkeypatch.chdir(tmp_path)
    Path("choices.yaml").write_text(STUDY.format(more=more))
    grid = open_study("choices.yaml", REGISTRY)
    (answers,) = grid.answers.values()
    work = Workload(grid, REGISTRY).of_answers(answers)
    assert (work.prompts, work.prompt_tokens, work.answer_tokens) == (prompts, tokens, 1)
    assert work.longest_prompt == 3 * tokens


def test_comparing_choices_takes_the_logits_of_whole_prompts():
    size = make_dimensions(vocabulary=128_256)
    given = {"of_rows": 0, "batch": 2, "prompt": 2000, "answer": 1, "file_bytes": 2}
    plain, choices = (
        generation_memory(size, find_device("a100"), "nf4", 0, **given, of_choices=of_choices).gpu
        for of_choices in (False, True)
    )
    # 6 bytes a logit: 16 bits, and their logarithms in 32.
    assert 0.8 * 6 * 2 * 2001 * 128_256 < choices - plain < 1.2 * 6 * 2 * 2001 * 128_256
