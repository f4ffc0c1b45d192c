import json
import re
from pathlib import Path

import pytest
from studies import DPO, SMALL, VOTES

from loragrid.errors import StudyError, UserError
from loragrid.study.grid import Grid
from loragrid.study.open import open_study, recorded_study

TWO_BY_TWO = """
    title: Two models, two datasets
    models:
      base: {id: org/base}
      chat: {id: org/chat}
    datasets:
      letters: {source: letters}
      tickets: {source: tickets}
    """


def labels(grid: Grid) -> list[tuple]:
    return [(run.label, grid.models[run.model].label, run.dataset, run.seed) for run in grid.runs.values()]


def test_product(place):
    grid = place.open(TWO_BY_TWO, "grid: {rank: [4, 8, 16], alpha: [16, 32]}\nseeds: [1, 2]")
    assert len(grid.runs) == 2 * 2 * 3 * 2 * 2
    assert len({run.key for run in grid.runs.values()}) == len(grid.runs)
    assert {(run.recipe.rank, run.recipe.alpha) for run in grid.runs.values()} == {
        (rank, alpha) for rank in (4, 8, 16) for alpha in (16, 32)
    }
    assert len(grid.formatted) == 4
    assert len(grid.prompts) == 2


def test_a_run_is_named_by_what_people_look_for(place):
    (run,) = place.small("recipe: {rank: 8, alpha: 16.5}\nseeds: [7]").runs.values()
    assert run.name == f"r8-a16.5-s7-{run.key[:10]}"
    assert run.folder == f"results/runs/base-7b/letters/{run.name}"


def test_a_study_without_grid_or_points_is_one_run(place):
    assert len(place.small().runs) == 1


def test_points_alone_make_no_product(place):
    assert labels(place.small("points: [{name: a, rank: 4}, {name: b, rank: 8}]")) == [
        ("a", "base", "letters", 42),
        ("b", "base", "letters", 42),
    ]


def test_points_come_after_the_product(place):
    grid = place.small("grid: {rank: [4, 8]}\nrecipe: {dropout: 0.1}\npoints: [{name: a, rank: 2}]")
    assert [(run.label, run.recipe.rank) for run in grid.runs.values()] == [(None, 4), (None, 8), ("a", 2)]
    assert {run.recipe.dropout for run in grid.runs.values()} == {0.1}


def test_a_point_for_one_model_and_dataset(place):
    points = "points: [{name: a, rank: 4, model: chat}, {name: b, rank: 8, dataset: tickets}]"
    assert labels(place.open(TWO_BY_TWO, points)) == [
        ("b", "base", "tickets", 42),
        ("a", "chat", "letters", 42),
        ("a", "chat", "tickets", 42),
        ("b", "chat", "tickets", 42),
    ]


def test_a_point_that_the_product_has_too_gives_it_its_name(place):
    assert labels(place.small("grid: {rank: [4, 8]}\npoints: [{name: a, rank: 8}]")) == [
        (None, "base", "letters", 42),
        ("a", "base", "letters", 42),
    ]


def test_rows_of_a_point_are_other_data_but_the_same_prompts(place):
    grid = place.small("points: [{name: all}, {name: few, rows: {train: 10}}, {name: half, rows: {train: 500}}]")
    runs = {run.label: run for run in grid.runs.values()}
    assert len({run.clean for run in runs.values()}) == 3
    assert len({run.formatted for run in runs.values()}) == 3
    assert grid.clean[runs["few"].clean].rows == {"train": 10}
    assert len(grid.prompts) == 1  # the test rows are the same


def test_rows_of_the_tested_split_are_other_prompts(place):
    grid = place.small("points: [{name: all}, {name: few, rows: {test: 10}}]\nuntrained: [base]")
    assert len(grid.prompts) == 2
    (untrained,) = grid.untrained
    assert len([item for item in grid.answers.values() if item.subject == untrained]) == 2


def test_other_splits_are_other_prompts(place):
    grid = place.small("points: [{name: one, splits: {test: 0.1}}, {name: two, splits: {test: 0.2}}]")
    assert len(grid.prompts) == 2
    assert len(grid.clean) == 2  # and none for the data as they are, which nothing uses


PARENTS = "points: [{name: c, parent: b, epochs: 3}, {name: b, parent: a, epochs: 2}, {name: a, epochs: 1}]\n"


