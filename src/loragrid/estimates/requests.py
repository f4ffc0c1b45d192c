"""What the jobs of a study ask of the scheduler: GPUs, memory and time."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from loragrid.errors import UserError
from loragrid.estimates.devices import Device
from loragrid.estimates.growth import memory_factor
from loragrid.estimates.judging import judging_minutes
from loragrid.estimates.measured import Ratio, Record, ratios
from loragrid.estimates.memory import Memory, generation_memory, rows_at_a_time, training_memory
from loragrid.estimates.sizes import dimensions, encoder_parameters, file_bytes, guess
from loragrid.estimates.time import generation_seconds, likelihood_seconds, loading_seconds, training_seconds
from loragrid.estimates.workload import GenerationWork, Workload
from loragrid.jobs.attempts import out_of_memory_attempts
from loragrid.modeling.dimensions import Dimensions
from loragrid.study.batches import Batch
from loragrid.study.grid import Answers, Grid, LogProbabilities, References, Run
from loragrid.study.members import MOST_TOGETHER, AnswerMember, CompareMember, Member, ScoreMember, TrainMember
from loragrid.study.micro_batch import answers_at_a_time, micro_batches, pairs_at_a_time
from loragrid.study.registry import Registry

M = TypeVar("M", bound=Member)

MEMORY_MARGIN = 1.2
"""A request asks for so many times the memory of the estimate: estimates were up to 15 % wrong where measured."""

TIME_MARGIN, EXTRA_MINUTES = 1.5, 5
"""And for so many times its time, and some minutes for nodes and disks that are slow today."""

SCORING_MB, SCORING_SECONDS = 500, 10e-3
"""Host memory and time an answer of ROUGE and BLEU, taken generously: measured on a CPU, 180 MB and 5.5 ms for 5,000
answers of 100 words."""

ENCODED_TOKENS, ENCODED_WIDTH = 128, 1024
"""Tokens of an answer or a reference, and numbers of a token's vector, taken generously: those of large encoders."""

VLLM_HOST, VLLM_SECONDS = 8 * 2**30, 300
"""Host memory of vLLM's two processes beside the worker, in bytes, and seconds until they answer (weights, compiled
kernels, CUDA graphs), taken generously and not measured. Of a GPU it takes 90 %, however much that is."""

FLOAT32_SLOWER = 4
"""How much slower a GPU is in float32 than at the rate that is known of it, assumed; of a T4's peaks it is 8 times."""

WORTH_A_START = 3
"""Times that the work of a job takes longer than its start, where more than one job is worth while."""

UNKNOWN = 7e9
"""Parameters assumed in requests for a model of which nothing is known; the plan says that it has no estimate."""


@dataclass(frozen=True)
class Need:
    """What one training, or one set of answers, is expected to take.

    Args:
        gpus: how many.
        memory: bytes of the host and of each GPU.
        seconds: without the start of the job.
        loading: of these, what loading the base takes: once for all members of a job.
        measured: whether earlier runs were there to correct the estimate.
    """

    gpus: int
    memory: Memory
    seconds: float
    loading: float
    measured: bool = False


@dataclass(frozen=True)
class Request:
    """What a job asks for, with its margin.

    Args:
        gpus: how many.
        memory_mb: of the host.
        gpu_memory_mb: of each GPU; 0 on a CPU.
        minutes: of time.
    """

    gpus: int
    memory_mb: int
    gpu_memory_mb: int
    minutes: int


