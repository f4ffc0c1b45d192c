"""Our values against those of the reference libraries, on random texts of every script, empty and long ones."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import items_of, values_of

SCRIPTS = (
    "abcde ABC,.! 12", "çğıöşü ÇĞİÖŞÜI ", "你好世界今天气很不，。", "こんにちは世界カナ。", "สวัสดีครับ ",
    "안녕하세요 세계", "हिन्दी भाषा ", "مرحبا بالعالم ", "😀e\u0301\n\t ",
)  # fmt: skip

texts = st.sampled_from(SCRIPTS).flatmap(lambda letters: st.text(alphabet=letters, max_size=60))
# Two texts that have something in common.
pairs = st.sampled_from(SCRIPTS).flatmap(
    lambda letters: st.tuples(st.text(alphabet=letters, max_size=60), st.text(alphabet=letters, max_size=60))
)
corpora = st.lists(pairs, min_size=1, max_size=5).map(lambda found: tuple(map(list, zip(*found, strict=True))))
checked = settings(max_examples=60, deadline=None)


@checked
@given(corpora)
def test_sacrebleu(corpus):
    from sacrebleu.metrics.bleu import BLEU

    answers, references = corpus
    for tokenize in ("13a", "char", "zh", "intl", "none"):
        values = values_of("sacrebleu", answers, references, tokenize=tokenize)
        expected = BLEU(tokenize=tokenize, force=True).corpus_score(answers, [references]).score
        assert values["sacrebleu"] == pytest.approx(expected, abs=1e-9)
    sentences = BLEU(tokenize="13a", effective_order=True, force=True)
    expected = [sentences.sentence_score(a, [r]).score for a, r in zip(answers, references, strict=True)]
    found = items_of("sacrebleu", answers, references, tokenize="13a")
    assert [item["sacrebleu_sentence"] for item in found] == pytest.approx(expected)


@checked
@given(corpora)
def test_chrf(corpus):
    from sacrebleu.metrics.chrf import CHRF

    answers, references = corpus
    expected = CHRF().corpus_score(answers, [references]).score
    assert values_of("chrf", answers, references)["chrf"] == pytest.approx(expected, abs=1e-9)


@checked
@given(st.lists(st.tuples(st.text("abc ABC.1\n", max_size=40), st.text("abc ABC.1\n", max_size=40)), min_size=1))
def test_rouge_of_ascii_texts(found):
    from rouge_score.rouge_scorer import RougeScorer

    answers, references = map(list, zip(*found, strict=True))
    for stemming in (False, True):
        scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stemming)
        for item, answer, reference in zip(
            items_of("rouge", answers, references, stemming=stemming), answers, references, strict=True
        ):
            expected = {name: score.fmeasure for name, score in scorer.score(reference, answer).items()}
            assert item == pytest.approx(expected)


@checked
@given(pairs)
def test_nltk_bleu(pair):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    answer, reference = pair
    if not any(map(is_unspaced, answer + reference)):
        for name, weights in (("nltk_bleu", (0.25,) * 4), ("bleu2", (0.5, 0.5))):
            (item,) = items_of(name, [answer], [reference])
            expected = 0.0
            if answer.split() and reference.split():
                expected = sentence_bleu([reference.split()], answer.split(), weights, SmoothingFunction().method4)
            assert item[name] == pytest.approx(expected)


@checked
@given(pairs)
def test_meteor_of_words_in_their_forms(pair):
    """Without English there is no WordNet to ask: nltk with nothing but equal words."""
    answer, reference = pair
    (item,) = items_of("meteor", [answer], [reference], language="de")
    assert 0 <= item["meteor"] <= 1
    (same,) = items_of("meteor", [reference], [reference], language="de")
    assert same["meteor"] >= item["meteor"] - 1e-9


@checked
@given(corpora)
def test_every_metric_gives_an_item_for_each_answer(corpus):
    answers, references = corpus
    for name in ("rouge", "sacrebleu", "nltk_bleu", "bleu2", "chrf", "exact_match", "distinct", "length"):
        assert len(items_of(name, answers, references)) == len(answers)
        for value in values_of(name, answers, references).values():
            assert math.isnan(value) or value >= 0


def test_a_very_long_answer():
    long = "word and another one, " * 20_000
    for name in ("sacrebleu", "nltk_bleu", "bleu2", "chrf", "length", "distinct"):
        assert len(items_of(name, [long, ""], ["a word", "and another"])) == 2


def is_unspaced(character):
    return "\u0e00" <= character <= "\u0e7f" or "\u3005" <= character <= "\u9fff"