def test_a_chain_of_parents_in_any_order(place):
    grid = place.small(PARENTS + "seeds: [1, 2]")
    runs = {(run.label, run.seed): run for run in grid.runs.values()}
    assert [label for label, _ in runs] == ["c", "c", "b", "b", "a", "a"]
    for seed in (1, 2):
        assert runs["a", seed].parent is None
        assert runs["b", seed].parent == runs["a", seed].folder
        assert runs["c", seed].parent == runs["b", seed].folder


def test_another_parent_is_another_run(place):
    template = "points: [{{name: a, epochs: {}}}, {{name: b, parent: a, epochs: 5}}]"
    one = place.small(template.format(1), name="one")
    other = place.small(template.format(2), name="other")
    assert not one.runs.keys() & other.runs.keys()


@pytest.mark.parametrize("order", ["letters, tickets", "tickets, letters"])
def test_a_parent_may_be_trained_on_another_dataset(place, order):
    datasets = ", ".join(f"{name}: {{source: {name}}}" for name in order.split(", "))
    grid = place.open(
        f"{{title: x, models: {{base: {{id: org/base}}}}, datasets: {{{datasets}}},"
        " points: [{name: first, dataset: tickets}, {name: then, dataset: letters, parent: first}]}"
    )
    runs = {run.label: run for run in grid.runs.values()}
    assert runs["then"].parent == runs["first"].folder
    assert runs["then"].dataset == "letters"


def test_parents_are_of_the_same_model_and_dataset(place):
    grid = place.open(TWO_BY_TWO, "points: [{name: a}, {name: b, parent: a, epochs: 1}]")
    for run in grid.runs.values():
        if run.label == "b":
            parent = grid.runs[run.parent]
            assert (parent.label, parent.model, parent.dataset) == ("a", run.model, run.dataset)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("{name: a, parent: b}, {name: b, parent: c}, {name: c, parent: a}", "'a' is, through its parents, its own"),
        ("{name: a, parent: a}", "'a' is, through its parents, its own parent"),
        (
            "{name: a}, {name: b, parent: a, rank: 8}",
            r"points\[1\]\.rank: .* adapter of 'a', so it must be 16 .* not 8",
        ),
        ("{name: a, model: base}, {name: b, parent: a, model: chat}", r"points\[1\]\.parent: 'a' has no run of model"),
        ("{name: a}, {name: b}", "'b' is the same training as 'a'; give it once"),
    ],
)
def test_points_that_do_not_fit(place, points, said):
    with pytest.raises(StudyError, match=said):
        place.open(TWO_BY_TWO, f"points: [{points}]")


def test_the_same_thing_twice(place):
    with pytest.raises(StudyError) as raised:
        place.open(
            """
            title: Twice
            models: {one: {id: org/base}, two: {id: org/base, micro_batch: 2}}
            datasets: {here: {source: letters}, there: {source: letters}}
            """
        )
    assert raised.value.problems == [
        "models.two: is the same model as 'one'; give it once and vary `method` or the recipe",
        "datasets.there: is the same data as 'here'; give it once",
    ]


def test_untrained_models_are_asked_the_same(place):
    grid = place.open(TWO_BY_TWO, "untrained: [chat]\nevaluations: {test: {}, check: {split: validation}}")
    (untrained,) = grid.untrained.values()
    asked = {item.prompts for item in grid.answers.values() if item.subject == untrained.folder}
    assert asked == set(grid.prompts)
    assert len(asked) == 4
    assert grid.subject(untrained.folder) is untrained


def test_an_evaluation_on_one_dataset(place):
    grid = place.open(TWO_BY_TWO, "untrained: [base]\nevaluations: {test: {dataset: letters}}")
    assert {item.dataset for item in grid.answers.values()} == {"letters"}
    assert len(grid.answers) == len(grid.runs) + 1


def test_answers_without_generations(place):
    (answers,) = place.small("evaluations: {test: {scores: [likelihood]}}").answers.values()
    assert answers.generations is None
    assert answers.made_with("model") == ["likelihood"]