class Estimator:
    """Estimates what the parts of a study need on a device.

    Args:
        grid: the study.
        registry: its sources, for the usual sizes of data.
        device: what its jobs run on.
        gpus: GPUs of each training where the profile says so; None for what each model has in the study.

    Raises:
        UserError: the profile gives one GPU to a model that is spread over several.
    """

    def __init__(self, grid: Grid, registry: Registry, device: Device, gpus: int | None = None):
        for model in grid.models.values():
            if gpus == 1 and model.sharded:
                raise UserError(
                    f"models.{model.label}: is spread over {model.gpus} GPUs (`sharded`), and the profile gives 1 to "
                    f"the rule `train`; take out its `gpu: 1`, or let its `gres` ask for {model.gpus}, also for "
                    "`generate`"
                )
        self.grid = grid
        self.device = device
        self._gpus = gpus
        self.workload = Workload(grid, registry)
        self.sizes = {id_: dimensions(model) for id_, model in grid.models.items()}
        self.file_bytes = {id_: file_bytes(model) for id_, model in grid.models.items()}
        self._asked_beside = Counter((run.model, run.precision) for run in grid.runs.values())
        self._trained: dict[tuple[str, str, str, int], Need] = {}
        self._asked: dict[tuple[str, str, str, str, int], Need] = {}
        self._ratios = ratios(self._trainings(), device)
        self._answer_ratios = ratios(self._generations(), device)

    @property
    def measured(self) -> bool:
        """Whether anything was measured on this kind of device."""
        return bool(self._ratios or self._answer_ratios)

    def knows(self, model: str) -> bool:
        """Whether anything is known of a model's size."""
        return self.sizes[model] is not None

    def need(self, part: Run | Answers) -> Need:
        """What a training, or a set of answers, needs."""
        return self.run(part) if isinstance(part, Run) else self.answers(part)

    def run(self, run: Run) -> Need:
        """What a training needs."""
        micro_batch = self._rows_at_a_time(run)
        # Runs that differ in their seed alone need the same; a study may have thousands.
        key = (run.formatted, run.precision, str(run.recipe), micro_batch)
        if key not in self._trained:
            ratio = self._ratios.get((run.model, run.precision))
            self._trained[key] = self._corrected(self.estimated(run, micro_batch), ratio)
        return self._trained[key]

    def answers(self, answers: Answers) -> Need:
        """What a set of answers needs, the likelihood of references included."""
        run = self.grid.runs.get(answers.subject)
        rank = str((run.recipe.rank, run.recipe.target_modules)) if run else ""
        attempts = out_of_memory_attempts(Path(answers.folder, "work"))
        how = rank + str(answers.decoding) + answers.backend
        key = (answers.prompts, answers.model, answers.precision, how, attempts)
        if key not in self._asked:
            # What transformers took says nothing of vLLM.
            known = answers.backend == "transformers"
            ratio = self._answer_ratios.get((answers.model, answers.precision)) if known else None
            self._asked[key] = self._corrected(
                self._estimated_answers(
                    answers, self.grid.models[answers.model].micro_batch, answers.precision, self.device,
                    attempts=attempts,
                ),
                ratio,
            )  # fmt: skip
        return self._asked[key]

    def request(
        self, batch: Batch[TrainMember | CompareMember | AnswerMember], longest_minutes: int | None = None
    ) -> Request:
        """What the job of a batch asks for: the most that a member needs, and the time of all.

        Args:
            batch: the batch.
            longest_minutes: the longest job allowed; training goes on in the next.
        """
        members = self.known(batch)
        needs = [self._need_of(member) for member in members]
        growth = max(memory_factor(member.work) for member in members)
        beside = self._adapters_beside(members)
        on_gpu = beside if self.device.is_gpu and not _by_vllm(members) else 0
        seconds = sum(need.seconds - need.loading for need in needs)
        # Runs that several processes train have new ones each.
        starts = len(needs) if batch.stage == "train" and max(need.gpus for need in needs) > 1 else 1
        seconds += starts * (self.device.start_seconds + max(need.loading for need in needs))
        minutes = math.ceil(seconds / 60 * TIME_MARGIN) + EXTRA_MINUTES
        return Request(
            gpus=max(need.gpus for need in needs),
            memory_mb=_megabytes((max(need.memory.host for need in needs) + beside - on_gpu) * MEMORY_MARGIN * growth),
            gpu_memory_mb=_megabytes(max(need.memory.gpu or 0 for need in needs) + on_gpu),
            minutes=min(minutes, longest_minutes) if longest_minutes else minutes,
        )

    def _adapters_beside(self, members: Sequence[Member]) -> int:
        """Bytes of the adapters that share batches of answers, beside one: in float32, each as large as the largest."""
        runs = [member.run for member in members if isinstance(member, AnswerMember) and member.run]
        sizes = [4 * _adapter(self._size(run.model), run) for run in runs]
        if _by_vllm(members):  # its server holds all of them in the host's memory
            return max(sizes, default=0) * len(sizes)
        return max(sizes) * (min(len(sizes), MOST_TOGETHER) - 1) if sizes else 0

    def _need_of(self, member: Member) -> Need:
        if isinstance(member, AnswerMember):
            return self.answers(member.answers)
        if isinstance(member, CompareMember):
            return self.compared(member.log_probabilities)
        if isinstance(member, TrainMember):
            return self.run(member.run)
        raise TypeError(f"no estimate of a {type(member).__name__}")

    def compared(self, compared: LogProbabilities) -> Need:
        """What computing the log-probabilities that runs by DPO are compared with needs."""
        size, model, work = (
            self._size(compared.model),
            self.grid.models[compared.model],
            self.workload.of_pairs(compared),
        )
        gpus = model.gpus_to_answer if self.device.is_gpu else 1
        attempts = out_of_memory_attempts(Path(compared.folder, "work"))
        pairs = max(1, pairs_at_a_time(model.micro_batch, attempts))
        run = self.grid.runs.get(compared.run or "")
        memory = generation_memory(
            size, self.device, compared.precision, _adapter(size, run), of_rows=0, batch=2 * pairs,
            prompt=work.longest_prompt, answer=0, file_bytes=self.file_bytes[compared.model], gpus=gpus,
        )  # fmt: skip
        seconds = likelihood_seconds(size, self.device, compared.precision, work, batch=pairs)
        loading = loading_seconds(size, self.device)
        return Need(gpus, memory, loading + seconds, loading)

    def scoring(self, batch: Batch[ScoreMember]) -> Request:
        """What scoring answers by their texts asks for; this needs no GPU."""
        asked = [self.grid.answers[member.answers.id] for member in self.known(batch)]
        number = sum(self.workload.of_answers(answers).prompts for answers in asked)
        minutes = EXTRA_MINUTES + math.ceil(number * SCORING_SECONDS / 60)
        return Request(gpus=0, memory_mb=SCORING_MB + number // 50, gpu_memory_mb=0, minutes=minutes)

    def encoding(self, references: References) -> Request:
        """What encoding the references of an evaluation asks for."""
        texts = self.workload.prompts(references.prompts)
        return self._by_encoder(references, texts, texts)

    def scoring_by_encoder(self, batch: Batch[ScoreMember]) -> Request:
        """What scoring answers by an encoder asks for."""
        members = self.known(batch)
        references = [self._encoded(member) for member in members]
        texts = [self.workload.prompts(each.prompts) for each in references]
        encoded = sum(number * len(member.parts) for number, member in zip(texts, members, strict=True))
        return self._by_encoder(references[0], encoded, max(texts))

    def _encoded(self, member: ScoreMember) -> References:
        """References of a score by an encoder, of which the first stands for all."""
        return self.grid.references[min(member.answers.scores[id_]["encoded"]["references"] for id_ in member.parts)]

    def known(self, batch: Batch[M]) -> list[M]:
        """The members of a batch that are of this study; one that somebody works on may have others, too."""
        known = self.grid.answers.keys() | self.grid.runs.keys() | self.grid.log_probabilities.keys()
        return [member for member in batch.members if _id(member) in known and self._knows_references(member)]

    def _knows_references(self, member: Member) -> bool:
        """Whether what an encoder compares answers with is of this study, where that is what is done."""
        return (
            not isinstance(member, ScoreMember)
            or member.stage != "score_by_encoder"
            or all(member.answers.scores[id_]["encoded"]["references"] in self.grid.references for id_ in member.parts)
        )

    # -- how work is divided

    def minutes(self, member: Member) -> float:
        """Minutes of work that a member is, without the start of its job and without loading its base."""
        if not isinstance(member, ScoreMember):
            need = self._need_of(member)
            return (need.seconds - need.loading) / 60
        answers = self.grid.answers[member.answers.id]
        prompts = self.workload.scored(answers)
        if member.stage == "judge":
            return judging_minutes(answers, member.parts, prompts)
        if member.stage != "score_by_encoder":
            return prompts * SCORING_SECONDS / 60
        parameters = encoder_parameters(self.grid.encoders[self._encoded(member).encoder])
        return self._encoding_seconds(parameters, prompts * len(member.parts)) / 60

    @property
    def shortest_job(self) -> float:
        """Minutes of work that a job is worth its start for."""
        return WORTH_A_START * self.device.start_seconds / 60

    def _by_encoder(self, references: References, texts: int, kept: int) -> Request:
        """What a job of an encoder asks for.

        Args:
            references: by which encoder.
            texts: to encode.
            kept: references whose vectors it holds.
        """
        parameters = encoder_parameters(self.grid.encoders[references.encoder])
        seconds = self._encoding_seconds(parameters, texts)
        seconds += self.device.start_seconds + parameters / self.device.loaded
        weights, vectors = 4 * parameters, 4 * kept * ENCODED_TOKENS * ENCODED_WIDTH
        # Weights as they are read and as they are used, vectors as they are made and as they are put together.
        host = self.device.host_memory + 2 * weights + 2 * vectors
        return Request(
            gpus=1 if self.device.is_gpu else 0,
            memory_mb=_megabytes(host * MEMORY_MARGIN),
            gpu_memory_mb=_megabytes(self.device.context + 2 * weights) if self.device.is_gpu else 0,
            minutes=EXTRA_MINUTES + math.ceil(seconds / 60 * TIME_MARGIN),
        )

    def _encoding_seconds(self, parameters: float, texts: int) -> float:
        # A forward pass takes two operations for each weight and token, here in float32.
        rate = self.device.rate / (FLOAT32_SLOWER if self.device.is_gpu else 1)
        return 2 * parameters * texts * ENCODED_TOKENS / rate

    # -- estimates

    def estimated(
        self,
        part: Run | Answers,
        micro_batch: int,
        precision: str | None = None,
        device: Device | None = None,
        shards: int | None = None,
    ) -> Need:
        """What a part would need with another micro-batch, precision or device, whatever was measured.

        Args:
            part: a training, or a set of answers.
            micro_batch: rows, or prompts, at a time.
            precision: of the base weights. Default: the part's.
            device: what it runs on. Default: the study's.
            shards: GPUs that the base is spread over. Default: what the study says.
        """
        precision, device = precision or part.precision, device or self.device
        if isinstance(part, Run):
            return self._estimated_run(part, micro_batch, precision, device, shards)
        return self._estimated_answers(part, micro_batch, precision, device, shards)

    def _size(self, model: str) -> Dimensions:
        return self.sizes[model] or guess(UNKNOWN)

    def _estimated_run(
        self, run: Run, micro_batch: int, precision: str, device: Device, shards: int | None = None
    ) -> Need:
        size, work = self._size(run.model), self.workload.of_run(run)
        gpus = shards or self._gpus_of(run, device)
        shards = gpus if shards or self.grid.models[run.model].sharded else 1
        batch = micro_batches(run.recipe.batch_size, gpus, run.recipe.examples(micro_batch))[0]
        recomputes = self.grid.models[run.model].recomputes(on_gpu=device.is_gpu)
        memory = training_memory(
            size, device, precision, run.recipe,
            micro_batch=batch * run.recipe.rows_per_example, length=work.longest,
            file_bytes=self.file_bytes[run.model], shards=shards,
            trains_rows=run.chat["end_token"] == "train", recomputes=recomputes,
        )  # fmt: skip
        seconds = training_seconds(
            size, device, precision, run.recipe, work, micro_batch=batch, gpus=gpus, recomputes=recomputes
        )
        # Each GPU has a process of its own.
        return Need(gpus, Memory(memory.host * gpus, memory.gpu), seconds, loading_seconds(size, device))

    def _estimated_answers(
        self,
        answers: Answers,
        micro_batch: int,
        precision: str,
        device: Device,
        shards: int | None = None,
        *,
        attempts: int = 0,
        most: int | None = None,
    ) -> Need:
        size, work = self._size(answers.model), self._work_of(answers)
        gpus = (shards or self.grid.models[answers.model].gpus_to_answer) if device.is_gpu else 1
        run = self.grid.runs.get(answers.subject)
        adapter = _adapter(size, run)
        least, allowed = answers_at_a_time(micro_batch, attempts)
        least, most = (most, most) if most else (max(1, least), max(1, allowed))
        beside = adapter * min(MOST_TOGETHER, self._asked_beside[answers.model, answers.precision])
        rows = rows_at_a_time(size, device, precision, beside, least=least, most=most, gpus=gpus)
        batch = max(1, micro_batch >> attempts)
        by_itself = answers.generations and answers.backend == "transformers"
        memory = generation_memory(
            size, device, precision, adapter, batch=batch, prompt=work.longest_prompt,
            of_rows=rows.bytes_of(work.longest_prompt + work.answer_tokens) if by_itself else 0,
            answer=work.answer_tokens, file_bytes=self.file_bytes[answers.model], gpus=gpus,
            of_choices=self.grid.prompts[answers.prompts].choice is not None,
        )  # fmt: skip
        loading = seconds = loading_seconds(size, device)
        if answers.backend == "vllm":
            # Its answers are taken to need no less time than those of transformers.
            memory = Memory(memory.host + VLLM_HOST, memory.gpu)
            loading = seconds = loading + VLLM_SECONDS
        if answers.generations:
            at_a_time = rows.of(math.ceil(work.prompt_tokens + work.answer_tokens))
            seconds += generation_seconds(size, device, precision, work, batch=max(1, min(at_a_time, work.prompts)))
        if answers.made_with("model"):
            seconds += likelihood_seconds(size, device, precision, work, batch=batch)
        return Need(gpus, memory, seconds, loading)

    def _work_of(self, answers: Answers) -> GenerationWork:
        """The work of a set of answers: of what is longer than the model's context, so much as it reads."""
        work, context = self.workload.of_answers(answers), self._size(answers.model).context
        if context is None:
            return work
        room = max(1, context - work.answer_tokens)
        return replace(work, prompt_tokens=min(work.prompt_tokens, room), longest_prompt=min(work.longest_prompt, room))

    def _rows_at_a_time(self, run: Run) -> int:
        """As training chooses them: halved for each attempt that the GPU's memory was too small for."""
        recipe, most = run.recipe, self.grid.models[run.model].micro_batch
        sizes = micro_batches(recipe.batch_size, self._gpus_of(run, self.device), recipe.examples(most))
        halvings = out_of_memory_attempts(Path(run.folder, "work"))
        return sizes[min(halvings, len(sizes) - 1)] * recipe.rows_per_example

    def _gpus_of(self, run: Run, device: Device) -> int:
        return (self._gpus or self.grid.models[run.model].gpus) if device.is_gpu else 1

    # -- measurements

    def _corrected(self, need: Need, ratio: Ratio | None) -> Need:
        if ratio is None:
            return need
        memory = need.memory
        if ratio.memory is not None:
            # The peak is measured on the device: on a GPU it says nothing of the host.
            memory = (
                Memory(memory.host * ratio.memory, None)
                if memory.gpu is None
                else Memory(memory.host, self.device.context + (memory.gpu - self.device.context) * ratio.memory)
            )
        return Need(need.gpus, memory, need.seconds * ratio.seconds, need.loading * ratio.seconds, measured=True)

    def _trainings(self) -> Iterator[Record]:
        for folder, run in self.grid.runs.items():
            file = Path(folder, "run.json")
            if file.exists():
                yield self._training(run, file)

    def _training(self, run: Run, file: Path) -> Record:
        return Record(
            (run.model, run.precision),
            file,
            lambda found: self.estimated(run, found["micro_batch"]).seconds,
            lambda found: self._on_device(self.estimated(run, found["micro_batch"])),
        )

    def _generations(self) -> Iterator[Record]:
        for answers in self.grid.answers.values():
            file = Path(answers.folder, "generation.json")
            if answers.generations and answers.backend == "transformers" and file.exists():
                yield self._generation(answers, file)

    def _generation(self, answers: Answers, file: Path) -> Record:
        batch = self.grid.models[answers.model].micro_batch
        size, work = self._size(answers.model), self._work_of(answers)

        def seconds(found: dict[str, Any]) -> float:
            # Its share of full batches: rows of others may have been in them.
            rows = found["rows"] or batch
            full = generation_seconds(size, self.device, answers.precision, replace(work, prompts=rows), batch=rows)
            return full * work.prompts / rows

        def memory(found: dict[str, Any]) -> float | None:
            if not found["rows"]:
                return None
            need = self._estimated_answers(answers, batch, answers.precision, self.device, most=found["rows"])
            return self._on_device(need)

        return Record((answers.model, answers.precision), file, seconds, memory)

    def _on_device(self, need: Need) -> float:
        """What of a need run.json measures: of a GPU what PyTorch allocated, of a CPU the whole process."""
        return need.memory.host if need.memory.gpu is None else need.memory.gpu - self.device.context


def _by_vllm(members: Sequence[Member]) -> bool:
    """Whether members, which are of one backend, are answered by vLLM."""
    return any(isinstance(member, AnswerMember) and member.answers.backend == "vllm" for member in members)


def _id(member: Member) -> str:
    """By what the grid knows a member."""
    if isinstance(member, TrainMember):
        return member.run.folder
    return member.log_probabilities.id if isinstance(member, CompareMember) else member.folder


def _adapter(size: Dimensions, run: Run | None) -> int:
    """Parameters of the adapter that a model is asked with."""
    return size.adapter(run.recipe.rank, run.recipe.target_modules) if run else 0


def _megabytes(bytes_: float) -> int:
    """Snakemake's mem_mb, which it counts in millions of bytes."""
    return math.ceil(bytes_ / 1e6)
