from dataclasses import replace

import pytest

from loragrid.cli import main
from loragrid.errors import StudyError, UserError
from loragrid.study.open import open_study

BAD = """
    title: [not, text]
    models:
      base: {id: org/base, revison: main, precision: 8bit}
      none: {}
      made: {build: {corpus: nowhere.jsonl, hidden: 128, heads: 3}}
      local: {id: org/local, path: $LORAGRID_UNSET/models, micro_batch: many}
      bad name: {id: org/bad}
    datasets:
      letters: {source: leters}
      tickets: {source: tickets, path: not/there.csv, form: hole, minimun: 3}
      again: {source: letters, splits: {validation: 0.6, test: 0.6}, steps: [trm, {merge: {minimun: 1}}, {}],
              format: pairs}
      votes: {source: votes, format: {pairs: 7}}
    recipe:
      lerning_rate: 2e-4
      optimizer: sgd
    grid:
      rank: [8, eight, 0]
      rnk: [1, 2]
      dropout: []
    points:
      - {name: A, alpah: 16, model: bse}
      - {name: B, parent: C, dataset: letter}
      - {name: B, rows: {training: 5}}
      - {name: D, parent: E}
      - {name: E, parent: D}
    seeds: [-1]
    untrained: [bass]
    evaluations:
      test: {dataset: leters, scores: [txt], decoding: {temprature: 0}}
      test: {split: train}
    published:
      - {source: Table II, metric: sacrebleu, value: high, model: bsae, dataset: ltters, where: {rnk: 8}}
    """


@pytest.fixture
def problems(place):
    with pytest.raises(StudyError) as raised:
        place.open(BAD)
    return raised.value.problems


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("line 32", "the key 'test' is there twice"),
        ("title", "should be a valid string"),
        ("models.base.revison", "unknown key. Did you mean 'revision'? Valid keys: build, date, end_token, gpus, "),
        ("models.base.precision", "'nf4', '16bit' or '32bit', not '8bit'"),
        ("models.none", "give either `id`"),
        ("models.made.build", "heads (3) must divide hidden (128)"),
        ("models.made.build.corpus", "there is no 'nowhere.jsonl'"),
        ("models.local.path", "'$LORAGRID_UNSET/models' uses $LORAGRID_UNSET, not set in the environment"),
        ("models.local.micro_batch", "valid integer, unable to parse string as an integer, not 'many'"),
        ("models.bad name", "should match pattern"),
        ("datasets.letters.source", "there is no 'leters'. Did you mean 'letters'? Valid: letters, tickets, votes."),
        ("datasets.tickets.path", "there is no 'not/there.csv'"),
        ("datasets.tickets.form", "'whole' or 'halves', not 'hole'"),
        (
            "datasets.tickets.minimun",
            "unknown key. Did you mean 'minimum'? Valid keys: contamination, form, format, minimum,",
        ),
        ("datasets.again.steps[0]", "there is no 'trm'. Did you mean 'trim'? Valid: merge, trim."),
        ("datasets.again.steps[1].merge.minimun", "unknown key. Did you mean 'minimum'? Valid keys: form, minimum."),
        ("datasets.again.steps[2]", "needs one name with its options"),
        ("datasets.again.format", "'pairs' is not for what letters has. Valid: chat, turns."),
        ("datasets.votes.format.pairs", "its options are a mapping, not 7"),
        ("datasets.again.splits", "leave nothing to train on"),
        ("recipe.lerning_rate", "unknown key. Did you mean 'learning_rate'? Valid keys: adapter, alpha,"),
        ("recipe.optimizer", "'adamw', 'adamw_8bit' or 'paged_adamw_32bit', not 'sgd'"),
        ("grid.rank[1]", "not 'eight'"),
        ("grid.rank[2]", "greater than or equal to 1, not 0"),
        ("grid.rnk", "unknown key. Did you mean 'rank'?"),
        ("grid.dropout", "an empty list makes an empty grid"),
        ("points[0].alpah", "unknown key. Did you mean 'alpha'?"),
        ("points[0].model", "there is no 'bse'. Did you mean 'base'? Valid: bad name, base, local, made, none."),
        ("points[1].parent", "there is no 'C'. Valid: A, B, D, E."),
        ("points[1].dataset", "there is no 'letter'. Did you mean 'letters'? Valid: again, letters, tickets, votes."),
        ("points[2].rows.training", "unknown key. Did you mean 'train'? Valid keys: test, train, validation."),
        ("points", "the name 'B' is given to 2 points"),
        ("points", "'D' is, through its parents, its own parent"),
        ("seeds[0]", "greater than or equal to 0, not -1"),
        ("untrained[0]", "there is no 'bass'. Did you mean 'base'?"),
        ("published[0].value", "valid number, unable to parse string as a number, not 'high'"),
        ("published[0].model", "there is no 'bsae'. Did you mean 'base'?"),
        ("published[0].dataset", "there is no 'ltters'. Did you mean 'letters'?"),
        ("published[0].where", "there is no 'rnk'. Did you mean 'rank'?"),
    ],
)
def test_every_problem_is_told_at_once(problems, key, said):
    assert [line for line in problems if line.startswith(f"{key}: ") and said in line], "\n".join(problems)