def test_greedy_decoding_has_no_seed(place):
    greedy = [place.small(f"evaluations: {{test: {{seed: {seed}}}}}").answers.keys() for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    sampled = "evaluations: {{test: {{seed: {}, decoding: {{temperature: 1}}}}}}"
    assert place.small(sampled.format(1)).answers.keys() != place.small(sampled.format(2)).answers.keys()


def test_two_studies_share_what_is_the_same(place):
    one = place.small("grid: {rank: [4, 8]}", name="one")
    other = place.small("grid: {rank: [8, 16]}\ndescription: another", name="other")
    shared = one.runs.keys() & other.runs.keys()
    assert [one.runs[folder].recipe.rank for folder in shared] == [8]
    assert len(one.answers.keys() & other.answers.keys()) == 1
    assert one.folder != other.folder


def test_published_figures(place):
    published = """
        published:
          - {source: Table II, metric: sacrebleu, value: [1.5, 2], model: base, where: {rank: 8}}
        """
    (figure,) = place.small(published).published
    assert figure == {
        "source": "Table II", "metric": "sacrebleu", "value": [1.5, 2.0], "model": "base", "dataset": None,
        "evaluation": None,
        "subject": "tuned", "where": {"rank": 8},
    }  # fmt: skip


def test_json_round_trip(place):
    grid = place.open(
        TWO_BY_TWO,
        PARENTS,
        "untrained: [base]\npublished: [{source: T1, metric: sacrebleu, value: 1, model: base}]",
    )
    assert Grid.from_json(grid.to_json()) == grid
    assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


def test_recorded_for_jobs_and_rewritten_only_when_it_changes(place):
    grid = place.small()
    grid.record()
    file = Path("results/studies/small/study.json")
    first = file.stat().st_mtime_ns
    assert recorded_study("small") == recorded_study("config/studies/small.yaml") == open_study(str(file), None) == grid
    place.small().record()
    assert file.stat().st_mtime_ns == first
    changed = place.small("seeds: [1]")
    changed.record()
    assert recorded_study("small") == changed


def test_a_study_with_a_dot_in_its_name(place):
    grid = place.small(name="paper-v1.5")
    grid.record()
    assert recorded_study("paper-v1.5") == grid


@pytest.mark.parametrize("content", ["{}", '{"runs": {"a": {"rank": 1}}}', '{"new": {}}'])
def test_recorded_by_another_version(place, content):
    file = Path("results/studies/small/study.json")
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(UserError, match="another version of loragrid"):
        recorded_study("small")


def test_untrained_models_are_scored_at_the_precision_of_the_runs_they_are_compared_with(place):
    grid = place.small("untrained: [base]\ngrid: {method: [lora, qlora]}")
    assert {item.precision for item in grid.untrained.values()} == {"nf4", "16bit"}


def test_asking_about_rows_that_may_have_been_trained_on_is_refused(place):
    with pytest.raises(StudyError, match=r"evaluations\.test: asks .* about 'again', .* would be training rows"):
        place.open(
            """
            title: The same data, split in two ways
            models:
              base: {id: org/base}
            datasets:
              once: {source: letters, splits: {test: 0.1}, seed: 0}
              again: {source: letters, splits: {test: 0.1}, seed: 7}
            points: [{dataset: once}]
            evaluations:
              test: {dataset: again}
            """
        )


def test_a_second_study_of_the_same_name_does_not_overwrite_the_first_ones_tables(place):
    place.small().record()
    other = place.write(Path("config/studies/small.yaml").read_text(), "other/small")
    with pytest.raises(UserError, match=r"holds the tables of config/studies/small\.yaml"):
        open_study(str(other), place.registry)


def with_data(place, datasets, more=""):
    """The grid of a study with the letters and other datasets."""
    return place.open(
        f"{{title: x, models: {{base: {{id: a/b}}}}, datasets: {{letters: {{source: letters}}, {datasets}}}, {more}}}"
    )


def test_one_dataset_in_two_formats_is_cleaned_once(place):
    grid = with_data(place, "turns: {source: letters, format: turns}")
    assert len(grid.clean) == 1
    assert {run.dataset for run in grid.runs.values()} == {"letters", "turns"}
    assert len({run.formatted for run in grid.runs.values()}) == 2
    assert sorted(prompts.format["name"] for prompts in grid.prompts.values()) == ["chat", "turns"]


def test_the_same_data_given_twice_is_a_problem(place):
    with pytest.raises(StudyError, match=r"datasets\.again: is the same data as 'letters'; give it once"):
        with_data(place, "again: {source: letters, steps: [trim, {merge: {minimum: 2}}], format: chat}")


def test_data_that_is_only_asked_about_is_not_trained_on_and_needs_no_training_rows(place):
    more = "untrained: [base], evaluations: {own: {}, other: {dataset: asked}}"
    grid = with_data(place, "asked: {source: tickets, train: false}", more)
    assert {run.dataset for run in grid.runs.values()} == {"letters"}
    asked = {(item.evaluation, item.dataset) for item in grid.answers.values()}
    assert asked == {("own", "letters"), ("other", "asked")}
    assert {clean.source: clean.needs for clean in grid.clean.values()} == {
        "letters": ["train", "validation", "test"],
        "tickets": ["test"],
    }


def test_what_nothing_uses_is_not_made(place):
    grid = with_data(place, "unused: {source: tickets, train: false}")
    assert [clean.source for clean in grid.clean.values()] == ["letters"]


def test_preference_pairs_cannot_be_answers_to_learn(place):
    with pytest.raises(StudyError, match=r"grid: objective 'sft' cannot be trained for on 'votes' in the format"):
        with_data(place, "votes: {source: votes}")
    with_data(place, "votes: {source: votes, train: false}")


# -- preferences

SFT = "{name: a, dataset: letters}"
CHILD = f"parent: a, {DPO}"


def with_points(place, *points, models=VOTES):
    return place.open(models, f"points: [{', '.join((SFT, *points))}]")


def test_runs_with_one_parent_are_compared_with_the_same(place):
    grid = with_points(place, f"{{name: b, {CHILD}}}", f"{{name: c, {CHILD}, beta: 0.2, adapter: stack, rank: 4}}")
    runs = {run.label: run for run in grid.runs.values()}
    (compared,) = grid.log_probabilities.values()
    assert [runs[name].compared_with for name in "abc"] == [None, compared.id, compared.id]
    assert compared.run == runs["a"].folder
    assert f"/{runs['a'].name}-" in compared.file
    assert runs["b"].name.startswith("dpo-r16-a32-s42-")


def test_without_a_parent_it_is_the_untrained_model(place):
    (compared,) = with_points(place, f"{{name: b, {DPO}}}").log_probabilities.values()
    assert compared.run is None
    assert "/untrained-nf4-" in compared.id


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("dataset: letters, objective: dpo", r"'dpo' cannot be trained for on 'letters' .*can: sft"),
        ("dataset: letters, beta: 0.2", r"points\[1\].*beta: belongs to DPO; give `objective: dpo`"),
        (f"{CHILD}, mask: all", r"points\[1\].*mask: DPO compares answers"),
        ("dataset: letters, adapter: stack", r"points\[1\]\.adapter: `stack` puts .*`parent`"),
        (f"{CHILD}, rank: 4", r"points\[1\]\.rank: training goes on with the adapter of 'a'"),
        (f"{CHILD}, method: lora, adapter: stack", r"points\[1\]\.method: goes on .*'qlora'"),
    ],
)
def test_what_does_not_go_together(place, point, problem):
    with pytest.raises(StudyError, match=problem):
        with_points(place, f"{{name: b, {point}}}")


