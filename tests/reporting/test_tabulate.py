"""The written tables and pages."""

import csv
import dataclasses
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loragrid.reporting.tabulate import tabulate, terminal_table


def read(name, folder="results/studies/demo"):
    with Path(folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def everything():
    return {path: path.read_bytes() for path in sorted(Path("results/studies/demo").rglob("*")) if path.is_file()}


def test_the_comparison_has_a_row_for_everything_and_the_best_is_chosen_on_validation(demo):
    tabulate(demo.grid)
    rows = read("comparison.csv")
    assert [(row["run"][:4], row["status"], row["verdict"], row["best"]) for row in rows] == [
        ("untr", "done", "", ""),
        ("r8-a", "done", "better", "yes"),
        ("r16-", "done", "chance", ""),
        ("r32-", "missing", "", ""),
        ("r64-", "failed", "", ""),
    ]
    assert rows[3]["reason"] == "not trained yet"
    assert rows[4]["reason"] == "failed in train: NaN loss at step 12 (log logs/x.log)"
    assert (rows[2]["bits_per_byte_gain"], rows[2]["bits_per_byte_p"]) == ("0", "1")
    assert float(rows[1]["bits_per_byte_gain"]) == pytest.approx(
        float(rows[0]["bits_per_byte"]) - float(rows[1]["bits_per_byte"]), abs=1e-4
    )
    assert rows[1]["answers"] == "24"


def test_columns(demo):
    tabulate(demo.grid)
    assert list(read("comparison.csv")[0]) == [
        "model", "dataset", "evaluation", "run", "label", "method", "precision", "rank", "alpha", "scale", "seed",
        "target_modules", "learning_rate", "trainable_parameters", "train_loss", "validation_loss", "perplexity",
        "bits_per_byte", "rouge1", "rouge2", "rougeL", "rougeLsum", "sacrebleu", "sacrebleu_sentence",
        "bits_per_byte_gain", "bits_per_byte_gain_low", "bits_per_byte_gain_high", "bits_per_byte_p", "verdict", "best",
        "answers", "share_at_limit", "train_cut", "excluded_share", "excluded", "share_in_training", "status", "reason",
    ]  # fmt: skip


def test_gains_of_all_metrics_and_costs(demo):
    tabulate(demo.grid)
    gains = [row for row in read("gains.csv") if row["run"].startswith("r8-")]
    assert [row["metric"] for row in gains] == [
        "perplexity", "bits_per_byte", "rouge1", "rouge2", "rougeL", "rougeLsum", "sacrebleu", "sacrebleu_sentence",
    ]  # fmt: skip
    assert {row["metric"]: row["verdict"] for row in gains}["rougeL"] == "better"
    assert {row["dialogues"] for row in gains} == {"12"}
    cost = read("cost.csv")
    assert cost[1]["training_tokens_per_second"] == "80"
    assert cost[1]["training_peak_mib"] == "1024"
    assert cost[1]["seconds_per_answer"] == "0.25"
    assert cost[1]["attempts"] == "2"


def test_tables_are_byte_equal_from_run_to_run_and_whatever_the_order_of_files(demo):
    tabulate(demo.grid)
    first = everything()
    for answers in demo.grid.answers.values():
        for id_ in answers.scores:
            if (file := Path(answers.score_file(id_))).exists():
                content = json.loads(file.read_text())
                content["items"].reverse()
                demo.write(str(file), content)
    demo.grid.answers = dict(sorted(demo.grid.answers.items(), key=lambda item: "untrained" in item[0]))
    tabulate(demo.grid)
    assert everything() == first


def test_tables_do_not_depend_on_what_was_compared_before(demo):
    tabulate(demo.grid)
    first, kept = everything(), Path("results/comparisons/demo.json")
    text = kept.read_text()
    tabulate(demo.grid)
    assert everything() == first
    for damage in ("", text.replace("0.", "1.", 1)):
        kept.write_text(damage)
        tabulate(demo.grid)
        assert everything() == first
        assert kept.read_text() == text


def test_few_dialogues_are_told_and_not_called_chance(tree):
    tree.dialogues = 5
    tree.score(tree.untrained(), 50.0)
    answers = tree.run()
    tree.train(answers)
    tree.score(answers, 40.0)
    tabulate(tree.grid)
    row = read("comparison.csv")[1]
    assert row["verdict"] == "too few"
    assert row["reason"] == "too few dialogues for a verdict: 5, at least 6 are needed"
    assert float(row["bits_per_byte_gain_low"]) > 0
    page = Path("results/studies/demo/comparison.html").read_text()
    assert "No claim either way: too few dialogues for a verdict: 5, at least 6 are needed." in page


def test_timings_are_only_in_the_cost_table(demo):
    tabulate(demo.grid)
    first = everything()
    for run in demo.grid.runs.values():
        if (file := Path(run.folder, "run.json")).exists():
            file.write_text(file.read_text().replace('"seconds": 12.5', '"seconds": 99.5'))
    tabulate(demo.grid)
    assert [path.name for path, content in everything().items() if content != first[path]] == ["cost.csv"]


def test_with_nothing_at_all_everything_is_missing(tree):
    tree.untrained()
    tree.run()
    tabulate(tree.grid)
    assert [(row["status"], row["reason"]) for row in read("comparison.csv")] == [
        ("missing", "not asked yet"), ("missing", "not trained yet"),
    ]  # fmt: skip
    folder = Path("results/studies/demo")
    assert "none of 1 runs is trained" in (folder / "figures/loss-tiny.ed.svg").read_text()
    assert "not trained yet" in (folder / "examples/tiny.ed.html").read_text()
    assert (folder / "gains.csv").read_text().startswith("model,dataset,evaluation,run")
    assert "not trained yet" in terminal_table(tree.grid)


def test_a_study_without_an_untrained_model_says_why_there_is_no_gain(tree):
    answers = tree.run()
    tree.train(answers)
    tree.score(answers)
    tabulate(tree.grid)
    (row,) = read("comparison.csv")
    assert (row["status"], row["bits_per_byte_gain"], row["verdict"]) == ("done", "", "")
    assert row["reason"] == "no untrained model in the study to compare with"


def test_answers_that_ran_to_their_limit_and_those_left_out_are_told(tree):
    for answers in (tree.untrained(), tree.run()):
        if answers.subject in tree.grid.runs:
            tree.train(answers)
        tree.score(answers)
        generated = Path(answers.folder, "generation.json")
        tree.write(str(generated), json.loads(generated.read_text()) | {"ended_by_length": 18})
        scored = Path(answers.score_file("likelihood"))
        tree.write(str(scored), json.loads(scored.read_text()) | {"excluded": [{"id": "d99", "reason": "too long"}]})
    tabulate(tree.grid)
    for row in read("comparison.csv"):
        assert (row["answers"], row["share_at_limit"], row["excluded"]) == ("24", "0.75", "1")
        assert row["excluded_share"] == "0.04"
    page = Path("results/studies/demo/comparison.html").read_text()
    warning = (
        "More than 10 % of the answers ran to max_new_tokens without an end: untrained (18 of 24), "
        "r16-a32-s42-0000000000 (18 of 24)."
    )
    assert warning in page
    assert warning in " ".join(terminal_table(tree.grid).split())
    # One of 25 is not much.
    assert "of the references were left out" not in page


def test_stale_figures_pages_and_half_written_files_go(demo):
    folder = Path("results/studies/demo")
    for name in ("figures/loss-old.ed.svg", "examples/old.ed.html", "seeds.csv"):
        demo.write(str(folder / name), "old")
    tabulate(demo.grid)
    assert [path.relative_to(folder).as_posix() for path in everything()] == [
        "comparison.csv", "comparison.html", "comparison.md", "comparison.tex", "contamination.csv", "cost.csv",
        "effects.csv", "examples/tiny.ed.html", "figures/loss-tiny.ed.svg", "gains.csv", "over_best.csv",
        "utterances.csv", "values.csv",
    ]  # fmt: skip


def test_what_tells_rows_apart_stands_in_the_short_tables_too(tree):
    for name in ("kind", "bare"):
        answers = tree.run(seed=len(tree.grid.runs))
        chat = answers.chat | {"name": name, "system": f"Be {name}."}
        tree.grid.runs[answers.subject] = dataclasses.replace(tree.grid.runs[answers.subject], chat=chat)
        tree.grid.answers[answers.id] = dataclasses.replace(answers, chat=chat)
    tabulate(tree.grid)
    lines = Path("results/studies/demo/comparison.md").read_text().splitlines()
    header = next(line for line in lines if line.startswith("| run"))
    assert "chat" in header
    assert "kind" in terminal_table(tree.grid)
    assert " data " not in header


class Page(HTMLParser):
    """Collects the tags of a page, and checks that they nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_pages_escape_what_models_and_studies_say(demo):
    tabulate(demo.grid)
    examples = Page(Path("results/studies/demo/examples/tiny.ed.html").read_text())
    assert "script" not in examples.tags
    assert "b" not in examples.tags
    text = "".join(examples.text)
    assert "I am <script>alert('untrained')</script>" in text
    assert "</td></table>**bold** & more" in text
    assert text.index("r8-a16") < text.index("r16-a32")  # the best run first
    comparison = Page(Path("results/studies/demo/comparison.html").read_text())
    assert "small" not in comparison.tags
    assert comparison.tags.count("script") == 1


def test_the_page_says_what_won_and_needs_nothing_else(demo):
    tabulate(demo.grid)
    page = Path("results/studies/demo/comparison.html").read_text()
    assert "Better than the untrained model; chance does not explain it." in page
    assert (
        "it is better in perplexity, ROUGE-1, ROUGE-2, ROUGE-L, ROUGE-Lsum; within chance in BLEU, BLEU of sentences."
        in page
    )
    assert "2 of 4 results are there (1 missing and 1 failed)" in page
    assert '<tr class="failed">' in page
    assert "NaN loss at step 12" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    for link in re.findall(r'href="([^"]+)"', page):
        assert Path("results/studies/demo", link).exists(), link


def test_latex_is_escaped(tree):
    tree.grid.title = "50 % of R&D_{x} costs $5 ~ #1 ^ \\ rank"
    tree.untrained()
    tree.run(label="a_b")
    tabulate(tree.grid)
    text = Path("results/studies/demo/comparison.tex").read_text()
    assert r"50 \% of R\&D\_\{x\} costs \$5 \textasciitilde{} \#1 \textasciicircum{} \textbackslash{} rank" in text
    assert r"a\_b (r16-a32-s42-0000000000)" in text
    assert r"\toprule" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


def test_markdown_columns_align_and_pipes_do_not_break_them(tree):
    base = tree.untrained()
    tree.write(f"{base.folder}/work/failed.json", {"reason": "a | b", "stage": "generate"})
    tree.run()
    tabulate(tree.grid)
    lines = [line for line in Path("results/studies/demo/comparison.md").read_text().splitlines() if line[:1] == "|"]
    assert len({len(line) for line in lines}) == 1
    assert r"failed in generate: a \| b" in lines[2]


def test_published_values_stand_beside_the_rows_they_belong_to(demo):
    entry = {"metric": "rougeL", "model": "tiny", "dataset": None, "subject": "tuned", "where": {}}
    demo.grid.published = [
        {**entry, "source": "Table II", "value": 0.21, "where": {"rank": 8, "alpha": 16.0}},
        {**entry, "source": "Figure 3", "value": [0.2, 0.22], "where": {"rank": 8}},
        {**entry, "source": "Table I", "value": 0.1, "subject": "untrained"},
        {**entry, "source": "Table V", "value": 7.5, "metric": "meteor", "where": {"rank": 32}},
        {**entry, "source": "Table IX", "value": 0.5, "model": "other"},
    ]
    tabulate(demo.grid)
    rows = read("comparison.csv")
    assert [row["rougeL_published"] for row in rows] == [
        "0.1 (Table I)",
        "0.21 (Table II); 0.2, 0.22 (Figure 3)",
        "",
        "",
        "",
    ]
    assert [row["meteor_published"] for row in rows] == ["", "", "", "7.5 (Table V)", ""]


def test_published_values_may_be_of_one_evaluation(demo):
    entry = {"metric": "rougeL", "model": "tiny", "dataset": None, "subject": "untrained", "where": {}}
    demo.grid.published = [
        {**entry, "source": "Table 1", "value": 0.1, "evaluation": "test"},
        {**entry, "source": "Table 2", "value": 0.2, "evaluation": "bare"},
        {**entry, "source": "Table 3", "value": 0.3, "evaluation": None},
    ]
    tabulate(demo.grid)
    assert read("comparison.csv")[0]["rougeL_published"] == "0.1 (Table 1); 0.3 (Table 3)"


def test_seeds_have_their_own_table(tree):
    tree.untrained()
    for seed, nats in ((1, 40.0), (2, 44.0), (3, None)):
        answers = tree.run(seed=seed, rank=8)
        if nats:
            tree.train(answers)
            tree.score(answers, nats)
    tabulate(tree.grid)
    (row,) = read("seeds.csv")
    assert (row["seeds_done"], row["seeds_planned"], row["rank"]) == ("2", "3", "8")
    factor = 40 * 0.6931471805599453
    assert float(row["bits_per_byte_mean"]) == pytest.approx(42 / factor, rel=1e-5)
    assert float(row["bits_per_byte_sd"]) == pytest.approx(8**0.5 / factor, rel=1e-5)


def test_the_terminal_table_fits_and_marks_the_best(demo):
    demo.run(rank=1024, alpha=2048, seed=123456)
    text = terminal_table(demo.grid)
    assert max(map(len, text.splitlines())) <= 120
    assert "1.500*" in text
    assert "↑" not in text
    assert "failed in train: NaN loss at step 12" in text
    assert re.search(r"\+0\.3\d\d \[0\.\d{3}, 0\.\d{3}\]", text)


def test_figures_are_valid_and_colour_the_best_five_of_many(tree):
    for index in range(14):
        answers = tree.run(rank=index + 1)
        if index < 13:
            tree.train(answers, 2 - index / 20)
    tabulate(tree.grid)
    text = Path("results/studies/demo/figures/loss-tiny.ed.svg").read_text()
    ElementTree.fromstring(text)  # noqa: S314 - written just now
    assert "the 5 of 13 runs with the lowest validation loss" in text
    assert "r13-a32" in text
    assert "r2-a32" not in text


def test_a_label_with_dollar_signs_is_no_formula(tree):
    answers = tree.run(label="$a_b$")
    tree.train(answers)
    tabulate(tree.grid)
    assert "$a_b$" in Path("results/studies/demo/figures/loss-tiny.ed.svg").read_text()


def test_paths_are_relative_to_the_working_directory(demo):
    tabulate(demo.grid)
    assert os.getcwd() not in "".join(content.decode() for content in everything().values())  # noqa: PTH109


def test_runs_on_other_rows_are_told_apart_and_none_is_best_over_other_validation_rows(demo, tree):
    tabulate(tree.grid)
    assert "data" not in read("comparison.csv")[0]
    few = dataclasses.replace(tree.grid.clean["ed-1"], id="ed-2", rows={"train": 12, "validation": 2})
    tree.grid.clean["ed-2"] = few
    folder = next(reversed(tree.grid.runs))
    tree.grid.runs[folder] = dataclasses.replace(tree.grid.runs[folder], clean="ed-2")
    tabulate(tree.grid)
    rows = read("comparison.csv")
    assert {row["data"] for row in rows} == {"all", "train 12, validation 2"}
    assert not any(row["best"] for row in rows)
    assert "No run is marked as the best" in Path(tree.grid.folder, "comparison.html").read_text()


def test_what_generated_answers_is_named_where_it_is_not_transformers_everywhere(demo):
    tabulate(demo.grid)
    assert "backend" not in read("comparison.csv")[0]
    (last, answers), *_ = reversed(demo.grid.answers.items())
    demo.grid.answers[last] = dataclasses.replace(answers, backend="vllm")
    tabulate(demo.grid)
    named = [row["backend"] for row in read("comparison.csv")]
    assert sorted(named) == ["transformers"] * (len(named) - 1) + ["vllm"]
