"""From a study to every artifact it needs: datasets, prompts, runs, answers and scores, each with key and path."""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from loragrid.errors import StudyError
from loragrid.files import canonical, read_json, write_json
from loragrid.study.keys import RECIPE_VERSION, changed, key_of, plain, short
from loragrid.study.load import check_part, suggestion
from loragrid.study.schema import BaseModelSpec, DatasetSpec, EvaluationSpec, Point, Recipe, Study


class Source(Protocol):
    """What the grid needs of a module in data/sources."""

    Options: type


@dataclass(frozen=True)
class Family:
    """A score family: metrics that need the same things and are computed together.

    Args:
        metrics: version of each metric by name; raising one rescores the family.
        needs_model: computed over base and adapter in the generate job, instead of from the generations.
    """

    metrics: Mapping[str, int]
    needs_model: bool


@dataclass(frozen=True)
class Registry:
    """What the stages offer, handed in so that the study package imports none of them.

    Args:
        sources: reader of each original format by name.
        families: score families by name.
        digest: content digest of a local file or folder.
    """

    sources: Mapping[str, Any]
    families: Mapping[str, Family]
    digest: Callable[[Path], str]


@dataclass(frozen=True)
class Raw:
    """A download, or a local copy in its place: `data/raw/<id>/`."""

    id: str
    key: str
    source: str
    path: str | None
    revision: str | None

    @property
    def folder(self) -> str:
        """Where the files and provenance.json lie."""
        return f"data/raw/{self.id}"


@dataclass(frozen=True)
class Clean:
    """A cleaned dataset: `data/clean/<id>/`."""

    id: str
    key: str
    label: str
    raw: str
    raw_key: str
    source: str
    steps: dict[str, Any]
    splits: dict[str, float]
    rows: dict[str, int]
    seed: int

    @property
    def folder(self) -> str:
        """Where {train,validation,test}.jsonl and cleaning.json lie."""
        return f"data/clean/{self.id}"


@dataclass(frozen=True)
class BaseModel:
    """A base model: `data/models/<id>/`."""

    id: str
    key: str
    label: str
    slug: str
    hub: str | None
    revision: str | None
    path: str | None
    build: dict[str, Any] | None
    precision: str
    template: str | None
    template_key: str | None
    system: str | None
    parameters: float | None
    micro_batch: int

    @property
    def folder(self) -> str:
        """Where weights, tokenizer and model.json lie."""
        return f"data/models/{self.id}"


@dataclass(frozen=True)
class Formatted:
    """Tokenised, masked rows of one dataset for one model: `data/formatted/<model>/<dataset>-<key>/`."""

    id: str
    key: str
    clean: str
    model: str
    mask: str
    max_length: int

    @property
    def folder(self) -> str:
        """Where the Arrow rows and format.json lie."""
        return f"data/formatted/{self.id}"


@dataclass(frozen=True)
class Prompts:
    """The prompts and references of an evaluation: `data/prompts/<id>.jsonl`."""

    id: str
    key: str
    clean: str
    split: str
    turns: str
    rows: int | None
    system: str | None
    default_system: str | None

    @property
    def file(self) -> str:
        """Where the prompts lie."""
        return f"data/prompts/{self.id}.jsonl"


@dataclass(frozen=True)
class Run:
    """One training: model × dataset × recipe × seed (× parent run)."""

    name: str
    key: str
    label: str | None
    model: str
    dataset: str
    clean: str
    formatted: str
    precision: str
    recipe: dict[str, Any]
    seed: int
    parent: str | None
    folder: str


@dataclass(frozen=True)
class Untrained:
    """A base model scored as it is; not a run."""

    name: str
    model: str
    precision: str
    folder: str


@dataclass(frozen=True)
class Answers:
    """What one subject (a run or an untrained model) answers to one evaluation, and how that is scored."""

    id: str
    subject: str
    evaluation: str
    model: str
    precision: str
    dataset: str
    prompts: str
    decoding: dict[str, Any]
    seed: int
    key: str
    families: dict[str, str]
    model_families: list[str]
    folder: str

    @property
    def generations(self) -> str | None:
        """The file of answers, if any score family reads it."""
        return f"{self.folder}/generations.jsonl" if len(self.families) > len(self.model_families) else None

    def scores(self, family: str) -> str:
        """The score file of one family."""
        return f"{self.folder}/scores/{family}-{short(self.families[family])}.json"


