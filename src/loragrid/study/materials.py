"""What the runs of a study are made from: models, chats, and datasets as they are fetched, cleaned and formatted."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import unreadable
from loragrid.study import choices
from loragrid.study.grid import Chat, Clean, Formatted, Grid, ModelEntry, Raw
from loragrid.study.keys import BUILD_VERSION, CLEAN_VERSION, FORMAT_VERSION, changed, key_of, plain, short
from loragrid.study.references import expand, kind_of
from loragrid.study.registry import Registry
from loragrid.study.schema import ChatSpec, DatasetSpec, ModelSpec, Point, Recipe, Study


class Materials:
    """Puts models and data of a study into its grid as they are needed.

    Args:
        study: checked.
        registry: what it may name.
        out: the grid.
        problems: those found are added to it.

    Attributes:
        models: by the study's names.
        chats: by model and name; under None the model's own.
        cleans: each dataset as it is without a point's own rows or splits.
        formats: what the records of each dataset become.
    """

    def __init__(self, study: Study, registry: Registry, out: Grid, problems: list[str]):
        self.study = study
        self.registry = registry
        self.out = out
        self.problems = problems
        self.models = {name: self._model(name, spec) for name, spec in study.models.items()}
        self.chats = self._all_chats()
        self._raws = {name: self._raw(name, spec) for name, spec in study.datasets.items()}
        self.cleans = {name: self.clean(name) for name in study.datasets}
        self.formats = self._all_formats()

    def _model(self, name: str, spec: ModelSpec) -> ModelEntry:
        if spec.build is not None:
            corpus_key = self._digest(f"models.{name}.build.corpus", spec.build.corpus)
            build = spec.build.model_dump()
            origin: dict[str, Any] = {
                "build": changed(spec.build) | {"corpus": corpus_key},
                "build_version": BUILD_VERSION,
            }
            # Not the study's own name for it: the same model is the same folder in whatever study.
            slug = f"llama-{spec.build.parameters / 1e6:.1f}m"
        else:
            build = None
            origin = {"id": spec.id, "revision": spec.revision}
            slug = _slug(str(spec.id).rsplit("/", 1)[-1])
        key = key_of("model", origin)
        model = ModelEntry(
            id=f"{slug}-{short(key)}",
            key=key,
            label=name,
            slug=slug,
            hub=spec.id,
            revision=spec.revision if spec.id else None,
            path=spec.path,
            build=build,
            precision=spec.precision,
            parameters=spec.parameters,
            micro_batch=spec.micro_batch,
            gpus=spec.gpus,
            sharded=spec.sharded,
        )
        if (other := self.out.models.get(model.id)) is not None:
            self.problems.append(
                f"models.{name}: is the same model as {other.label!r}; give it once and vary `method` or the recipe"
            )
        self.out.models[model.id] = model
        return model

    def _all_chats(self) -> dict[tuple[str, str | None], Chat]:
        """Each model's own chat (without a name), and each of the study's with it."""
        chats: dict[tuple[str, str | None], Chat] = {}
        for model, own in self.study.models.items():
            chats[model, None] = self._chat(f"models.{model}", None, own)
            for name, chat in self.study.chats.items():
                # What a chat does not say is the model's own.
                given = chat.model_dump(exclude_unset=True)
                chats[model, name] = self._chat(f"chats.{name}", name, own.model_copy(update=given))
        return chats

    def _chat(self, where: str, name: str | None, spec: ChatSpec) -> Chat:
        template = spec.template
        file = str(self.registry.templates.get(template, template)) if template else None
        key = self._digest(f"{where}.template", file)
        arguments = plain(dict(spec.template_arguments))
        return Chat(name, template, key, spec.system, arguments, spec.date, spec.end_token)

    def _raw(self, name: str, spec: DatasetSpec) -> Raw:
        remote = None
        if spec.path is not None:
            origin: dict[str, Any] = {"content": self._digest(f"datasets.{name}.path", spec.path)}
        else:
            source = self.registry.sources[spec.source]
            place = source.REMOTE or source.remote(source.Options.model_validate(spec.options))
            remote = plain(place.model_dump(exclude_defaults=True))
            origin = {"revision": spec.revision, "remote": remote}
        key = key_of("raw", {"source": spec.source, **origin})
        return Raw(f"{spec.source}-{short(key)}", key, spec.source, spec.path, spec.revision, remote)

    def _digest(self, where: str, path: str | None) -> str | None:
        if path is None:
            return None
        try:
            return self.registry.digest(expand(path))
        except UserError as error:
            self.problems.append(f"{where}: {error}")
        except OSError as error:
            self.problems.append(f"{where}: {unreadable(Path(error.filename or path), error)}")
        return None

    def _all_formats(self) -> dict[str, dict[str, Any]]:
        """What the records of each dataset become."""
        formats: dict[str, dict[str, Any]] = {}
        seen: dict[tuple[str, str], str] = {}
        for name, clean in self.cleans.items():
            spec = self.study.datasets[name]
            formats[name] = choices.resolved(spec.format or self._usual_format(spec), self.registry.formats)
            same = seen.setdefault((clean.id, key_of("format", formats[name])), name)
            if same != name:
                self.problems.append(f"datasets.{name}: is the same data as {same!r}; give it once")
        return formats

    def _data_slug(self, spec: DatasetSpec) -> str:
        source = self.registry.sources[spec.source]
        if source.KIND is not None:
            return spec.source
        path = expand(spec.path) if spec.path else None
        return _slug(source.slug(source.Options.model_validate(spec.options), path))

    def _usual_format(self, spec: DatasetSpec) -> str | dict[str, Any]:
        source = self.registry.sources[spec.source]
        usual: str | dict[str, Any] | None = source.FORMAT
        return usual or str(kind_of(source, source.Options.model_validate(spec.options), spec.path).FORMAT)

    def clean(self, name: str, point: Point | None = None) -> Clean:
        """A cleaned dataset, perhaps with a point's own rows or splits."""
        raw = self._raws[name]
        spec = self.study.datasets[name]
        source = self.registry.sources[spec.source]
        rows = {**_set(spec.rows), **_set(point.rows if point else None)}
        splits = {**_set(spec.splits), **_set(point.splits if point else None)}
        steps = source.STEPS if spec.steps is None else spec.steps
        clean = Clean(
            id="",
            key="",
            raw=raw.id,
            raw_key=raw.key,
            source=spec.source,
            slug=self._data_slug(spec),
            version=source.VERSION,
            read=changed(source.Options.model_validate(spec.options)),
            steps=[choices.resolved(step, self.registry.steps) for step in steps],
            needs=["train", "validation", "test"] if spec.train else self._asked(name),
            splits=splits,
            rows=rows,
            seed=spec.seed,
        )
        key = clean_key(clean, rows)
        clean = replace(clean, id=f"{clean.slug}-{short(key)}", key=key)
        self.out.raw[raw.id] = raw
        # The one that needs more of it, if another dataset of this study is the same data in another format.
        other = self.out.clean.get(clean.id)
        if other is None or len(other.needs) < len(clean.needs):
            self.out.clean[clean.id] = clean
        return self.out.clean[clean.id]

    def _asked(self, dataset: str) -> list[str]:
        """The splits of a dataset that evaluations ask about."""
        return sorted({str(spec.split) for spec in self.study.evaluations.values() if spec.dataset == dataset})

    def formatted(self, clean: Clean, dataset: str, model: ModelEntry, chat: Chat, recipe: Recipe) -> Formatted:
        """The tokenised rows of a cleaned dataset."""
        format_ = self.formats[dataset]
        settings = {
            "clean": clean.key,
            "format": format_,
            "tokenizer": model.key,
            "chat": chat.key_parts(),
            "system": chat.system,
            "mask": recipe.mask,
            "max_length": recipe.max_length,
            "version": FORMAT_VERSION,
        }
        key = key_of("formatted", settings)
        formatted = Formatted(
            id=f"{model.id}/{clean.slug}-{short(key)}",
            key=key,
            clean=clean.id,
            format=format_,
            model=model.id,
            chat=asdict(chat),
            mask=recipe.mask,
            max_length=recipe.max_length,
        )
        return self.out.formatted.setdefault(formatted.id, formatted)


def clean_key(clean: Clean, rows: dict[str, int]) -> str:
    """The key of a cleaned dataset.

    Args:
        clean: the dataset; its own key and rows do not matter.
        rows: how many of each split are kept.
    """
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


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "model"


def _set(part: Any) -> dict[str, Any]:
    return part.model_dump(exclude_none=True) if part is not None else {}
