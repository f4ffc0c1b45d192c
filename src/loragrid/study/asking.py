"""What a subject is asked in an evaluation, and how that is scored: prompts, answers and scores with their keys."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from loragrid.study.encoders import references_of
from loragrid.study.grid import Answers, Chat, Data, Grid, Prompts, Run, Untrained
from loragrid.study.keys import (
    CHOICE_VERSION,
    CONTEXT_VERSION,
    DECODING_VERSION,
    DRAWING_VERSION,
    ENCODING_VERSION,
    PROMPTS_VERSION,
    REPLAY_VERSION,
    VLLM_VERSION,
    changed,
    key_of,
    plain,
    short,
)
from loragrid.study.materials import Materials
from loragrid.study.registry import Registry
from loragrid.study.schema.evaluations import AnsweredEvaluation, ChoiceEvaluation, EvaluationSpec, ReplayEvaluation
from loragrid.study.schema.study import Study
from loragrid.study.scores import Score, resolved_scores, usual_options


@dataclass(frozen=True)
class _Way:
    """How prompts are answered.

    Args:
        key: of the answers.
        chat: in which they are asked.
        decoding: empty where choices are compared.
        seed: of sampling.
        in_chat: whether the chat is used.
        backend: what generates answers.
    """

    key: str
    chat: Chat
    decoding: dict[str, Any]
    seed: int
    in_chat: bool
    backend: str = "transformers"


class Asking:
    """Puts prompts, answers and scores into a grid.

    Args:
        study: the study.
        registry: what it may name.
        out: its grid.
        materials: data and models of it.
    """

    def __init__(self, study: Study, registry: Registry, out: Grid, materials: Materials):
        self._study = study
        self._registry = registry
        self._out = out
        self._materials = materials
        self._resolved: dict[str, dict[str, Score]] = {}

    def ask(
        self, name: str, spec: EvaluationSpec, subject: Run | Untrained, clean: Data, dataset: str, chat: Chat
    ) -> None:
        """Ask a run, or an untrained model.

        Args:
            name: of the evaluation.
            spec: the evaluation.
            subject: who is asked.
            clean: data that it is asked about.
            dataset: its name in the study.
            chat: of the subject.
        """
        if isinstance(spec, ChoiceEvaluation):
            prompts = self._choices(name, spec, clean, dataset)
            way = _way_of_choices(spec, prompts, chat)
        else:
            prompts = self._prompts(name, spec, clean, dataset, chat)
            way = _way_of_answers(spec, prompts, chat)
        prompts = self._out.prompts.setdefault(prompts.id, prompts)
        scores = {id_: asdict(self._encoded(score, prompts)) for id_, score in self._scores(name, spec).items()}
        folder = f"{subject.folder}/eval/{name}-{short(way.key)}"
        self._out.answers[folder] = Answers(
            id=folder,
            subject=subject.folder,
            evaluation=name,
            model=subject.model,
            precision=subject.precision,
            dataset=dataset,
            chat=asdict(way.chat),
            prompts=prompts.id,
            decoding=way.decoding,
            seed=way.seed,
            key=way.key,
            scores=scores,
            folder=folder,
            in_chat=way.in_chat,
            backend=way.backend,
        )

    def _prompts(self, name: str, spec: AnsweredEvaluation, clean: Data, dataset: str, chat: Chat) -> Prompts:
        format_ = self._materials.data.formats[dataset]
        context = changed(spec.context)
        replay = isinstance(spec, ReplayEvaluation)
        key = key_of(
            "replay" if replay else "prompts",
            {
                # Studies and points that differ in training rows share their prompts.
                "clean": self._materials.data.asked_key(clean, spec.split),
                "format": format_,
                "split": spec.split,
                "turns": spec.turns,
                "rows": spec.rows,
                "system": spec.system,
                "default_system": chat.system,
                "version": REPLAY_VERSION if replay else PROMPTS_VERSION,
                **({"context": {**context, "version": CONTEXT_VERSION}} if context else {}),
            },
        )
        return Prompts(
            id=f"{name}-{short(key)}",
            key=key,
            clean=clean.id,
            format=format_,
            split=spec.split,
            turns=spec.turns,
            rows=spec.rows,
            system=spec.system,
            default_system=chat.system,
            context=context,
            replay=replay,
        )

    def _choices(self, name: str, spec: ChoiceEvaluation, clean: Data, dataset: str) -> Prompts:
        source = self._registry.sources[str(self._study.datasets[dataset].source)]
        wording = getattr(source, "WORDING", None)
        choice = {"shots": spec.shots, "rows": spec.rows, "wording": asdict(wording) if wording else {}}
        key = key_of(
            "choices",
            {
                "clean": self._materials.data.asked_key(clean, spec.split),
                "examples": self._materials.data.asked_key(clean, "validation") if spec.shots else None,
                "split": spec.split,
                **choice,
                "version": CHOICE_VERSION,
            },
        )
        return Prompts(
            id=f"{name}-{short(key)}",
            key=key,
            clean=clean.id,
            format=self._materials.data.formats[dataset],
            split=spec.split,
            turns=spec.turns,
            rows=None,
            system=None,
            default_system=None,
            choice=choice,
        )

    def _scores(self, evaluation: str, spec: EvaluationSpec) -> dict[str, Score]:
        """The scores of an evaluation, which are the same for thousands of runs."""
        if evaluation not in self._resolved:
            asked = self._study.datasets[spec.dataset] if spec.dataset else None
            usual = usual_options(asked.source, self._registry) if asked else None
            self._resolved[evaluation] = resolved_scores(spec.scores, self._registry, usual)
        return self._resolved[evaluation]

    def _encoded(self, score: Score, prompts: Prompts) -> Score:
        """A score with what it is made from, if an encoder makes it; that is in its key instead of the names of it."""
        if score.place != "encoder":
            return score
        options = self._registry.metrics[score.name].Options.model_validate(score.options)
        encoder = self._materials.encoder(options.by)
        references = references_of(prompts, encoder, options.by.layer)
        self._out.references[references.id] = references
        settings = {
            "name": score.name,
            "version": score.version,
            "options": plain(options.beside_the_encoder()),
            "inputs": [{"encoder": encoder.key, "layer": options.by.layer, "version": ENCODING_VERSION}],
        }
        ids = {"encoder": encoder.id, "references": references.id}
        return replace(score, key=key_of("score", settings), encoded=ids)


def _way_of_answers(spec: AnsweredEvaluation, prompts: Prompts, chat: Chat) -> _Way:
    by_row = spec.decoding.temperature or spec.decoding.repetition_penalty != 1
    of_transformers = {"version": DRAWING_VERSION if by_row else DECODING_VERSION}
    key = key_of(
        "evaluation",
        {
            "prompts": prompts.key,
            "chat": chat.key_parts(),
            "decoding": changed(spec.decoding),
            # Greedy decoding draws nothing, so its seed means nothing.
            "seed": spec.seed if spec.decoding.temperature else None,
            **({"backend": "vllm", "version": VLLM_VERSION} if spec.backend == "vllm" else of_transformers),
        },
    )
    return _Way(key, chat, plain(spec.decoding.model_dump()), spec.seed, in_chat=True, backend=spec.backend)


def _way_of_choices(spec: ChoiceEvaluation, prompts: Prompts, chat: Chat) -> _Way:
    # In plain text a chat changes nothing: runs that differ in it alone are asked, and compared, as one.
    chat = chat if spec.chat_template else chat.unused()
    parts = chat.key_parts() | {"system": chat.system} if spec.chat_template else None
    key = key_of("choice evaluation", {"prompts": prompts.key, "chat": parts, "version": CHOICE_VERSION})
    return _Way(key, chat, {}, 0, in_chat=spec.chat_template)