def test_a_repeated_key_hides_no_problem_of_the_rest(problems):
    # Of the two evaluations the last counts, as everywhere in YAML.
    assert "evaluations.test.split: input should be 'validation' or 'test', not 'train'" in problems


def test_problems_of_one_evaluation(place):
    with pytest.raises(StudyError) as raised:
        place.small(
            "evaluations: {test: {dataset: leters, scores: [likelihood, text, txt], decoding: {temprature: 0}}}"
        )
    unknown = "unknown key. Did you mean 'temperature'?"
    valid = "Valid keys: max_new_tokens, repetition_penalty, temperature, top_k, top_p."
    assert raised.value.problems == [
        f"evaluations.test.decoding.temprature: {unknown} {valid}",
        "evaluations.test.dataset: there is no 'leters'. Did you mean 'letters'? Valid: letters.",
        "evaluations.test.scores[2]: there is no 'txt'. Did you mean 'text'? "
        "Valid: likelihood, rouge, sacrebleu, text.",
    ]


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (
            "{kind: replay, dataset: letters, scores: [rouge]}",
            ".scores[0]: 'rouge' compares with a reference, and what was recorded answered another conversation than "
            "the model's own; ask by `kind: dialogue` for that. Valid: none.",
        ),
        (
            "{kind: choice, dataset: letters, decoding: {}}",
            ".decoding: unknown key. Valid keys: chat_template, dataset, kind, rows, scores, shots, split.",
        ),
        (
            "{kind: choice, dataset: letters, split: validation}",
            ": `split: validation` is what the examples are taken from: give `shots: 0`, or ask `test`",
        ),
        ("{kind: dialog}", ".kind: there is no kind 'dialog'. Valid: dialogue, prompts, replay, choice."),
        ("{kind: [prompts]}", ".kind: there is no kind ['prompts']. Valid: dialogue, prompts, replay, choice."),
        ("{kind: prompts}", ".dataset: is missing"),
        (
            "{kind: prompts, dataset: letters, turns: all}",
            ".turns: unknown key. "
            "Valid keys: backend, context, dataset, decoding, kind, rows, scores, seed, split, system.",
        ),
        (
            "{context: {stopwords: remove}}",
            ".context: `stopwords: remove` needs the `language` of the dialogues: en, tr or zh",
        ),
        (
            "{context: {turns: 8, language: en}}",
            ".context: `language` is that of the stopwords: it needs `stopwords: remove`",
        ),
        (
            "{context: {stopwords: remove, language: de}}",
            ".context.language: input should be 'en', 'tr' or 'zh', not 'de'",
        ),
        ("{context: {turns: 0}}", ".context.turns: input should be greater than or equal to 1, not 0"),
        (
            "{context: {turn: 4}}",
            ".context.turn: unknown key. Did you mean 'turns'? Valid keys: language, stopwords, turns.",
        ),
    ],
    ids=str,
)
def test_evaluations_are_checked_by_their_kind(place, evaluation, said):
    with pytest.raises(StudyError) as raised:
        place.small(f"evaluations: {{test: {evaluation}}}")
    (problem,) = raised.value.problems
    assert problem.startswith(f"evaluations.test{said}")


def test_a_published_figure_may_name_an_evaluation_that_there_is(place):
    figure = "published: [{{source: T1, metric: rougeL, value: 1, model: base, evaluation: {}}}]"
    assert place.small(figure.format("test")).published[0]["evaluation"] == "test"  # the one of a study without any
    with pytest.raises(StudyError) as raised:
        place.small(f"evaluations: {{whole: {{}}, bare: {{context: {{turns: 8}}}}}}\n{figure.format('bear')}")
    assert raised.value.problems == [
        "published[0].evaluation: there is no 'bear'. Did you mean 'bare'? Valid: bare, whole."
    ]


def test_prompts_are_asked_as_the_last_turns_of_their_dialogues(place):
    grid = place.small(
        "untrained: [base]\nevaluations: {ten: {kind: prompts, dataset: letters}, last: {dataset: letters}}"
    )
    ten, last = (next(p for p in grid.prompts.values() if p.id.startswith(name)) for name in ("ten", "last"))
    assert ten.turns == "last"
    assert ten.key == last.key


