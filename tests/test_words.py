"""Words of any script."""

import pytest

from loragrid.words import words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Şöyle GÜZEL, değil mi?", ["şöyle", "güzel", "değil", "mi"]),
        ("你好 世界!", ["你", "好", "世", "界"]),
        ("GPT4很好", ["gpt4", "很", "好"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 naïve", ["café", "naïve"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("안녕 세상", ["안녕", "세상"]),
        (" \u0301 — … _", []),
    ],
)
def test_words_of_any_script(text, tokens):
    assert words(text) == tokens


def test_words_of_ascii_text_are_those_of_rouge_score():
    from rouge_score.tokenize import tokenize

    for text in ("Hello, World! it's 3.14_pi", "", "a-b_c\td\n\nE", "".join(map(chr, range(128)))):
        assert words(text) == tokenize(text, None)
