"""BERTScore: the package's values where it is right, and what mends it where it is not."""

import json
import random

import pytest
import torch
from bert_score import BERTScorer
from bert_score.utils import greedy_cos_idf
from encoders import LAYER, minilm, random_roberta, without_limit
from transformers import AutoModel, AutoTokenizer

from loragrid.errors import UserError
from loragrid.metrics import METRICS, as_evaluate
from loragrid.metrics.base import Texts
from loragrid.metrics.bertscore import NAMES, Options, about, compare, items
from loragrid.modeling.encoder import Encoder, load_encoder
from loragrid.scoring.standalone import score_rows

WORDS = {
    "latin": "the cat sat on a mat while nobody, however, looked for it again",
    "turkish": "çocuk ağaçtan düştü, ışığı gören köpek İstanbul'da üşüdü",
    "cyrillic": "кошка сидела на ковре и никто её не искал",
    "arabic": "القط جلس على السجادة ولم يبحث عنه أحد",
    "devanagari": "बिल्ली चटाई पर बैठी और किसी ने नहीं देखा",
    "chinese": "我 喜 欢 学 习 新 的 语 言 因 为 很 有 趣",
    "emoji": "🙂 👍🏽 🎉 ok 🙃",
}


def drawn(number, script, seed=0, most=40):
    draw = random.Random(f"{seed}{script}")
    words = WORDS[script].split()
    return [" ".join(draw.choices(words, k=draw.randint(1, most))) for _ in range(number)]


def values(answers, references, folder=None, layer=LAYER, **settings):
    options = Options(encoder=str(folder or minilm()), layer=layer, **settings)
    return [[item[name] for name in NAMES] for item in items(Texts(answers, references), options)]


def packages_own(answers, references, folder, layer, idf=False):
    """What bert-score says by itself."""
    scorer = BERTScorer(model_type=str(folder), num_layers=layer, idf=idf, nthreads=0, device="cpu")
    if idf:
        scorer.compute_idf(references)
    return torch.stack(scorer.score(answers, references), dim=-1).tolist()


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("script", WORDS)
def test_values_are_those_of_the_package(script, idf):
    answers, references = drawn(12, script, seed=1), drawn(12, script, seed=2)
    references[3] = references[5]
    answers[1] = f"  {answers[1]}\n"
    found = values(answers, references, idf=idf)
    # It has no value for a text of which no token weighs anything (see below).
    expected = torch.tensor(packages_own(answers, references, minilm(), LAYER, idf)).nan_to_num().tolist()
    assert [pytest.approx(row, abs=1e-5) for row in expected] == found


def test_an_identical_text_scores_1():
    assert values(["The cat sat."], ["The cat sat."]) == [pytest.approx([1, 1, 1], abs=1e-6)]


@pytest.mark.parametrize("at_a_time", [1, 100_000])
def test_values_do_not_depend_on_the_batch(at_a_time):
    answers, references = ([text for script in WORDS for text in drawn(3, script, seed, most=12)] for seed in (1, 2))
    encoder = Encoder(minilm(), LAYER)
    read = [encoder.tokens(text) for text in answers]

    def values_at(size):
        encoded = encoder.encode_all(references, size)
        return torch.tensor(compare(encoder, read, encoded, lambda ids: [1.0] * len(ids), size))

    assert (values_at(at_a_time) - values_at(60)).abs().max() < 1e-6


# -- what is mended


def test_a_text_without_words_scores_0():
    answers, references = ["", " \n", "hello", "hello"], ["hello", "hello", "", "hello"]
    with pytest.raises(AttributeError):
        packages_own(answers, references, minilm(), LAYER)
    found = values(answers, references)
    assert found[:3] == [[0, 0, 0]] * 3
    assert found[3] == pytest.approx([1, 1, 1], abs=1e-6)
    told = about(Texts(answers, references), Options(encoder=minilm(), layer=LAYER))
    assert (told["counts"]["answers_empty"], told["counts"]["references_empty"]) == (2, 1)


def test_a_tokenizer_without_a_limit(tmp_path):
    folder = without_limit(tmp_path / "encoder", minilm())
    with pytest.raises(OverflowError):
        packages_own(["hello"], ["hello there"], folder, LAYER)
    assert values(["hello"], ["hello there"], folder) == values(["hello"], ["hello there"])


