"""Keys are paid for in GPU hours: one that moves trains, generates or scores everything anew."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import Field
from studies import SMALL, VOTES

from loragrid.study import asking as asking_module
from loragrid.study import resolve as resolve_module
from loragrid.study.keys import BUILD_VERSION, RECIPE_VERSION, key_of, short
from loragrid.study.recipe import Recipe
from loragrid.study.schema import recipe as schema_module
from loragrid.study.schema.evaluations import Decoding
from loragrid.study.schema.models import Build
from loragrid.study.schema.recipe import RecipeSpec

GOLDEN_STUDY = """
    title: Golden
    models:
      hub: {id: org/Base-7B, revision: abc123, precision: nf4}
      made:
        build: {corpus: corpus.txt, layers: 2, hidden: 64}
        precision: 32bit
        template: chat.jinja
    datasets:
      letters:
        source: letters
        path: letters.csv
        form: halves
        steps: [{merge: {minimum: 3}}]
        rows: {train: 100, test: 10}
      tickets: {source: tickets, format: {turns: {form: halves}}, splits: {test: 0.1}, seed: 7}
    recipe: {learning_rate: 2e-4, epochs: 2}
    points:
      - {name: plain, model: hub, dataset: letters}
      - {name: chosen, model: hub, dataset: letters, method: lora, rank: 8, alpha: 16, target_modules: [v_proj, q_proj]}
      - {name: next, model: hub, dataset: letters, parent: plain, learning_rate: 1e-5}
    evaluations:
      greedy: {decoding: {max_new_tokens: 40}}
      sampled: {decoding: {temperature: 0.7}, seed: 5, turns: all, rows: 3}
    """

# If one of these moves, what users have is made anew. Change one on purpose only, with a higher version beside it.
GOLDEN = {
    "model from the hub": "4a70b8489088f15eb4b66a8ca599220039a194d26777e6ba6948834a6101c62a",
    "model made here": "877da05502f0c917f759030408f49f92b08f6803eb72ea4974bd2d8b11c66cef",
    "raw, local": "26c7b9e5032d0344c066fc08f84947d64ea6f8c27e5c40972ba58b3959e986bb",
    "clean": "8fd48cd8963fd5b1d8d84685c0546e08e8f7aaf0ad1615d9c95b5e8f35c7bca8",
    "formatted": "349ade7f720de756baf7f5b97b058254b0ea295dfce021b33dc5e74a5bfb52c7",
    "run, at the defaults": "f60b25198ce00e267e60ca0aa5985e646b0eb0f63ac78ca322d32f0782fbb0a4",
    "run, settings of its own": "507d2dda55ad47245eaa83e01fb0b1f91f3639230cd2a490db390075e66629a4",
    "run with a parent": "ceff520bec8284ac01f9d81ea7283ca6388f7431078e420896f5cd9dccd69947",
    "prompts": "d441631158ff790a6cb6c90c485ba756c4d27375d86184971d54a75fc5a762a3",
    "evaluation, greedy": "ae954797effc24f9efae678819ddfec198cbef1d18aec19077014fde4ed01570",
    "evaluation, sampled": "9dce8cfc6ad954c77479970be867a24bbd832274662162468411a248c5f368a3",
    "scores": "3f50e37262a4256ee02175675005525f90ce23c35d417750772546b809d100ef",
}


def golden_keys(place) -> dict[str, str]:
    for name in ("corpus.txt", "chat.jinja", "letters.csv"):
        Path(name).write_text(f"contents of {name}\n", encoding="utf-8")
    grid = place.open(GOLDEN_STUDY)
    models = {model.label: model for model in grid.models.values()}
    runs = {run.label: run for run in grid.runs.values()}
    answers = {item.evaluation: item for item in grid.answers.values() if item.subject == runs["plain"].folder}
    return {
        "model from the hub": models["hub"].key,
        "model made here": models["made"].key,
        "raw, local": grid.raw[grid.clean[runs["plain"].clean].raw].key,
        "clean": grid.clean[runs["plain"].clean].key,
        "formatted": grid.formatted[runs["plain"].formatted].key,
        "run, at the defaults": runs["plain"].key,
        "run, settings of its own": runs["chosen"].key,
        "run with a parent": runs["next"].key,
        "prompts": grid.prompts[answers["greedy"].prompts].key,
        "evaluation, greedy": answers["greedy"].key,
        "evaluation, sampled": answers["sampled"].key,
        "scores": answers["greedy"].scores["rouge"]["key"],
    }


def test_golden_keys(place):
    assert golden_keys(place) == GOLDEN


def test_a_new_field_with_its_default_changes_no_key(place, monkeypatch):
    class NewerSpec(RecipeSpec):
        label_smoothing: float = Field(0.0, ge=0)
        layers: list[int] | None = None

    @dataclass(frozen=True)
    class Newer(Recipe):
        label_smoothing: float = 0
        layers: list[int] | None = None

    monkeypatch.setattr(resolve_module, "RecipeSpec", NewerSpec)
    monkeypatch.setattr(schema_module, "Recipe", Newer)
    assert golden_keys(place) == GOLDEN
    assert NewerSpec(label_smoothing=0.1).recipe().changed() == {"label_smoothing": 0.1}


def test_defaults_stay():
    """What is at its default is not in a key, so another default would take old results for new ones.

    Leave defaults as they are. One that must change needs a higher RECIPE_VERSION, which trains every run anew.
    """
    assert RECIPE_VERSION == 1
    assert (
        key_of("defaults", RecipeSpec().model_dump())
        == "6a8132ab424d75e2640ce87b26b4344c08c018ea9b5aa36a68c4f884170bef70"
    )
    assert (
        key_of("defaults", Decoding().model_dump())
        == "40e6b0f18a397ca3402e05d7d25385cb1e7c88817b6c1666024f98c30f1bea20"
    )
    assert BUILD_VERSION == 1
    assert (
        key_of("defaults", Build(corpus="x").model_dump())
        == "7f3a31e992d3e6a047b64d0ed9c049fef270cbce6a0bc22674cb68cc715c46e4"
    )


def only_run(place, more: str, name: str = "small"):
    (run,) = place.small(more, name=name).runs.values()
    return run


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("recipe: {alpha: 16}", "recipe: {alpha: 16.0}"),
        ("recipe: {epochs: 2}", "recipe: {epochs: 2.0}"),
        ("recipe: {learning_rate: 1e-3}", "recipe: {learning_rate: 0.001}"),
        ("recipe: {rank: 16, alpha: 32, method: qlora}", ""),  # as the defaults are
        ("recipe: {target_modules: [q_proj, v_proj]}", "recipe: {target_modules: [v_proj, q_proj, q_proj]}"),
        ("recipe: {rank: 8}", "grid: {rank: [8]}"),
        ("recipe: {rank: 8}", "points: [{name: named, rank: 8}]"),
    ],
)
def test_the_same_setting_written_otherwise_is_the_same_run(place, one, other):
    assert only_run(place, one, "one").folder == only_run(place, other, "other").folder


@pytest.mark.parametrize(
    "field",
    [
        "method: lora",
        "rank: 8",
        "alpha: 8",
        "dropout: 0.1",
        "target_modules: [q_proj]",
        "rslora: true",
        "epochs: 1.5",
        "max_steps: 7",
        "batch_size: 4",
        "learning_rate: 1e-3",
        "schedule: cosine",
        "warmup: 0.1",
        "optimizer: adamw_8bit",
        "weight_decay: 0.01",
        "max_grad_norm: 0.3",
        "max_length: 64",
        "mask: all",
        "group_by_length: false",
        "evaluations: 1",
        "keep: best",
        "patience: 2",
        "dora: true",
        "initialisation: olora",
        "loraplus: 16",
        "lora_config: {bias: lora_only}",
        "training_arguments: {adam_beta2: 0.95}",
    ],
)
def test_each_recipe_field_is_in_the_key(place, field):
    assert field.split(":")[0] in RecipeSpec.model_fields
    assert only_run(place, f"recipe: {{{field}}}", "one").key != only_run(place, "", "other").key


def test_what_belongs_to_preferences_is_in_the_key(place):
    points = ("", "objective: dpo", "objective: dpo, beta: 0.2", "objective: dpo, adapter: stack", "adapter: stack")
    keys = []
    for point in points:
        data = "votes" if "dpo" in point else "letters"
        other = (
            f"points: [{{name: a, dataset: letters}}, {{name: b, parent: a, dataset: {data}, {point or 'rank: 16'}}}]"
        )
        keys.append(next(run.key for run in place.open(VOTES, other).runs.values() if run.label == "b"))
    assert len(set(keys)) == len(points)


def test_what_generates_answers_is_in_their_key_alone(place):
    asked = (
        "untrained: [base]\nevaluations:\n  here: {decoding: {max_new_tokens: 8}}\n"
        "  there: {decoding: {max_new_tokens: 8}, backend: vllm}\n"
        "  drawn: {decoding: {max_new_tokens: 8, temperature: 1}, backend: vllm}\n"
    )
    grid = place.small(asked)
    by_name = {}
    for answers in grid.answers.values():
        by_name.setdefault(answers.evaluation, []).append(answers)
    here, there, drawn = by_name["here"], by_name["there"], by_name["drawn"]
    assert len({answers.key for answers in (*here, *there, *drawn)}) == 3
    assert {answers.backend for answers in here} == {"transformers"}
    assert {answers.backend for answers in (*there, *drawn)} == {"vllm"}
    same = lambda some: [[score["key"] for score in answers.scores.values()] for answers in some]  # noqa: E731
    assert same(here) == same(there) == same(drawn)
    assert len({grid.prompts[answers.prompts].key for answers in (*here, *there, *drawn)}) == 1
    default = place.small(asked.replace("  here: {", "  here: {backend: transformers, "), name="other")
    assert grid.answers.keys() == default.answers.keys()


OF_PREFERENCES = {"objective", "beta", "adapter"}


def test_no_recipe_field_is_forgotten_above():
    parameters = test_each_recipe_field_is_in_the_key.pytestmark[0].args[1]
    assert {field.split(":")[0] for field in parameters} | OF_PREFERENCES == set(RecipeSpec.model_fields)


def test_an_end_token_is_in_the_key_where_it_is_trained(place):
    def keys(end):
        return [
            [part.key for part in parts.values()]
            for grid in [place.open(SMALL.replace("parameters: 7e9", f"parameters: 7e9{end}"))]
            for parts in (grid.formatted, grid.runs, grid.answers, grid.prompts)
        ]

    before, text, train = keys(""), keys(", end_token: text"), keys(", end_token: train")
    assert text == before
    assert [one == other for one, other in zip(train, before, strict=True)] == [False, False, False, True]


def test_what_is_read_of_a_dialogue_is_in_the_key_where_it_is_not_all_of_it(place):
    def of(evaluation):
        (prompts,) = place.small(f"evaluations: {{test: {evaluation}}}").prompts.values()
        return prompts

    usual = of("{}")
    assert usual.context == {}
    assert of("{context: {}}") == of("{context: {stopwords: keep, turns: null}}") == usual
    others = [
        of(f"{{context: {context}}}")
        for context in ("{turns: 8}", "{stopwords: remove, language: en}", "{stopwords: remove, language: tr}")
    ]
    assert len({prompts.key for prompts in [usual, *others]}) == 4
    assert others[1].context == {"stopwords": "remove", "language": "en"}
    ten = "{kind: prompts, dataset: letters, context: {turns: 8}}"
    assert of(ten).key == others[0].key


def test_a_newer_version_of_contexts_moves_what_has_one(place, monkeypatch):
    def keys():
        grid = place.small("evaluations: {whole: {}, newest: {context: {turns: 8}}}")
        return {prompts.id.rpartition("-")[0]: prompts.key for prompts in grid.prompts.values()}

    before = keys()
    monkeypatch.setattr(asking_module, "CONTEXT_VERSION", 2)
    after = keys()
    assert after["whole"] == before["whole"]
    assert after["newest"] != before["newest"]


HUB = """
    title: x
    models: {{base: {{id: org/base, precision: {}}}}}
    datasets: {{letters: {{source: letters}}}}
    """

MODEL = """
    title: x
    models: {{base: {{id: org/base, {}}}}}
    datasets: {{letters: {{source: letters, path: {}}}}}
    """


def test_places_and_speeds_are_not_in_keys(place, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "letters.csv").write_text("the same")
    (tmp_path / "letters.csv").write_text("the same")
    one = place.open(MODEL.format("micro_batch: 1", "letters.csv"), name="one")
    speeds = "micro_batch: 64, gpus: 4, sharded: true, gradient_checkpointing: false"
    other = place.open(MODEL.format(f"{speeds}, path: there, parameters: 7e9", "there/letters.csv"), name="other")
    for kind in ("raw", "clean", "models", "formatted", "prompts", "runs", "answers"):
        assert getattr(one, kind).keys() == getattr(other, kind).keys()


def test_what_data_and_models_say_is_in_keys(place, tmp_path):
    (tmp_path / "letters.csv").write_text("the same")
    before = place.open(MODEL.format("revision: v1", "letters.csv"))
    (tmp_path / "letters.csv").write_text("not the same")
    after = place.open(MODEL.format("revision: v1", "letters.csv"))
    newer = place.open(MODEL.format("revision: v2", "letters.csv"))
    assert len({*before.runs, *after.runs, *newer.runs}) == 3


def test_the_precision_of_the_base_is_in_the_key(place):
    lora = "recipe: {method: lora}"
    half = place.open(HUB.format("16bit"), lora, name="half")
    single = place.open(HUB.format("32bit"), lora, name="single")
    quantised = place.open(HUB.format("nf4"), lora, name="quantised")
    assert half.runs.keys() != single.runs.keys()
    # LoRA is over a base that is not quantised: the model's `nf4` then means 16 bits.
    assert half.runs.keys() == quantised.runs.keys()
    assert {run.precision for run in place.open(HUB.format("32bit"), name="qlora").runs.values()} == {"nf4"}


def test_a_stage_is_part_of_its_keys():
    assert key_of("clean", {"a": 1}) != key_of("run", {"a": 1})
    assert len(key_of("clean", {})) == 64
    assert len(short(key_of("clean", {}))) == 10


@pytest.mark.parametrize(
    ("kind", "name", "moved"),
    [
        ("sources", "letters", {"clean", "formatted", "prompts", "runs"}),
        ("steps", "merge", {"clean", "formatted", "prompts", "runs"}),
        ("formats", "chat", {"formatted", "prompts", "runs"}),
        ("formats", "turns", set()),  # this study has none of it
    ],
)
def test_a_newer_version_of_a_part_moves_what_is_made_with_it(place, kind, name, moved):
    before = place.small()
    parts = dict(getattr(place.registry, kind))
    parts[name] = SimpleNamespace(**{**vars(parts[name]), "VERSION": 2})
    place.registry = replace(place.registry, **{kind: parts})
    after = place.small()
    kinds = ("raw", "models", "clean", "formatted", "prompts", "runs")
    assert {kind for kind in kinds if getattr(before, kind).keys() != getattr(after, kind).keys()} == moved


def test_a_newer_metric_moves_its_scores_only(place):
    before = place.small()
    newer = SimpleNamespace(**{**vars(place.registry.metrics["rouge"]), "VERSION": 2})
    place.registry = replace(place.registry, metrics={**place.registry.metrics, "rouge": newer})
    after = place.small()
    assert before.answers.keys() == after.answers.keys()
    for one, other in zip(before.answers.values(), after.answers.values(), strict=True):
        assert one.score_file("rouge") != other.score_file("rouge")
        assert one.score_file("sacrebleu") == other.score_file("sacrebleu")
        assert one.score_file("likelihood") == other.score_file("likelihood")