def test_what_goes_together_may_stand_apart(place):
    votes = VOTES.replace("      letters: {source: letters}\n", "")
    grid = place.open(votes, "recipe: {objective: dpo}", "grid: {beta: [0.1, 0.2]}")
    assert [run.recipe.beta for run in grid.runs.values()] == [0.1, 0.2]
    with pytest.raises(StudyError, match=r"grid\.warmup: 0\.5 with `max_steps: 1`") as raised:
        place.open(SMALL, "recipe: {warmup: 0.1, max_steps: 1}", "grid: {warmup: [0, 0.5]}")
    assert "0.1" not in str(raised.value)


@pytest.mark.parametrize(("parent", "said"), [
    ("dora: true", "'a' is trained with `dora`, which changes the base's weights, too"),
    ("lora_config: {lora_bias: true}", "'a' is trained with `lora_config: {lora_bias: …}`, which is more than an upd"),
    ("lora_config: {bias: all}", "'a' is trained with `lora_config: {bias: …}`"),
    ("lora_config: {target_parameters: [mlp.w]}", "'a' is trained with `lora_config: {target_parameters: …}`"),
])  # fmt: skip
def test_nothing_is_stacked_over_what_is_more_than_an_update_of_layers(place, parent, said):
    points = f"[{{name: a, dataset: letters, {parent}}}, {{name: b, parent: a, {DPO}, adapter: stack, rank: 4}}]"
    with pytest.raises(StudyError, match=re.escape(f"points[1].adapter: {said}")):
        place.open(VOTES, f"points: {points}")


