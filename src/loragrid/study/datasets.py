"""The datasets of a study: as they are fetched, cleaned, mixed, and rid of what evaluations ask."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loragrid.study import choices
from loragrid.study.grid import Clean, Contamination, Data, Decontaminated, Grid, Mixture, Raw
from loragrid.study.keys import (
    CLEAN_VERSION,
    CONTAMINATION_VERSION,
    MIXTURE_VERSION,
    changed,
    key_of,
    plain,
    short,
    slug_of,
)
from loragrid.study.local import digest
from loragrid.study.references import expand, kind_of
from loragrid.study.registry import Registry
from loragrid.study.schema.data import DatasetSpec, MixtureSpec
from loragrid.study.schema.evaluations import ChoiceEvaluation
from loragrid.study.schema.recipe import Point
from loragrid.study.schema.study import Study

SPLITS = ("train", "validation", "test")


class Datasets:
    """Puts the data of a study into its grid as it is needed.

    Args:
        study: checked.
        registry: what it may name.
        out: the grid.
        problems: those found are added to it.

    Attributes:
        whole: each dataset as it is without a point's own rows or splits.
        formats: what the records of each dataset become.
    """

    def __init__(self, study: Study, registry: Registry, out: Grid, problems: list[str]):
        self.study = study
        self.registry = registry
        self.out = out
        self.problems = problems
        self._raws = {name: self._raw(name, spec) for name, spec in study.datasets.items() if not spec.mixture}
        self.whole = {name: self.of(name) for name in study.datasets}
        self.formats = self._all_formats()

    def of(self, name: str, point: Point | None = None) -> Data:
        """A dataset, perhaps with a point's own rows or splits."""
        spec = self.study.datasets[name]
        rows = {**_set(spec.rows), **_set(point.rows if point else None)}
        splits = {**_set(spec.splits), **_set(point.splits if point else None)}
        if spec.mixture:
            if point and (splits or (spec.mixture.counts and "train" in rows)):
                self.problems.append(
                    f"points: {point.name or 'one'!r} has splits, or training rows, of its own for the mixture "
                    f"{name!r}; say them of the datasets that are mixed"
                )
            return self._mixture(name, spec, spec.mixture, rows)
        return self._one(name, spec.contamination == "remove", rows, splits, self._needs(name))

    # -- reading and cleaning

    def _raw(self, name: str, spec: DatasetSpec) -> Raw:
        source = str(spec.source)
        remote = None
        if spec.path is not None:
            content = digest(self.registry, self.problems, f"datasets.{name}.path", spec.path)
            origin: dict[str, Any] = {"content": content}
        else:
            reader = self.registry.sources[source]
            place = reader.REMOTE or reader.remote(reader.Options.model_validate(spec.options))
            remote = plain(place.model_dump(exclude_defaults=True))
            origin = {"revision": spec.revision, "remote": remote}
        key = key_of("raw", {"source": source, **origin})
        return Raw(f"{source}-{short(key)}", key, source, spec.path, spec.revision, remote)

    def _one(
        self, name: str, without_asked: bool, rows: dict[str, int], splits: dict[str, float], needs: list[str]
    ) -> Clean | Decontaminated:
        """A dataset with a source, perhaps without the training records that evaluations ask about."""
        if not without_asked:
            return self._clean(name, rows, splits, needs)
        # Rows to train on are chosen among those that are left.
        base = self._clean(name, {split: number for split, number in rows.items() if split != "train"}, splits, needs)
        asked = self._asked_of(name, base)
        chosen = {split: number for split, number in rows.items() if split == "train"}
        key = key_of(
            "decontaminated",
            {
                "base": base.key,
                "asked": [[each["key"], each["split"], each["rows"]] for each in asked],
                "rows": chosen,
                "seed": base.seed,
                "version": CONTAMINATION_VERSION,
            },
        )
        asked = [{part: value for part, value in each.items() if part != "key"} for each in asked]
        made = Decontaminated(f"{base.slug}-{short(key)}", key, base.slug, base.id, asked, needs, chosen, base.seed)
        self._need(made)
        return made

    def _clean(self, name: str, rows: dict[str, int], splits: dict[str, float], needs: list[str]) -> Clean:
        raw = self._raws[name]
        spec = self.study.datasets[name]
        source = self.registry.sources[str(spec.source)]
        steps = source.STEPS if spec.steps is None else spec.steps
        clean = Clean(
            id="",
            key="",
            raw=raw.id,
            raw_key=raw.key,
            source=str(spec.source),
            slug=self._slug(spec),
            version=source.VERSION,
            read=changed(source.Options.model_validate(spec.options)),
            steps=[choices.resolved(step, self.registry.steps) for step in steps],
            needs=needs,
            splits=splits,
            rows=rows,
            seed=spec.seed,
        )
        key = _clean_key(clean, rows)
        clean = replace(clean, id=f"{clean.slug}-{short(key)}", key=key)
        self.out.raw[raw.id] = raw
        self._need(clean)
        return clean

    def _need(self, data: Data) -> None:
        """Put cleaned data into the grid; what several need has all of the splits that any of them needs."""
        other = self.out.clean.get(data.id)
        needs = {*data.needs, *(other.needs if other else ())}
        self.out.clean[data.id] = replace(data, needs=[split for split in SPLITS if split in needs])

    def _needs(self, name: str) -> list[str]:
        """The splits of a dataset that must not be empty: those that runs are trained on, and those asked about."""
        trained = name in self.study.trained
        specs = [
            spec
            for spec in self.study.evaluations.values()
            if spec.dataset == name or (spec.dataset is None and trained)
        ]
        asked = {str(spec.split) for spec in specs}
        if any(isinstance(spec, ChoiceEvaluation) and spec.shots for spec in specs):
            asked.add("validation")  # the examples
        return [split for split in SPLITS if split in asked or (trained and split != "test")]

    def _slug(self, spec: DatasetSpec) -> str:
        source = self.registry.sources[str(spec.source)]
        if source.KIND is not None:
            return str(spec.source)
        path = expand(spec.path) if spec.path else None
        return slug_of(source.slug(source.Options.model_validate(spec.options), path))

    # -- mixtures

    def _mixture(self, name: str, spec: DatasetSpec, mixture: MixtureSpec, rows: dict[str, int]) -> Mixture:
        parts = []
        for part, number in mixture.numbers.items():
            own = self.study.datasets[part]
            without_asked = "remove" in (spec.contamination, own.contamination)
            data = self._one(part, without_asked, _set(own.rows), _set(own.splits), ["train"])
            parts.append({"name": part, "clean": data.id, "number": plain(number)})
        made = Mixture(
            id="",
            key="",
            slug=slug_of(name),
            parts=parts,
            by="weights" if mixture.weights else "counts",
            repeat=mixture.repeat,
            needs=self._needs(name),
            rows=rows,
            seed=spec.seed,
        )
        key = _mixture_key(made, rows, [self.out.clean[part["clean"]].key for part in parts])
        made = replace(made, id=f"{made.slug}-{short(key)}", key=key)
        self._need(made)
        return made

    # -- what is asked

    def asked_key(self, data: Data, split: str) -> str:
        """The key of one split that is asked about: other rows to train on are no other questions.

        Args:
            data: cleaned.
            split: validation or test.
        """
        if isinstance(data, Decontaminated):
            return self.asked_key(self.out.clean[data.base], split)
        rows = {name: number for name, number in data.rows.items() if name == split}
        if isinstance(data, Clean):
            return _clean_key(data, rows)
        # What the parts have in later splits is taken out of this one.
        later = SPLITS[SPLITS.index(split) :]
        parts = [self._base(self.out.clean[part["clean"]]) for part in data.parts]
        chosen = [{name: number for name, number in part.rows.items() if name in later} for part in parts]
        keys = [_clean_key(part, of_part) for part, of_part in zip(parts, chosen, strict=True)]
        return _mixture_key(data, rows, keys)

    def _base(self, data: Data) -> Clean:
        """A dataset as it was before what is asked was taken out of its training records."""
        base = self.out.clean[data.base] if isinstance(data, Decontaminated) else data
        if not isinstance(base, Clean):
            raise TypeError(f"{base.id} is a mixture, which is no part of another")
        return base

    def _asked_of(self, trained: str, base: Clean) -> list[dict[str, Any]]:
        """What evaluations ask the runs that are trained on a dataset or on a mixture with it, with keys.

        Args:
            trained: its name.
            base: the dataset.
        """
        datasets = self.study.datasets
        # Without a dataset of its own, an evaluation asks about what a run was trained on.
        own = [name for name in self.study.trained if name == trained or trained in _parts(datasets[name])]
        own += [name for name in self.study.trained if name not in own and self._goes_on_from(name, own)]
        asked: dict[str, dict[str, Any]] = {}
        for spec in self.study.evaluations.values():
            for name in [spec.dataset] if spec.dataset else own:
                for part in _parts(datasets[name]) or [name]:
                    rows = {split: number for split, number in _set(datasets[part].rows).items() if split != "train"}
                    needs = self._needs(part)
                    clean = base if part == trained else self._clean(part, rows, _set(datasets[part].splits), needs)
                    # All of them: an evaluation, or a mixture, may take some.
                    entry = {"clean": clean.id, "split": str(spec.split), "rows": None}
                    entry["key"] = self.asked_key(clean, str(spec.split))
                    asked[key_of("asked", entry)] = entry
        return [asked[key] for key in sorted(asked)]

    def _goes_on_from(self, name: str, datasets: list[str]) -> bool:
        """Whether a run on a dataset may go on with the adapter of one on another, by its points' parents."""
        points = {point.name: point for point in self.study.points}
        for point in self.study.points:
            if point.dataset not in (None, name):
                continue
            above = point
            while above.parent is not None:
                above = points[above.parent]
                if above.dataset is None or above.dataset in datasets:
                    return True
        return False

    def contamination(self, data: Data, asked: Mapping[str, Any]) -> Contamination:
        """The report on what training data has in common with what its runs are asked.

        Args:
            data: trained on.
            asked: prompts by id.
        """
        entries: dict[str, dict[str, Any]] = {}
        keys: dict[str, list[Any]] = {}
        for prompts in asked.values():
            entry = {"clean": prompts.clean, "split": prompts.split, "rows": prompts.rows}
            key = self.asked_key(self.out.clean[prompts.clean], prompts.split)
            entries[key_of("asked", {"key": key, **entry})] = entry
            keys[key_of("asked", {"key": key, **entry})] = [key, prompts.split, prompts.rows]
        order = sorted(entries)
        key = key_of(
            "contamination",
            {"trained": data.key, "asked": [keys[each] for each in order], "version": CONTAMINATION_VERSION},
        )
        found = Contamination(f"{data.slug}-{short(key)}", key, data.id, [entries[each] for each in order])
        return self.out.contamination.setdefault(found.id, found)

    # -- formats

    def _all_formats(self) -> dict[str, dict[str, Any]]:
        """What the records of each dataset become."""
        formats: dict[str, dict[str, Any]] = {}
        seen: dict[tuple[str, str], str] = {}
        specs = self.study.datasets
        for name in sorted(specs, key=lambda name: specs[name].mixture is not None):  # what is mixed first
            choice = specs[name].format or self._usual_format(name, formats)
            formats[name] = choices.resolved(choice, self.registry.formats)
            same = seen.setdefault((self.whole[name].id, key_of("format", formats[name])), name)
            if same != name:
                self.problems.append(f"datasets.{name}: is the same data as {same!r}; give it once")
        for name, spec in specs.items():
            self._check_kinds(name, spec, formats)
        return formats

    def _usual_format(self, name: str, formats: Mapping[str, dict[str, Any]]) -> str | dict[str, Any]:
        spec = self.study.datasets[name]
        if spec.mixture:
            of_parts = {key_of("format", formats[part]): formats[part] for part in spec.mixture.numbers}
            first, *others = of_parts.values()
            if others:
                names = ", ".join(sorted(each["name"] for each in of_parts.values()))
                self.problems.append(f"datasets.{name}.format: its parts have several ({names}): say one for all of it")
            return {first["name"]: first["options"]}
        source = self.registry.sources[str(spec.source)]
        usual: str | dict[str, Any] | None = source.FORMAT
        return usual or str(self._kind(name).FORMAT)

    def _check_kinds(self, name: str, spec: DatasetSpec, formats: Mapping[str, dict[str, Any]]) -> None:
        if not spec.mixture:
            return
        kinds = {part: self._kind(part) for part in spec.mixture.numbers}
        if len(set(kinds.values())) > 1:
            what = ", ".join(f"{part}: {kind.__name__}" for part, kind in kinds.items())
            self.problems.append(f"datasets.{name}.mixture: these are not of one kind ({what})")
        elif self.registry.formats[formats[name]["name"]].KIND not in kinds.values():
            self.problems.append(f"datasets.{name}.format: {formats[name]['name']!r} is not for what its parts have")

    def _kind(self, name: str) -> Any:
        spec = self.study.datasets[name]
        source = self.registry.sources[str(spec.source)]
        return kind_of(source, source.Options.model_validate(spec.options), spec.path)


def _clean_key(clean: Clean, rows: dict[str, int]) -> str:
    """The key of a dataset as it is cleaned, with so many rows of each split."""
    settings = {
        "raw": clean.raw_key,
        "read": [clean.version, clean.read],
        "steps": clean.steps,
        "splits": clean.splits,
        "rows": rows,
        "seed": clean.seed,
        "version": CLEAN_VERSION,
    }
    return key_of("clean", settings)


def _mixture_key(mixture: Mixture, rows: dict[str, int], parts: list[str]) -> str:
    """The key of a mixture, from those of its parts; their names stand in its records."""
    settings = {
        "parts": [[part["name"], key, part["number"]] for part, key in zip(mixture.parts, parts, strict=True)],
        "by": mixture.by,
        "repeat": mixture.repeat,
        "rows": rows,
        "seed": mixture.seed,
        "version": MIXTURE_VERSION,
    }
    return key_of("mixture", settings)


def _parts(spec: DatasetSpec) -> list[str]:
    return list(spec.mixture.numbers) if spec.mixture else []


def _set(part: Any) -> dict[str, Any]:
    return part.model_dump(exclude_none=True) if part is not None else {}