@dataclass
class Grid:
    """Everything a study needs, by id; what `study.json` holds."""

    study: str
    file: str
    title: str
    description: str
    raw: dict[str, Raw] = field(default_factory=dict)
    clean: dict[str, Clean] = field(default_factory=dict)
    models: dict[str, BaseModel] = field(default_factory=dict)
    formatted: dict[str, Formatted] = field(default_factory=dict)
    prompts: dict[str, Prompts] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    untrained: dict[str, Untrained] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Where the tables of the study lie."""
        return f"results/studies/{self.study}"

    def subject(self, folder: str) -> Run | Untrained:
        """The run or untrained model of a folder."""
        return self.runs.get(folder) or self.untrained[folder]

    def to_json(self) -> dict[str, Any]:
        """Plain values for study.json."""
        return asdict(self)

    def record(self) -> None:
        """Write study.json for the jobs, unless it says the same already."""
        file = Path(self.folder, "study.json")
        content = self.to_json()
        if not file.exists() or canonical(read_json(file)) != canonical(content):
            write_json(file, content)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Grid":
        """The grid that `to_json` made."""
        kinds = {
            "raw": Raw, "clean": Clean, "models": BaseModel, "formatted": Formatted, "prompts": Prompts,
            "runs": Run, "untrained": Untrained, "answers": Answers,
        }  # fmt: skip
        return cls(
            **{
                name: {id_: kinds[name](**item) for id_, item in value.items()} if name in kinds else value
                for name, value in content.items()
            }
        )


def resolve(study: Study, file: Path, registry: Registry) -> Grid:
    """Expand a study into its grid.

    Args:
        study: the checked study.
        file: its path, for messages; its stem names the study.
        registry: sources, score families and the digest of local files.

    Raises:
        StudyError: all references to things that do not exist, at once.
    """
    return _Resolver(study, file, registry).grid()


class _Resolver:
    def __init__(self, study: Study, file: Path, registry: Registry):
        self.study = study
        self.file = file
        self.registry = registry
        self.problems: list[str] = []
        self.out = Grid(file.stem, str(file), study.title, study.description)

    def grid(self) -> Grid:
        self._check_names()
        models = {name: self._model(name, spec) for name, spec in self.study.models.items()}
        raws = {name: self._raw(name, spec) for name, spec in self.study.datasets.items()}
        self._refuse_problems()  # what follows relies on all references being good
        self._untrained(models)
        self._runs(models, raws)
        self._answers(raws)
        self.out.published = [item.model_dump() for item in self.study.published]
        self._refuse_problems()
        return self.out

    def _refuse_problems(self) -> None:
        if self.problems:
            raise StudyError(str(self.file), self.problems)

    # -- references by name

    def _check_names(self) -> None:
        study = self.study
        for index, point in enumerate(study.points):
            self._known(f"points[{index}].model", point.model, study.models)
            self._known(f"points[{index}].dataset", point.dataset, study.datasets)
            self._known(f"points[{index}].parent", point.parent, [p.name for p in study.points if p.name])
        names = [point.name for point in study.points if point.name]
        for name in {name for name in names if names.count(name) > 1}:
            self.problems.append(f"points: the name {name!r} is given to {names.count(name)} points; names are unique")
        for index, name in enumerate(study.untrained):
            self._known(f"untrained[{index}]", name, study.models)
        for name, evaluation in study.evaluations.items():
            self._known(f"evaluations.{name}.dataset", evaluation.dataset, study.datasets)
            for index, family in enumerate(evaluation.scores):
                self._known(f"evaluations.{name}.scores[{index}]", family, self.registry.families)
        for index, published in enumerate(study.published):
            self._known(f"published[{index}].model", published.model, study.models)
            self._known(f"published[{index}].dataset", published.dataset, study.datasets)
            for axis in published.where:
                self._known(f"published[{index}].where", axis, [*Recipe.model_fields, "name"])

    def _known(self, where: str, name: str | None, valid: Any) -> None:
        if name is not None and name not in valid:
            there = ", ".join(sorted(valid)) or "none"
            self.problems.append(f"{where}: there is no {name!r}.{suggestion(name, valid)} Valid: {there}.")

    # -- models and data

    def _model(self, name: str, spec: BaseModelSpec) -> BaseModel | None:
        template_key = self._digest(f"models.{name}.template", spec.template)
        if spec.build is not None:
            corpus_key = self._digest(f"models.{name}.build.corpus", spec.build.corpus)
            build = spec.build.model_dump()
            origin = {"build": changed(spec.build) | {"corpus": corpus_key}}
            slug = _slug(name)
        else:
            if spec.path is not None and not self._exists(f"models.{name}.path", spec.path):
                return None
            build = None
            origin = {"id": spec.id, "revision": spec.revision}
            slug = _slug(str(spec.id).rsplit("/", 1)[-1])
        key = key_of("model", origin)
        model = BaseModel(
            id=f"{slug}-{short(key)}",
            key=key,
            label=name,
            slug=slug,
            hub=spec.id,
            revision=spec.revision if spec.id else None,
            path=spec.path,
            build=build,
            precision=spec.precision,
            template=spec.template,
            template_key=template_key,
            system=spec.system,
            parameters=spec.parameters,
            micro_batch=spec.micro_batch,
        )
        if (other := self.out.models.get(model.id)) is not None:
            self.problems.append(
                f"models.{name}: is the same model as {other.label!r}; give it once and vary `method` or the recipe"
            )
        self.out.models[model.id] = model
        return model

    def _raw(self, name: str, spec: DatasetSpec) -> Raw | None:
        where = f"datasets.{name}"
        source = self.registry.sources.get(spec.source)
        if source is None:
            self._known(f"{where}.source", spec.source, self.registry.sources)
            return None
        self.problems += check_part(source.Options, spec.steps, f"{where}.steps")
        if spec.path is not None:
            digest = self._digest(f"{where}.path", spec.path)
            origin: dict[str, Any] = {"content": digest}
        else:
            origin = {"revision": spec.revision, "remote": plain(source.REMOTE.model_dump(exclude_defaults=True))}
        key = key_of("raw", {"source": spec.source, **origin})
        return Raw(f"{spec.source}-{short(key)}", key, spec.source, spec.path, spec.revision)

    def _digest(self, where: str, path: str | None) -> str | None:
        if path is None or not self._exists(where, path):
            return None
        return self.registry.digest(expand(path))

    def _exists(self, where: str, path: str) -> bool:
        if unset := re.findall(r"\$\{?(\w+)", os.path.expandvars(path)):
            self.problems.append(f"{where}: {path!r} uses ${unset[0]}, which is not set in the environment")
            return False
        if not expand(path).exists():
            self.problems.append(f"{where}: there is no {path!r} (relative paths start at {Path.cwd()})")
            return False
        return True

    def _clean(self, name: str, raw: Raw, point: Point | None) -> Clean:
        spec = self.study.datasets[name]
        rows = {**_set(spec.rows), **_set(point.rows if point else None)}
        splits = {**_set(spec.splits), **_set(point.splits if point else None)}
        steps = changed(self.registry.sources[spec.source].Options.model_validate(spec.steps))
        clean = Clean("", "", name, raw.id, raw.key, spec.source, steps, splits, rows, spec.seed)
        key = _clean_key(clean, rows)
        clean = replace(clean, id=f"{spec.source}-{short(key)}", key=key)
        self.out.raw[raw.id] = raw
        return self.out.clean.setdefault(clean.id, clean)

    def _formatted(self, clean: Clean, model: BaseModel, recipe: Recipe) -> Formatted:
        settings = {
            "clean": clean.key,
            "tokenizer": model.key,
            "template": model.template_key,
            "system": model.system,
            "mask": recipe.mask,
            "max_length": recipe.max_length,
        }
        key = key_of("formatted", settings)
        formatted = Formatted(
            f"{model.id}/{clean.source}-{short(key)}", key, clean.id, model.id, recipe.mask, recipe.max_length
        )
        return self.out.formatted.setdefault(formatted.id, formatted)

    # -- subjects

    def _untrained(self, models: Mapping[str, BaseModel | None]) -> None:
        for name in self.study.untrained:
            model = models[name]
            assert model is not None
            folder = f"results/untrained/{model.id}-{model.precision}"
            self.out.untrained[folder] = Untrained(name, model.id, model.precision, folder)

    def _combinations(self) -> Iterator[tuple[Point | None, dict[str, Any]]]:
        common = self.study.recipe
        if self.study.grid or not self.study.points:
            for values in itertools.product(*self.study.grid.values()):
                yield None, {**common, **dict(zip(self.study.grid, values, strict=True))}
        for point in self.study.points:
            yield point, {**common, **(point.model_extra or {})}

    def _runs(self, models: Mapping[str, BaseModel | None], raws: Mapping[str, Raw | None]) -> None:
        combinations = [(point, Recipe.model_validate(fields)) for point, fields in self._combinations()]
        # Parents first, so that a child finds its parent's key.
        ordered = self._parents_first(combinations)
        named: dict[tuple[str | None, str, int], Run] = {}
        cleaned: dict[tuple[str, int], Clean] = {}
        for model_name, dataset_name in itertools.product(self.study.models, self.study.datasets):
            model, raw = models[model_name], raws[dataset_name]
            assert model is not None
            assert raw is not None
            for index, (point, recipe) in ordered:
                if point and (point.model or model_name, point.dataset or dataset_name) != (model_name, dataset_name):
                    continue
                which = (dataset_name, index if point and (point.rows or point.splits) else -1)
                clean = cleaned.get(which) or cleaned.setdefault(which, self._clean(dataset_name, raw, point))
                formatted = self._formatted(clean, model, recipe)
                for seed in self.study.seeds:
                    parent = named.get((point.parent, model_name, seed)) if point and point.parent else None
                    if point and point.parent and parent is None:
                        self.problems.append(
                            f"points[{index - self._products}].parent: {point.parent!r} has no run of model "
                            f"{model_name!r} before this one (a parent stands for the same model and seed)"
                        )
                        continue
                    self._check_parent(point, recipe, parent)
                    run = self._run(point, model, dataset_name, clean, formatted, recipe, seed, parent)
                    run = self.out.runs.setdefault(run.folder, run)
                    if point and point.name:
                        named[point.name, model_name, seed] = run

    @property
    def _products(self) -> int:
        """How many combinations come from the product, before the points."""
        total = len(list(itertools.product(*self.study.grid.values())))
        return total if self.study.grid or not self.study.points else 0

    def _parents_first(self, combinations: list[tuple[Point | None, Recipe]]) -> list:
        parents = {point.parent for point, _ in combinations if point and point.parent}
        depth = {}
        by_name = {point.name: point for point in self.study.points if point.name}
        for index, (point, _) in enumerate(combinations):
            steps, seen = 0, set()
            while point and point.parent:
                if point.parent in seen:
                    self.problems.append(f"points: {point.parent!r} is, through its parents, its own parent")
                    break
                seen.add(point.parent)
                steps, point = steps + 1, by_name.get(point.parent)
            depth[index] = steps
        self._refuse_problems()
        items = list(enumerate(combinations))
        return sorted(items, key=lambda item: depth[item[0]]) if parents else items

    def _check_parent(self, point: Point | None, recipe: Recipe, parent: Run | None) -> None:
        if parent is None or point is None:
            return
        for name in ("rank", "alpha", "target_modules", "rslora", "method"):
            if parent.recipe[name] != plain(getattr(recipe, name)):
                self.problems.append(
                    f"points ({point.name or 'unnamed'}): training goes on with the adapter of {point.parent!r}, "
                    f"so {name} must be {parent.recipe[name]!r} as there, not {plain(getattr(recipe, name))!r}"
                )

    def _run(
        self,
        point: Point | None,
        model: BaseModel,
        dataset: str,
        clean: Clean,
        formatted: Formatted,
        recipe: Recipe,
        seed: int,
        parent: Run | None,
    ) -> Run:
        # The method decides: QLoRA is over NF4; LoRA over the model's own precision, 16 bits if that is NF4.
        precision = "nf4" if recipe.method == "qlora" else model.precision.replace("nf4", "16bit")
        key = key_of(
            "run",
            {
                "model": model.key,
                "precision": precision,
                "formatted": formatted.key,
                "recipe": changed(recipe),
                "seed": seed,
                "parent": parent.key if parent else None,
                "recipe_version": RECIPE_VERSION,
            },
        )
        name = f"r{recipe.rank}-a{recipe.alpha:g}-s{seed}-{short(key)}"
        return Run(
            name=name,
            key=key,
            label=point.name if point else None,
            model=model.id,
            dataset=dataset,
            clean=clean.id,
            formatted=formatted.id,
            precision=precision,
            recipe=plain(recipe.model_dump()),
            seed=seed,
            parent=parent.folder if parent else None,
            folder=f"results/runs/{model.slug}/{clean.source}/{name}",
        )

    # -- what they are asked

    def _answers(self, raws: Mapping[str, Raw | None]) -> None:
        whole = {}
        for dataset, raw in raws.items():
            assert raw is not None
            whole[dataset] = self._clean(dataset, raw, None)
        # Datasets that nothing is trained on or asked about are dropped again at the end.
        used = {run.clean for run in self.out.runs.values()}
        for name, spec in self.study.evaluations.items():
            for folder, run in self.out.runs.items():
                # A run is asked about the test rows of the data that it was trained on, which are never trained on.
                clean = whole[spec.dataset] if spec.dataset else self.out.clean[run.clean]
                self._ask(name, spec, folder, run.model, run.precision, clean)
                used.add(clean.id)
            for folder, untrained in self.out.untrained.items():
                asked = {a.prompts: a for a in self.out.answers.values() if a.evaluation == name}
                cleans = {self.out.prompts[prompts].clean for prompts in asked} or {
                    whole[dataset].id for dataset in ([spec.dataset] if spec.dataset else self.study.datasets)
                }
                for clean_id in sorted(cleans):
                    self._ask(name, spec, folder, untrained.model, untrained.precision, self.out.clean[clean_id])
                    used.add(clean_id)
        self.out.clean = {id_: clean for id_, clean in self.out.clean.items() if id_ in used}
        self.out.raw = {clean.raw: self.out.raw[clean.raw] for clean in self.out.clean.values()}

    def _ask(
        self, name: str, spec: EvaluationSpec, folder: str, model_id: str, precision: str, clean: Clean
    ) -> None:
        model = self.out.models[model_id]
        # Only the rows of this split count: studies and points that differ in training rows share their prompts.
        rows = {split: number for split, number in clean.rows.items() if split == spec.split}
        prompts_key = key_of(
            "prompts",
            {
                "clean": _clean_key(clean, rows),
                "split": spec.split,
                "turns": spec.turns,
                "rows": spec.rows,
                "system": spec.system,
                "default_system": model.system,
            },
        )
        prompts = Prompts(
            f"{name}-{short(prompts_key)}",
            prompts_key,
            clean.id,
            spec.split,
            spec.turns,
            spec.rows,
            spec.system,
            model.system,
        )
        prompts = self.out.prompts.setdefault(prompts.id, prompts)
        decoding = plain(spec.decoding.model_dump())
        key = key_of(
            "evaluation",
            {
                "prompts": prompts_key,
                "template": model.template_key,
                "decoding": changed(spec.decoding),
                # Greedy decoding draws nothing, so its seed means nothing.
                "seed": spec.seed if spec.decoding.temperature else None,
            },
        )
        families = {family: key_of("scores", dict(self.registry.families[family].metrics)) for family in spec.scores}
        answers = Answers(
            id=f"{folder}/eval/{name}-{short(key)}",
            subject=folder,
            evaluation=name,
            model=model_id,
            precision=precision,
            dataset=clean.label,
            prompts=prompts.id,
            decoding=decoding,
            seed=spec.seed,
            key=key,
            families=families,
            model_families=[family for family in families if self.registry.families[family].needs_model],
            folder=f"{folder}/eval/{name}-{short(key)}",
        )
        self.out.answers[answers.id] = answers


def _clean_key(clean: Clean, rows: dict[str, int]) -> str:
    settings = {"raw": clean.raw_key, "steps": clean.steps, "splits": clean.splits, "rows": rows, "seed": clean.seed}
    return key_of("clean", settings)


def expand(path: str) -> Path:
    """A path of a study with ~ and $VARIABLES replaced."""
    return Path(os.path.expandvars(path)).expanduser()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "model"


def _set(part: Any) -> dict[str, Any]:
    return part.model_dump(exclude_none=True) if part is not None else {}


__all__ = [
    "Answers", "BaseModel", "Clean", "Family", "Formatted", "Grid", "Prompts", "Raw", "Registry", "Run", "Untrained",
    "expand", "resolve",
]  # fmt: skip