def test_a_stack_has_no_one_rank_to_go_on_with(place):
    stack = f"{{name: b, {CHILD}, adapter: stack}}"
    with pytest.raises(
        StudyError, match=r"points\[2\]\.adapter: 'b' has several adapters in one.*use `adapter: stack`"
    ):
        with_points(place, stack, f"{{name: c, parent: b, {DPO}}}")
    assert len(with_points(place, stack, f"{{name: c, parent: b, {DPO}, adapter: stack}}").runs) == 3


def test_a_sharded_model_cannot_learn_from_preferences(place):
    sharded = VOTES.replace("parameters: 7e9", "gpus: 2, sharded: true")
    with pytest.raises(StudyError, match=r"`objective: dpo` does not work with 'base', whose weights are spread"):
        with_points(place, f"{{name: b, {DPO}}}", models=sharded)


# -- chats

CHATS = """
    models: {base: {id: a/b, template: chatml, system: Be brief.}}
    title: x
    datasets: {letters: {source: letters}}
    chats: {kind: {system: Be kind.}, bare: {template: chat.jinja, system: "", template_arguments: {thinking: false}}}
    untrained: [base]
    """


def test_chats_are_an_axis_and_untrained_models_are_asked_in_each_chat_of_their_runs(place):
    Path("chat.jinja").write_text("{{ messages }}")
    grid = place.open(CHATS, "grid: {chat: [kind, bare], rank: [4, 8]}")
    runs = list(grid.runs.values())
    assert [(run.chat["name"], run.recipe.rank) for run in runs] == [
        ("kind", 4),
        ("kind", 8),
        ("bare", 4),
        ("bare", 8),
    ]
    kind, bare = runs[0].chat, runs[2].chat
    # What a chat does not say is the model's own.
    assert (kind["template"], kind["system"], kind["arguments"]) == ("chatml", "Be kind.", {})
    assert (bare["template"], bare["system"], bare["arguments"]) == ("chat.jinja", "", {"thinking": False})
    assert len({run.formatted for run in runs}) == len({prompts.key for prompts in grid.prompts.values()}) == 2
    asked = [item.chat["name"] for item in grid.answers.values() if item.subject in grid.untrained]
    assert asked == ["kind", "bare"]
    assert len({item.key for item in grid.answers.values()}) == 2


def test_a_point_has_a_chat_and_the_models_own_is_the_default(place):
    Path("chat.jinja").write_text("{{ messages }}")
    grid = place.open(CHATS, "points: [{name: own}, {name: kind, chat: kind}]")
    assert {run.label: run.chat["name"] for run in grid.runs.values()} == {"own": None, "kind": "kind"}
    assert {run.label: run.chat["system"] for run in grid.runs.values()} == {"own": "Be brief.", "kind": "Be kind."}


def test_another_date_or_argument_is_another_run(place):
    Path("chat.jinja").write_text("{{ messages }}")
    grids = [
        place.open(CHATS, "grid: {chat: [kind]}\nseeds: [1]\n".replace("kind]", f"{name}]"))
        for name in ("kind", "bare")
    ]
    later = place.open(
        CHATS.replace("{system: Be kind.}", "{system: Be kind., date: '2025-01-01'}"),
        "grid: {chat: [kind]}",
        "seeds: [1]",
    )
    assert len({run for grid in (*grids, later) for run in grid.runs}) == 3


ENDS = CHATS.replace("chats: {", "chats: {words: {}, token: {end_token: train}, ")