def test_roberta_reads_its_first_word_like_the_others(tmp_path):
    folder = random_roberta(tmp_path / "roberta")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = [tokenizer.convert_ids_to_tokens(list(ids))[1] for ids in (
        Encoder(str(folder), 2).tokens("the cat").ids,
        # What bert-score asks for, and transformers 5 does not do.
        tokenizer.encode("the cat", add_prefix_space=True),
    )]  # fmt: skip
    assert first == ["Ġthe", "the"]
    answers, references = ["the cat sat"], ["a cat sat on the mat"]
    found, bare = values(answers, references, folder, 2), packages_own_with_a_limit(answers, references, folder)
    assert found[0] != pytest.approx(bare[0], abs=1e-4)
    # With the space written out, the package sees the same tokens.
    assert packages_own_with_a_limit(answers, references, folder, add_prefix_space=True)[0] == pytest.approx(found[0])


def packages_own_with_a_limit(answers, references, folder, **settings):
    scorer = BERTScorer(model_type=str(folder), num_layers=2, device="cpu")
    scorer._tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=32, **settings)
    return torch.stack(scorer.score(answers, references), dim=-1).tolist()


def test_a_folder_may_be_called_as_it_likes(tmp_path):
    folder = tmp_path / "best5-t5" / "encoder"
    AutoModel.from_pretrained(minilm()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder)
    with pytest.raises(Exception, match=r".+"):  # it loads a T5, or breaks at the attempt
        assert packages_own(["hello"], ["hello there"], folder, LAYER) == values(["hello"], ["hello there"])
    assert values(["hello"], ["hello there"], folder) == values(["hello"], ["hello there"])


def test_files_in_16_bits_are_computed_in_32(tmp_path):
    folder = tmp_path / "half"
    AutoModel.from_pretrained(minilm()).half().save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder)
    assert next(BERTScorer(model_type=str(folder), num_layers=LAYER)._model.parameters()).dtype == torch.float16
    encoder = Encoder(str(folder), LAYER)
    assert encoder.encode([encoder.tokens("hello")]).dtype == torch.float32


def test_padding_is_no_better_match_than_an_opposite():
    """Seen with vectors of our own: those of real encoders point too much into one direction."""

    class Opposites:
        """A fake encoder, of which each answer token is the opposite of each reference token."""

        device, tokenizer = torch.device("cpu"), None
        tokens, batches = load_encoder(minilm(), LAYER).tokens, load_encoder(minilm(), LAYER).batches

        def encode(self, texts):
            return -torch.ones(len(texts), max(len(text.ids) for text in texts), 4)

    real = load_encoder(minilm(), LAYER)
    references = real.encode_all(["one", "one two three four"])
    references.vectors.resize_(len(references.ids), 4).fill_(1.0)
    found = compare(Opposites(), [real.tokens("two")] * 2, references, lambda ids: [1.0] * len(ids))
    assert found == [pytest.approx((-1, -1, -1))] * 2
    # The package, with the shorter reference padded to the longer one.
    ours, theirs = -torch.ones(2, 3, 4), torch.ones(2, 6, 4)
    masks, weights = torch.ones(2, 6), torch.ones(2, 6)
    masks[0, 3:] = weights[0, 3:] = 0
    precision, _, _ = greedy_cos_idf(theirs, masks, weights, ours, torch.ones(2, 3), torch.ones(2, 3))
    assert precision.tolist() == pytest.approx([0, -1])


def test_tokens_that_all_references_have_weigh_nothing():
    bare = packages_own(["hello"], ["hello"], minilm(), LAYER, idf=True)
    assert bare[0][0] != bare[0][0]  # NaN, which is no value
    assert values(["hello"], ["hello"], idf=True) == [[0, 0, 0]]


# -- long texts


def test_long_texts_are_cut_as_the_package_cuts_them_and_counted():
    long = "the cat sat on the mat " * 200
    answers, references = [long, "a cat"], ["the cat", long + "and slept"]
    assert [pytest.approx(row, abs=1e-5) for row in packages_own(answers, references, minilm(), LAYER)] == values(
        answers, references
    )
    told = about(Texts(answers, references), Options(encoder=minilm(), layer=LAYER))
    assert (told["counts"]["answers_cut"], told["counts"]["references_cut"]) == (1, 1)
    assert told["encoder"]["longest"] == 512


