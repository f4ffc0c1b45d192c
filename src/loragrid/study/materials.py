"""What the runs of a study are made from: models, chats, and datasets as they are formatted for them."""

from dataclasses import asdict
from typing import Any

from loragrid.study.datasets import Datasets
from loragrid.study.encoders import By, encoder_of
from loragrid.study.grid import Chat, Data, Encoder, Formatted, Grid, ModelEntry
from loragrid.study.keys import BUILD_VERSION, FORMAT_VERSION, changed, key_of, plain, short, slug_of
from loragrid.study.local import digest
from loragrid.study.recipe import Recipe
from loragrid.study.registry import Registry
from loragrid.study.schema.models import ChatSpec, ModelSpec
from loragrid.study.schema.study import Study


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
        data: the study's datasets.
    """

    def __init__(self, study: Study, registry: Registry, out: Grid, problems: list[str]):
        self.study = study
        self.registry = registry
        self.out = out
        self.problems = problems
        self.models = {name: self._model(name, spec) for name, spec in study.models.items()}
        self.chats = self._all_chats()
        self.data = Datasets(study, registry, out, problems)
        self._encoders: dict[By, Encoder] = {}

    def _model(self, name: str, spec: ModelSpec) -> ModelEntry:
        if spec.build is not None:
            corpus_key = digest(self.registry, self.problems, f"models.{name}.build.corpus", spec.build.corpus)
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
            slug = slug_of(str(spec.id).rsplit("/", 1)[-1])
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
            gradient_checkpointing=spec.gradient_checkpointing,
        )
        if (other := self.out.models.get(model.id)) is not None:
            self.problems.append(
                f"models.{name}: is the same model as {other.label!r}; give it once and vary `method` or the recipe"
            )
        self.out.models[model.id] = model
        return model

    def encoder(self, by: By) -> Encoder:
        """The encoder that a score asks for."""
        if by not in self._encoders:
            content = digest(self.registry, self.problems, "encoder", by.name) if by.is_local else None
            encoder = encoder_of(by, content)
            self._encoders[by] = self.out.encoders.setdefault(encoder.id, encoder)
        return self._encoders[by]

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
        key = digest(self.registry, self.problems, f"{where}.template", file)
        arguments = plain(dict(spec.template_arguments))
        return Chat(name, template, key, spec.system, arguments, spec.date, spec.end_token)

    def formatted(self, clean: Data, dataset: str, model: ModelEntry, chat: Chat, recipe: Recipe) -> Formatted:
        """The tokenised rows of a cleaned dataset."""
        format_ = self.data.formats[dataset]
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