def test_an_end_token_is_compared_with_the_untrained_model_that_has_none(place):
    Path("chat.jinja").write_text("{{ messages }}")
    # Whichever comes first.
    for order in ("[words, token]", "[token, words]"):
        grid = place.open(ENDS, f"grid: {{chat: {order}}}")
        ends = {run.chat["name"]: run.chat["end_token"] for run in grid.runs.values()}
        assert ends == {"words": "text", "token": "train"}
        assert len({run.formatted for run in grid.runs.values()}) == 2
        (asked,) = (answers for answers in grid.answers.values() if answers.subject in grid.untrained)
        assert (asked.chat["name"], asked.chat["end_token"]) == ("words", "text")
        assert len({answers.key for answers in grid.answers.values()}) == 2
        assert {answers.prompts for answers in grid.answers.values()} == {asked.prompts}
    grid = place.open(ENDS, "grid: {chat: [token]}")
    (asked,) = (answers for answers in grid.answers.values() if answers.subject in grid.untrained)
    assert asked.chat["end_token"] == "text"
    # Of a model without runs it cannot have been trained either.
    alone = place.open(
        ENDS.replace("template: chatml", "template: chatml, end_token: train").replace(
            "{letters: {source: letters}}", "{letters: {source: letters, train: false}}"
        ),
        "evaluations: {test: {dataset: letters}}",
    )
    assert {answers.chat["end_token"] for answers in alone.answers.values()} == {"text"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "points: [{name: first, chat: token}, {name: next, chat: words, parent: first}]",
            r"points\[1\]\.chat: training goes on with the adapter of 'first', and a token that is trained",
        ),
        (
            "points: [{name: first}, {name: next, chat: token, parent: first}]",
            r"points\[1\]\.chat: training goes on with the adapter of 'first', and a token that is trained",
        ),
    ],
)
def test_an_end_token_belongs_to_the_adapter_that_it_was_trained_with(place, more, message):
    Path("chat.jinja").write_text("{{ messages }}")
    with pytest.raises(StudyError, match=message):
        place.open(ENDS, more)


def test_a_child_with_its_parents_end_token(place):
    Path("chat.jinja").write_text("{{ messages }}")
    grid = place.open(ENDS, "points: [{name: first, chat: token}, {name: next, chat: token, parent: first, epochs: 1}]")
    assert [run.parent is None for run in grid.runs.values()] == [True, False]


def test_a_token_is_not_added_to_a_model_that_is_spread_over_gpus(place):
    Path("chat.jinja").write_text("{{ messages }}")
    spread = ENDS.replace("id: a/b,", "id: a/b, gpus: 2, sharded: true,")
    place.open(spread, "grid: {chat: [words]}")
    with pytest.raises(StudyError, match=r"grid: `end_token: train` adds a token to 'base', whose weights are spread"):
        place.open(spread, "grid: {chat: [words, token]}")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("grid: {chat: [kin]}", r"grid\.chat\[0\]: there is no 'kin'. Did you mean 'kind'\?"),
        ("points: [{name: a, chat: kin}]", r"points\[0\]\.chat: there is no 'kin'"),
        ("grid: {chat: []}", r"grid\.chat: an empty list"),
    ],
)
def test_a_chat_that_is_not_there(place, more, message):
    Path("chat.jinja").write_text("{{ messages }}")
    with pytest.raises(StudyError, match=message):
        place.open(CHATS, more)


def test_a_template_that_has_no_such_name(place):
    with pytest.raises(StudyError, match=r"models\.base\.template: there is no 'chatlm'. Did you mean 'chatml'\?"):
        place.open("{title: x, models: {base: {id: a/b, template: chatlm}}, datasets: {letters: {source: letters}}}")


def test_questions_without_answers_are_replayed(tmp_path, monkeypatch):
    from loragrid.plugins import REGISTRY as REAL

    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(
        "{title: x, models: {m: {id: a/b}}, datasets: {own: {source: esconv}, bench: {source: mt_bench, train: false}},"
        " evaluations: {bench: {dataset: bench}}}"
    )
    with pytest.raises(StudyError, match=r"whose format 'replay' has no answers to compare with; .*`kind: replay`"):
        open_study("study.yaml", REAL)
    study = Path("study.yaml").read_text()
    Path("study.yaml").write_text(study.replace("{dataset: bench}", "{kind: replay, dataset: bench, turns: last}"))
    (answers,) = open_study("study.yaml", REAL).answers.values()
    prompts = open_study("study.yaml", REAL).prompts[answers.prompts]
    assert prompts.replay
    assert prompts.turns == "last"
    Path("study.yaml").write_text(
        study.replace("{dataset: bench}", "{kind: replay, scores: [{judge: {model: m, rubric: pairwise}}]}")
    )
    with pytest.raises(StudyError, match=r"scores\[0\]: compares two answers to the same prompt"):
        open_study("study.yaml", REAL)


def test_data_that_is_read_in_another_way_may_be_split_in_another_way(place):
    Path("letters.csv").write_text("a")
    with pytest.raises(StudyError, match="test rows would be training rows"):
        place.open("""
            title: x
            models: {base: {id: a/b}}
            datasets:
              one: {source: letters, path: letters.csv, splits: {test: 0.1}}
              two: {source: letters, path: letters.csv, splits: {test: 0.1}, form: halves, train: false}
            evaluations: {test: {dataset: two}}
            """)
