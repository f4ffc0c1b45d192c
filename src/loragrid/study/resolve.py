"""From a study to its grid: all combinations, what each needs and what it is asked."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loragrid.errors import StudyError
from loragrid.files import canonical
from loragrid.study.asking import Asking
from loragrid.study.grid import (
    Chat,
    Clean,
    Data,
    Decontaminated,
    Formatted,
    Grid,
    LogProbabilities,
    ModelEntry,
    Prompts,
    Run,
    Untrained,
)
from loragrid.study.keys import (
    LOG_PROBABILITIES_VERSION,
    RECIPE_VERSION,
    key_of,
    short,
)
from loragrid.study.materials import Materials
from loragrid.study.opponents import set_opponents
from loragrid.study.parents import clashes_with_parent
from loragrid.study.preflights import preflights_of
from loragrid.study.problems import describe
from loragrid.study.recipe import Recipe
from loragrid.study.registry import Registry
from loragrid.study.schema.evaluations import ChoiceEvaluation, EvaluationSpec, ReplayEvaluation
from loragrid.study.schema.recipe import Point, RecipeSpec
from loragrid.study.schema.study import Study
from loragrid.study.served import why_not_served
from loragrid.study.together import clashes


def resolve(study: Study, file: Path, registry: Registry) -> Grid:
    """Expand a study into its grid.

    Args:
        study: as `load_study` checked it: all that it refers to exists.
        file: its path, for messages; its stem names the study.
        registry: what the study may name, and the digest of local files.

    Raises:
        StudyError: all that shows only in the combinations, at once: something given twice, parents that do not fit.
    """
    return _Resolver(study, file, registry).grid()


class _Resolver:
    def __init__(self, study: Study, file: Path, registry: Registry):
        self.study = study
        self.file = file
        self.registry = registry
        self.problems: list[str] = []
        self.out = Grid(file.stem, str(file), study.title, study.description)
        self.materials = Materials(study, registry, self.out, self.problems)
        self.asking = Asking(study, registry, self.out, self.materials)

    def grid(self) -> Grid:
        self._runs()
        self._untrained()
        self._answers()
        self.out.preflights = preflights_of(self.out)
        self.out.published = [item.model_dump() for item in self.study.published]
        if self.problems:
            # The same is often found for each model and seed.
            raise StudyError(str(self.file), list(dict.fromkeys(self.problems)))
        return self.out

    # -- subjects

    def _untrained(self) -> None:
        for name in self.study.untrained:
            model = self.materials.models[name]
            # At the precision of each run that it is compared with, or a gain would be one of precision, too.
            of_runs = {run.precision for run in self.out.runs.values() if run.model == model.id}
            for precision in sorted(of_runs) or [model.precision]:
                folder = f"results/untrained/{model.id}-{precision}"
                self.out.untrained[folder] = Untrained(name, model.id, precision, folder)

    def _combinations(self) -> Iterator[tuple[str, Point | None, str | None, Recipe]]:
        """Where each combination stands in the study, its point if it is one, its chat, and its recipe."""
        study = self.study
        given: list[tuple[str, Point | None, dict[str, Any]]] = []
        if study.grid or not study.points:
            products = itertools.product(*study.grid.values())
            given += [("grid", None, dict(zip(study.grid, values, strict=True))) for values in products]
        given += [(f"points[{index}]", point, point.model_extra or {}) for index, point in enumerate(study.points)]
        for where, point, own in given:
            fields = {**study.recipe, **own}
            chat = point.chat if point else fields.pop("chat", None)
            try:
                recipe = RecipeSpec.model_validate(fields).recipe()
            except ValidationError as error:  # fields that are good each by itself
                self.problems += describe(error, RecipeSpec, fields, where)
                continue
            self.problems += [f"{where}.{clash}" for clash in clashes(recipe)]
            yield where, point, chat, recipe

    def _runs(self) -> None:
        materials = self.materials
        # Parents first, so that a child finds its parent's key, even if that was trained on another dataset.
        generations = defaultdict(list)
        by_name = {point.name: point for point in self.study.points}
        for index, combination in enumerate(self._combinations()):
            generations[_ancestors(combination[1], by_name)].append((index, *combination))
        places = list(itertools.product(materials.models, self.study.trained))
        self._check_places()
        runs: list[tuple[tuple[int, int, int], Run]] = []
        named: dict[tuple[str, str, int], dict[str, Run]] = {}
        for generation, (place, (model_name, dataset)) in itertools.product(sorted(generations), enumerate(places)):
            model = materials.models[model_name]
            for index, where, point, chat_name, recipe in generations[generation]:
                if not _applies(point, model_name, dataset):
                    continue
                self._check_objective(where, recipe, dataset, materials.data.formats[dataset]["name"])
                self._check_alone(where, point, recipe, model)
                own_rows = point is not None and (point.rows or point.splits)
                clean = materials.data.of(dataset, point) if own_rows else materials.data.whole[dataset]
                chat = materials.chats[model_name, chat_name]
                self._check_end_token(where, chat, model)
                formatted = materials.formatted(clean, dataset, model, chat, recipe)
                for repeat, seed in enumerate(self.study.seeds):
                    parent = None
                    if point and point.parent:
                        parent = self._parent(where, point, recipe, chat, model_name, dataset, seed, named)
                        if parent is None:
                            continue
                    run = self._run(point, model, dataset, clean, formatted, chat, recipe, seed, parent)
                    runs.append(((place, index, repeat), run))
                    if point and point.name:
                        named.setdefault((point.name, model_name, seed), {})[dataset] = run
        for _, run in sorted(runs, key=lambda item: item[0]):
            self._add(run)

    def _check_places(self) -> None:
        """Points on data that nothing is trained on would vanish without a word."""
        for index, point in enumerate(self.study.points):
            if point.dataset is not None and point.dataset not in self.study.trained:
                self.problems.append(
                    f"points[{index}].dataset: nothing is trained on {point.dataset!r}, which is only asked about or "
                    "part of a mixture; name another, or give that one `train: true`"
                )

    def _check_objective(self, where: str, recipe: Recipe, dataset: str, format_: str) -> None:
        objectives = self.registry.formats[format_].OBJECTIVES
        if recipe.objective not in objectives:
            can = f"that can: {', '.join(objectives)}" if objectives else "none can"
            self.problems.append(
                f"{where}: objective {recipe.objective!r} cannot be trained for on {dataset!r} in the format "
                f"{format_!r} ({can}); name another dataset, or give that one `train: false`"
            )

    def _check_alone(self, where: str, point: Point | None, recipe: Recipe, model: ModelEntry) -> None:
        """What does not go together, whatever the parent is."""
        if recipe.adapter == "stack" and not (point and point.parent):
            self.problems.append(f"{where}.adapter: `stack` puts a new adapter over that of a `parent`: name one")
        if model.sharded and (recipe.objective == "dpo" or recipe.adapter == "stack"):
            what = "objective: dpo" if recipe.objective == "dpo" else "adapter: stack"
            self.problems.append(
                f"{where}: `{what}` does not work with {model.label!r}, whose weights are spread over GPUs (`sharded`)"
            )

    def _check_end_token(self, where: str, chat: Chat, model: ModelEntry) -> None:
        # How a changed embedding comes through being divided among GPUs cannot be tested without them.
        if chat.end_token == "train" and model.sharded:
            self.problems.append(
                f"{where}: `end_token: train` adds a token to {model.label!r}, whose weights are spread over GPUs "
                "(`sharded`), which does not go together; use `end_token: text`"
            )

    def _add(self, run: Run) -> None:
        """Put a run into the grid; the product and a point may come to the same, and then the point names it."""
        other = self.out.runs.get(run.folder)
        if other and other.label and run.label and other.label != run.label:
            self.problems.append(f"points: {run.label!r} is the same training as {other.label!r}; give it once")
        self.out.runs[run.folder] = other if other and other.label else run

    def _parent(
        self,
        where: str,
        point: Point,
        recipe: Recipe,
        chat: Chat,
        model: str,
        dataset: str,
        seed: int,
        named: Mapping[tuple[str, str, int], Mapping[str, Run]],
    ) -> Run | None:
        """The run that a child starts from: same model, same seed, on the child's dataset or its own only one."""
        found = named.get((str(point.parent), model, seed), {})
        parent = found.get(dataset) or next(iter(found.values()), None)
        if parent is None:
            self.problems.append(f"{where}.parent: {point.parent!r} has no run of model {model!r}, which this one has")
        else:
            self.problems += clashes_with_parent(where, point, recipe, chat, parent)
        return parent

    def _run(
        self,
        point: Point | None,
        model: ModelEntry,
        dataset: str,
        clean: Data,
        formatted: Formatted,
        chat: Chat,
        recipe: Recipe,
        seed: int,
        parent: Run | None,
    ) -> Run:
        # The method decides: QLoRA is over NF4; LoRA over the model's own precision, 16 bits if that is NF4.
        precision = "nf4" if recipe.method == "qlora" else model.precision.replace("nf4", "16bit")
        is_dpo = recipe.objective == "dpo"
        compared = self._compared_with(model, precision, formatted, chat, parent) if is_dpo else None
        key = key_of(
            "run",
            {
                "model": model.key,
                "precision": precision,
                "formatted": formatted.key,
                "recipe": recipe.changed(),
                "seed": seed,
                "parent": parent.key if parent else None,
                **({"compared_with": compared.key} if compared else {}),
                "recipe_version": RECIPE_VERSION,
            },
        )
        objective = "dpo-" if is_dpo else ""
        name = f"{objective}r{recipe.rank}-a{recipe.alpha:g}-s{seed}-{short(key)}"
        return Run(
            name=name,
            key=key,
            label=point.name if point else None,
            model=model.id,
            dataset=dataset,
            clean=clean.id,
            formatted=formatted.id,
            precision=precision,
            chat=asdict(chat),
            recipe=recipe,
            seed=seed,
            parent=parent.folder if parent else None,
            compared_with=compared.id if compared else None,
            folder=f"results/runs/{model.slug}/{clean.slug}/{name}",
        )

    def _compared_with(
        self, model: ModelEntry, precision: str, formatted: Formatted, chat: Chat, parent: Run | None
    ) -> LogProbabilities:
        """What a run is compared with in training; runs that differ in their recipe alone share it."""
        settings = {
            "model": model.key,
            "precision": precision,
            "formatted": formatted.key,
            "parent": parent.key if parent else None,
            "version": LOG_PROBABILITIES_VERSION,
        }
        key = key_of("log_probabilities", settings)
        name = f"{parent.name if parent else f'untrained-{precision}'}-{short(key)}"
        id_ = f"{formatted.id}/{name}"
        found = LogProbabilities(
            id_, key, model.id, precision, formatted.id, asdict(chat), parent.folder if parent else None
        )
        return self.out.log_probabilities.setdefault(id_, found)

    # -- what they are asked

    def _answers(self) -> None:
        whole = self.materials.data.whole
        # Datasets that nothing is trained on or asked about are dropped again at the end.
        used = {run.clean for run in self.out.runs.values()}
        for name, spec in self.study.evaluations.items():
            asked: dict[tuple[str, str], Data] = {}  # by dataset and id: points may have rows or splits of their own
            for run in self.out.runs.values():
                # A run is asked about the test rows of the data that it was trained on, which are never trained on.
                dataset = spec.dataset or run.dataset
                clean = whole[dataset] if spec.dataset else self.out.clean[run.clean]
                if isinstance(clean, Decontaminated):  # which is so in what is trained on only
                    clean = self.out.clean[clean.base]
                self._check_leak(name, run, clean, dataset)
                self._check_served(name, spec, run)
                self.asking.ask(name, spec, run, clean, dataset, Chat(**run.chat))
                asked[dataset, clean.id] = clean
            if not asked:
                asked = {
                    (dataset, whole[dataset].id): whole[dataset]
                    for dataset in ([spec.dataset] if spec.dataset else self._to_ask())
                }
            for dataset in sorted({dataset for dataset, _ in asked}):
                self._check_asked(name, spec, dataset)
            for untrained in self.out.untrained.values():
                for ((dataset, _), clean), chat in itertools.product(sorted(asked.items()), self._chats_of(untrained)):
                    self.asking.ask(name, spec, untrained, clean, dataset, chat)
            used |= {clean.id for clean in asked.values()}
        set_opponents(self.out, self.problems)
        self._contamination()
        self._keep(used)

    def _contamination(self) -> None:
        """A report on each dataset that runs are trained on: about what these, and their children, are asked."""
        asked: dict[str, dict[str, Prompts]] = defaultdict(dict)
        for answers in self.out.answers.values():
            trained = self.out.runs.get(answers.subject)
            while trained is not None:
                asked[trained.clean][answers.prompts] = self.out.prompts[answers.prompts]
                trained = self.out.runs[trained.parent] if trained.parent else None
        for clean, prompts in asked.items():
            self.materials.data.contamination(self.out.clean[clean], prompts)

    def _keep(self, used: set[str]) -> None:
        """Drop cleaned data and downloads that nothing is made from."""
        waiting = list(used)
        while waiting:
            new = set(self.out.made_from(waiting.pop())) - used
            used |= new
            waiting += new
        self.out.clean = {id_: data for id_, data in self.out.clean.items() if id_ in used}
        read = [data for data in self.out.clean.values() if isinstance(data, Clean)]
        self.out.raw = {clean.raw: self.out.raw[clean.raw] for clean in read}

    def _chats_of(self, untrained: Untrained) -> list[Chat]:
        """In which chats an untrained model is asked: those of its runs, or its own if it has none."""
        of_runs = [Chat(**run.chat) for run in self.out.runs.values() if run.model == untrained.model]
        # Where runs differ in the end token alone, what is asked of the untrained model has the name of those with the
        # text, which are asked just the same: the last of equals gives it.
        of_runs.sort(key=lambda chat: chat == chat.untrained())
        asked = {canonical(asdict(chat.untrained())): chat.untrained() for chat in of_runs}
        return list(asked.values()) or [self.materials.chats[untrained.name, None].untrained()]

    def _to_ask(self) -> list[str]:
        """What untrained models alone are asked about where an evaluation does not say it."""
        return self.study.trained or list(self.study.datasets)

    def _check_leak(self, evaluation: str, run: Run, asked: Data, dataset: str) -> None:
        """Refuse to ask a run about data of which it, or a parent, may have been trained on the test rows."""
        trained: Run | None = run
        while trained is not None:
            pairs = itertools.product(self.out.read_for(trained.clean), self.out.read_for(asked.id))
            if any(one.raw == other.raw and _split_by(one) != _split_by(other) for one, other in pairs):
                self.problems.append(
                    f"evaluations.{evaluation}: asks {run.label or run.name} about {dataset!r}, which is split in "
                    "another way there than where it was trained: test rows would be training rows. Give both the "
                    "same splits, seed and way of reading."
                )
                return
            trained = self.out.runs[trained.parent] if trained.parent else None

    def _check_served(self, evaluation: str, spec: EvaluationSpec, run: Run) -> None:
        """Refuse to ask a run by a backend that cannot have its adapter: told before it is trained, not after."""
        if isinstance(spec, ChoiceEvaluation) or spec.backend != "vllm":
            return
        for why in why_not_served(run):
            self.problems.append(
                f"evaluations.{evaluation}.backend: vLLM cannot serve {run.label or run.name}, which has {why}; use "
                "`transformers`"
            )

    def _check_asked(self, name: str, spec: EvaluationSpec, dataset: str) -> None:
        format_ = self.materials.data.formats[dataset]["name"]
        about = f"evaluations.{name}: asks about {dataset!r}, whose format {format_!r}"
        if isinstance(spec, ReplayEvaluation):
            if self.registry.formats[format_].KIND is not self.registry.formats["chat"].KIND:
                self.problems.append(f"{about} makes no conversations that could be replayed")
        elif not self.registry.formats[format_].HAS_ANSWERS:
            self.problems.append(f"{about} has no answers to compare with; ask its questions by `kind: replay`")


def _split_by(clean: Clean) -> tuple[Any, ...]:
    """What decides which split a record comes to: what is read, and how it is shared out."""
    return clean.source, clean.version, clean.read, clean.splits, clean.seed


def _ancestors(point: Point | None, by_name: Mapping[str | None, Point]) -> int:
    """How many trainings come before a point's own; `load_study` refuses circles."""
    number = 0
    while point is not None and point.parent is not None:
        number += 1
        point = by_name[point.parent]
    return number


def _applies(point: Point | None, model: str, dataset: str) -> bool:
    return point is None or (point.model or model, point.dataset or dataset) == (model, dataset)
