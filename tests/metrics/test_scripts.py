"""What a metric must not take for granted: blanks between words, one case mapping, letters of one script."""

import pytest
from metric_cases import texts, values_of

from loragrid.metrics import METRICS
from loragrid.words import script_of, words


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("今天天气很好", "chinese"), ("今日は天気がいい", "japanese"), ("カタカナ", "japanese"),
        ("오늘 날씨", "korean"), ("อากาศดี", "unspaced"), ("Merhaba dünya", "spaced"), ("", "spaced"),
        ("Hello 世界, how are you", "spaced"),
    ],
)  # fmt: skip
def test_the_script_of_texts(text, script):
    assert script_of([text]) == script


@pytest.mark.parametrize(
    ("answer", "reference", "tokenizer"),
    [
        ("今日は天気がいいですね。", "今日は天気がよいですね。", "ja-mecab"),
        ("วันนี้อากาศดีมาก", "วันนี้อากาศดีมาๆ", "char"),
        ("今天天气很好啊。", "今天天气很好呀。", "zh"),
        ("오늘 날씨가 정말 좋네요.", "오늘 날씨가 정말 좋아요.", "ko-mecab"),
    ],
)
def test_one_letter_off_is_not_all_off(answer, reference, tokenizer):
    values = values_of("sacrebleu", [answer], [reference])
    assert values["sacrebleu"] > 30
    about = METRICS["sacrebleu"].about(texts([answer], [reference]), METRICS["sacrebleu"].Options())
    assert f"tok:{tokenizer}" in about["signature"]
    for name in ("nltk_bleu", "bleu2", "meteor"):
        # A language without spaces is not one long word.
        assert max(values_of(name, [answer], [reference], language=_code(tokenizer)).values()) > 0.2


def _code(tokenizer):
    return {"ja-mecab": "ja", "char": "th", "zh": "zh", "ko-mecab": "ko"}[tokenizer]


def test_without_its_dictionary_a_language_is_cut_into_characters(monkeypatch):
    import importlib.util

    from loragrid.metrics.sacrebleu import Options, tokenizer_for

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "MeCab" else object())
    assert tokenizer_for(["今日は天気がいい"], Options()) == "char"


def test_the_capital_of_a_turkish_i():
    # In ROUGE as in case 13: İstanbul and istanbul are one word.
    assert values_of("rouge", ["İstanbul güzel"], ["istanbul güzel"])["rougeL"] == 1
    assert values_of("meteor", ["İstanbul çok güzel"], ["istanbul çok güzel"], language="tr")["meteor"] > 0.9
    # The capital I is that of ı only where the language is known to be one that has it.
    assert words("ISPARTA", "tr") == ["ısparta"]
    assert words("ISPARTA") == ["isparta"]
    assert words("İyi") == ["iyi"] == words("İyi", "tr")
    # ı and i are different letters.
    assert values_of("rouge", ["sıkıntı"], ["sikinti"])["rouge1"] == 0


def test_an_unknown_language_is_refused_with_a_word():
    from pydantic import ValidationError

    for name, metric in METRICS.items():
        if name != "likelihood":
            with pytest.raises(ValidationError, match="language"):
                metric.Options(language="turkish")


def test_mixed_languages_are_cut_each_in_its_own_way_or_told(capsys):
    answers = ["今天天气很好", "The weather is fine."]
    references = ["今天天气不好", "The weather is fine."]
    for name in ("nltk_bleu", "bleu2"):
        assert values_of(name, answers, references)[name] > 0.5
    assert values_of("rouge", answers, references)["rouge1"] > 0.8
    about = METRICS["sacrebleu"].about(texts(answers, references), METRICS["sacrebleu"].Options())
    assert about["scripts"] == {"chinese": 1, "spaced": 1}
    assert "written in several ways" in capsys.readouterr().out
    assert "scripts" not in METRICS["sacrebleu"].about(texts(["a"], ["b"]), METRICS["sacrebleu"].Options())