def test_roberta_has_two_positions_less_than_it_says(tmp_path):
    folder = random_roberta(tmp_path / "roberta", positions=34)
    encoder = Encoder(str(folder), 2)
    assert encoder.longest == 32
    text = encoder.tokens("the cat sat on the mat " * 20)
    assert text.cut
    assert len(text.ids) == 32
    assert encoder.encode([text]).shape == (1, 32, 32)


# -- settings


def test_the_encoder_and_its_layer_are_the_packages_own_where_none_is_named():
    found = [(options.by.name, options.by.layer) for options in (
        Options(), Options(language="tr"), Options(language="zh"), Options(language="de"),
        Options(encoder="microsoft/deberta-xlarge-mnli"),
    )]  # fmt: skip
    assert found == [
        ("roberta-large", 17), ("dbmdz/bert-base-turkish-cased", 10), ("bert-base-chinese", 8),
        ("bert-base-multilingual-cased", 9), ("microsoft/deberta-xlarge-mnli", 40),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "org/new"}, "name the `layer` whose hidden states are compared: bert-score knows none for"),
        ({"encoder": "./here", "layer": 3, "revision": "abc"}, "`revision` is of an encoder on the hub"),
        ({"rescale": True}, "`rescale` needs the `language`"),
        ({"rescale": True, "language": "tr"}, "no baseline of 'dbmdz/bert-base-turkish-cased' in 'tr'"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings, message):
    with pytest.raises(UserError, match=message):
        as_evaluate("bertscore", **settings)


def test_rescaling_is_linear(monkeypatch):
    assert Options(rescale=True, language="en").baseline() == [0.83150584, 0.8314941, 0.83122575]
    raw = values(["hello there"], ["hello"])[0]
    monkeypatch.setattr(Options, "baseline", lambda self: [0.5, 0.4, 0.2])
    expected = [(value - zero) / (1 - zero) for value, zero in zip(raw, [0.5, 0.4, 0.2], strict=True)]
    assert values(["hello there"], ["hello"])[0] == pytest.approx(expected)


def test_a_missing_encoder_or_layer_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"needs the encoder 'roberta-large'.*downloads"):
        as_evaluate("bertscore").compute(predictions=["a"], references=["b"])
    with pytest.raises(UserError, match="has 6 layers, so there is no layer 7"):
        Encoder(minilm(), 7)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no encoder that transformers can load"):
        Encoder(str(tmp_path / "empty"), 1)


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = random_roberta(tmp_path / "roberta")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the weights are not all there, first encoder.layer.1.output.dense.weight"):
        Encoder(str(folder), 2)


def test_pickled_weights_are_not_loaded(tmp_path):
    folder = random_roberta(tmp_path / "roberta")
    torch.save(AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no encoder that transformers can load"):
        Encoder(str(folder), 2)


# -- other ways in


def test_it_is_a_metric_of_evaluate():
    answers, references = ["The cat sat on a mat.", "hello there"], ["The cat sat on the mat.", "hello you"]
    found = as_evaluate("bertscore", encoder=minilm(), layer=LAYER).compute(predictions=answers, references=references)
    expected = torch.tensor(packages_own(answers, references, minilm(), LAYER)).mean(dim=0).tolist()
    assert list(found) == list(NAMES)
    assert list(found.values()) == pytest.approx(expected, abs=1e-5)


def test_a_file_of_predictions_is_scored(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"id": "a", "prediction": "hello there", "reference": "hello you"}) + "\n")
    _, scored, _ = score_rows(file, ["bertscore"], {"encoder": minilm(), "layer": LAYER})
    assert [each.column.name for each in scored] == list(NAMES)
    assert [each.value for each in scored] == pytest.approx(values(["hello there"], ["hello you"])[0])


def test_a_score_says_how_it_was_made():
    told = about(Texts(["hello"], ["hello"]), Options(encoder=minilm(), layer=LAYER))
    assert told["encoder"]["layer"] == LAYER
    assert len(told["encoder"]["sha256"]) == 64
    assert (told["idf"], told["baseline"]) == (False, None)
    assert set(METRICS["bertscore"].LIBRARIES) == {"bert-score", "transformers", "torch"}
