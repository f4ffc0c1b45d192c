"""The reference values: ours where we compute the like, else those of the library that we compute with."""

import pytest
from metric_cases import cases, items_of, values_of

from loragrid.metrics import METRICS

OURS = {"rouge1", "rouge2", "rougeL", "rougeLsum"}


def close(case):
    return pytest.approx(case["expected"], abs=case["tolerance"])


def test_rouge():
    for case in cases(*OURS):
        if case["references"][0].isascii():  # rouge-score sees nothing elsewhere
            stemming = case["params"]["use_stemmer"]
            (item,) = items_of("rouge", case["predictions"], case["references"], stemming=stemming)
            expected = case["expected"]["fmeasure"]
            assert item[case["metric"]] == pytest.approx(expected, abs=case["tolerance"]), case["source"]


def test_rouge_over_a_corpus():
    for case in cases("rouge1_mean_f1"):
        assert values_of("rouge", case["predictions"], case["references"])["rouge1"] == close(case), case["source"]


def test_corpus_bleu():
    from sacrebleu.metrics.bleu import BLEU

    for case in cases("sacrebleu_corpus"):
        # Two references each, which our data never has: their counts are taken from sacrebleu, the value is ours.
        scorer = BLEU(**case["params"], effective_order=True)
        if set(case["params"]) <= {"tokenize", "smooth_method"} and case["params"].get("smooth_method") != "none":
            scores = [
                scorer.sentence_score(answer, list(references))
                for answer, *references in zip(case["predictions"], *case["references"], strict=True)
            ]
            items = [
                {"sacrebleu": {"matches": s.counts, "totals": s.totals, "answer_tokens": s.sys_len,
                               "reference_tokens": s.ref_len}}
                for s in scores
            ]  # fmt: skip
            assert METRICS["sacrebleu"].COLUMNS[0].of(items) == close(case), case["source"]
        else:
            assert BLEU(**case["params"]).corpus_score(case["predictions"], case["references"]).score == close(case)


def test_sentence_bleu():
    from sacrebleu.metrics.bleu import BLEU

    for case in cases("sacrebleu_sentence"):
        references = [reference for (reference,) in case["references"]]
        if case["params"]["smooth_method"] == "exp":
            options = {"tokenize": case["params"]["tokenize"]}
            (item,) = items_of("sacrebleu", case["predictions"], references, **options)
            assert item["sacrebleu_sentence"] == close(case), case["source"]
        else:
            score = BLEU(**case["params"]).sentence_score(case["predictions"][0], references)
            assert score.score == close(case), case["source"]


def test_nltk_bleu():
    from nltk.translate import bleu_score

    for case in cases("nltk_sentence_bleu"):
        (answer,), (references,) = case["predictions"], case["references"]
        references = [references] if isinstance(references, str) else references
        smoothing = case["params"].get("smoothing", "method0")
        weights = case["params"].get("weights", [0.25] * 4)
        name = {(0.25,) * 4: "nltk_bleu", (0.5, 0.5): "bleu2"}.get(tuple(weights))
        if len(references) == 1 and name and smoothing != "method6":
            (value,) = items_of(name, [answer], references, smoothing=smoothing)[0].values()
        else:
            smooth = getattr(bleu_score.SmoothingFunction(), smoothing)
            value = bleu_score.sentence_bleu([text.split() for text in references], answer.split(), weights, smooth)
        assert value == close(case), case["source"]
    for case in cases("nltk_corpus_bleu"):
        references = [[text.split() for text in texts] for texts in case["references"]]
        weights = case["params"].get("weights", [0.25] * 4)
        value = bleu_score.corpus_bleu(references, [text.split() for text in case["predictions"]], weights)
        assert value == close(case), case["source"]


def test_chrf():
    from sacrebleu.metrics.chrf import CHRF

    for case in cases("chrf_corpus"):
        references = [list(texts) for texts in zip(*case["references"], strict=True)]
        assert CHRF(**case["params"]).corpus_score(case["predictions"], references).score == close(case)


def test_meteor(wordnet):
    from nltk.translate.meteor_score import meteor_score

    for case in cases("meteor"):
        (answer,), (references,) = case["predictions"], case["references"]
        references = [references] if isinstance(references, str) else references
        usual = (case["params"].get("alpha", 0.9), case["params"].get("beta", 3), case["params"].get("gamma", 0.5))
        if len(references) == 1 and usual == (0.9, 3, 0.5):
            (item,) = items_of("meteor", [answer], references, tokenize="split")
            assert item["meteor"] == close(case), case["source"]
        else:
            value = meteor_score([text.split() for text in references], answer.split(), **{
                name: case["params"][name] for name in ("alpha", "beta", "gamma") if name in case["params"]
            })  # fmt: skip
            assert value == close(case), case["source"]


def test_exact_match():
    for case in cases("exact_match"):
        value = values_of("exact_match", case["predictions"], case["references"])["exact_match"]
        assert value == close(case), case["source"]


def test_there_is_no_other_case():
    known = {"rouge1_mean_f1", "sacrebleu_corpus", "sacrebleu_sentence", "nltk_sentence_bleu", "nltk_corpus_bleu"}
    known |= OURS | {"chrf_corpus", "meteor", "exact_match"}
    every = cases(*known)
    assert len(every) == 59