def test_missing_keys_are_named(place):
    with pytest.raises(StudyError) as raised:
        place.open("{title: x, models: {m: {build: {}}}, datasets: {d: {path: .}}, published: [{value: 1}]}")
    assert raised.value.problems == [
        "models.m.build.corpus: is missing",
        "datasets.d: give a `source`, or a `mixture` of other datasets",
        "published[0].source: is missing",
        "published[0].metric: is missing",
        "published[0].model: is missing",
    ]


def test_nothing_is_told_twice_or_cut(problems):
    assert len(problems) == len(set(problems))
    assert not [line for line in problems if "..." in line or "…" in line]


def test_command_line_tells_them_without_a_traceback(place, capsys):
    file = place.write(BAD)
    assert main(["check", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"loragrid: {file}: ")
    assert "Traceback" not in captured.err
    assert captured.err.count("\n  - ") > 30


def test_learning_rates_may_be_written_without_a_dot(place):
    grid = place.small("grid: {learning_rate: [2e-4, 5E-5, 1e-3, 3.0e-4]}")
    assert sorted(run.recipe.learning_rate for run in grid.runs.values()) == [5e-5, 2e-4, 3e-4, 1e-3]


def test_numbers_stay_numbers_where_any_value_is_allowed(place):
    published = "published: [{source: T1, metric: sacrebleu, value: 1, model: base, where: {learning_rate: 2e-4}}]"
    assert place.small(published).published[0]["where"] == {"learning_rate": 2e-4}


def test_merged_defaults_may_be_overridden(place):
    grid = place.open(
        """
        title: Anchors
        models:
          base: {id: org/base}
        datasets:
          letters: &usual {source: letters, seed: 3}
          tickets: {<<: *usual, source: tickets}
        """
    )
    assert {clean.source: clean.seed for clean in grid.clean.values()} == {"letters": 3, "tickets": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: [", "not valid YAML"),
        ("{a: b}: c\n? [x]\n: y", "unhashable"),
        ("- a list", "must be a mapping"),
        ("", "must be a mapping"),
        ("title: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_what_is_no_study(place, text, said):
    with pytest.raises(StudyError, match=said):
        place.open(text)


@pytest.mark.parametrize(
    "text",
    [
        "1: 2",
        "title: x\nmodels: 3\ndatasets: [a]\npoints: {}\ngrid: [1]\nrecipe: 5",
        "title: x\nmodels: {1: {id: a}, b: {id: c}}\ndatasets: {true: {source: [x]}}\nuntrained: [x, 1]",
        "title: x\nmodels: {b: {id: c}}\ndatasets: {}\ngrid: {1: [2]}\nrecipe: {1: 2}\npoints: [{1: 2}]",
        "? \n: x",
    ],
)
def test_wrong_shapes_make_no_traceback(place, text):
    with pytest.raises(StudyError):
        place.open(text)


def test_unknown_study_lists_those_there_are(place):
    place.write("title: x", "summaries")
    place.write("title: x", "letters")
    with pytest.raises(UserError, match=r"Did you mean 'letters'\? Studies in config/studies: letters, summaries\."):
        open_study("leters", place.registry)


def test_weights_are_spread_over_several_gpus_only(place):
    study = "{{title: x, models: {{base: {{id: org/base, sharded: true{}}}}}, datasets: {{d: {{source: letters}}}}}}"
    with pytest.raises(StudyError, match="several GPUs: give their number as `gpus`"):
        place.open(study.format(""))
    assert place.open(study.format(", gpus: 4")).models


def test_no_studies_at_all(place):
    with pytest.raises(
        UserError, match=r"study 'x': no file config/studies/x.yaml\. Studies in config/studies: none\."
    ):
        open_study("x", place.registry)


def test_empty_data_is_a_problem_of_the_study(place, tmp_path):
    def digest(path):
        raise UserError(f"{path}: no files in this folder")

    place.registry = replace(place.registry, digest=digest)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match=r"datasets\.letters\.path: empty: no files"):
        place.open("{title: x, models: {m: {id: a/b}}, datasets: {letters: {source: letters, path: empty}}}")


def test_a_published_figure_names_a_metric_that_exists(place):
    with pytest.raises(StudyError, match=r"published\[0\]\.metric: there is no 'rogueL'\. Did you mean 'rougeL'\?"):
        place.small("published: [{source: Table 1, metric: rogueL, value: 0.3, model: base}]")


def test_one_score_under_two_names_is_told(place):
    scores = "[rouge, {rouge: {label: again}}]"
    with pytest.raises(StudyError, match=r"evaluations\.test\.scores: 'rouge' and 'again' are one score; give it once"):
        place.open(
            f"{{title: x, models: {{base: {{id: a/b}}}}, datasets: {{letters: {{source: letters}}}}, "
            f"evaluations: {{test: {{scores: {scores}}}}}}}"
        )
