"""Answers by vLLM: a server on this machine, in an environment of its own, for all adapters of a base at once.

Its torch is another one than ours, so it is a process that is only spoken to over HTTP. What it is told and what it
refuses is as in vLLM 0.33 (envs/vllm.txt): `vllm serve` (entrypoints/common/cli_args.py, engine/arg_utils.py),
`/v1/completions` (entrypoints/openai/completion/protocol.py) and adapters (lora/peft_helper.py).
"""

import contextlib
import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from transformers import AutoConfig, GenerationConfig, PreTrainedModel

from loragrid.errors import ServerFailed, ServerOutOfMemory, UserError, shortened
from loragrid.files import read_json
from loragrid.generation.backends import Adapter, Row
from loragrid.generation.decoding import ends_of, read_answer
from loragrid.jobs import guard
from loragrid.jobs.adapter import CONFIGURATION
from loragrid.jobs.environment import describe
from loragrid.jobs.oom import oom_kills
from loragrid.jobs.stop import Stop
from loragrid.jobs.tail import last_lines
from loragrid.jobs.vllm_program import executable_of
from loragrid.modeling.architecture import Architecture, architecture_of
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import compute_dtype
from loragrid.modeling.mixed import read_updates, why_more_than_matrices
from loragrid.study.served import MOST_RANK

IN_FLIGHT = 128
"""Requests at a time: the server shares its passes among them, and a kill loses no more answers than these."""

SLOTS = 8
"""Adapters at a time on the GPU, at most; the others wait in the host's memory."""

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, MOST_RANK)
"""What the largest rank of all adapters can be said to be."""

START = 1800.0
"""Seconds until the server must answer: a large model comes from a slow disk, and kernels are compiled."""

POLL = 0.5
"""Seconds between two looks at whether the work has to end."""

TIMEOUT = (10.0, 1800.0)
"""Seconds to wait for a connection, and for an answer behind all others that are in flight."""

TAIL = 15
"""Lines of the server's log in a message."""

BASE = "base"
"""By what the server knows the model as it is."""

_NOT_THEIRS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TORCHDYNAMO_DISABLE", "CUBLAS_WORKSPACE_CONFIG")
"""Variables that are about this process and its packages: the server finds its own, and compiles."""


def check_adapter(base: PreTrainedModel, folder: Path) -> None:
    """See that vLLM can serve an adapter, and that it is this base's and whole.

    Args:
        base: the base model, perhaps without weights.
        folder: the adapter's.

    Raises:
        UserError: it cannot, or it is not.
    """
    why = why_more_than_matrices(base, folder)
    if why is None and (rank := _rank(folder)) > MOST_RANK:
        why = f"its rank is {rank}, and the largest is {MOST_RANK}"
    if why is not None:
        raise UserError(f"{folder}: vLLM cannot serve this adapter: {why}; ask it with `backend: transformers`")
    read_updates(base, folder)


@contextlib.contextmanager
def serving(
    folder: str, precision: str, adapters: Sequence[Path], log: Path, stop: Stop, *, gpus: int = 1
) -> Iterator["Vllm"]:
    """Let a server answer for a base and its adapters, for the length of a block.

    Args:
        folder: of the base.
        precision: of its weights.
        adapters: their folders, which `check_adapter` takes.
        log: where the server's output goes.
        stop: ends the wait for it.
        gpus: that each layer is divided among.

    Raises:
        NodeError: vLLM is not installed on this machine.
        ServerFailed: it does not start; the message has the end of its log.
        Interrupted: told to end.
    """
    executable = executable_of()
    port, key = _free_port(), secrets.token_urlsafe(32)
    names = {path: f"adapter-{number}" for number, path in enumerate(adapters)}
    command = [executable, *_arguments(folder, precision, names, port, gpus)]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    environment |= {
        "VLLM_API_KEY": key,  # not an argument, which everybody on the machine could read
        "VLLM_NO_USAGE_STATS": "1",
        # What it compiles with is in its own environment.
        "PATH": os.pathsep.join([str(Path(executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    print(f"vLLM serves {folder} and {len(names)} adapters; its log is {log}", flush=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, *command],
            env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        backend = Vllm(folder, f"http://127.0.0.1:{port}", key, names, process, log)
        backend.wait(stop)
        yield backend
    finally:
        assert process.stdin is not None  # noqa: S101 – a pipe
        process.stdin.close()
        process.wait()


class Vllm:
    """Answers by a server, over HTTP; of several threads each waits for an answer.

    Args:
        folder: of the base.
        url: of the server, on this machine.
        key: that it wants, shown nowhere.
        names: by what it knows adapters.
        process: the server.
        log: of the server.
    """

    def __init__(
        self,
        folder: str,
        url: str,
        key: str,
        names: Mapping[Path, str],
        process: "subprocess.Popen[bytes]",
        log: Path,
    ):
        self._architecture = architecture_of(folder)
        self._generation = _generation_config(folder)
        self._url = url
        self._names = names
        self._process = process
        self._log = log
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy does not lead to this machine
        self._session.headers["Authorization"] = f"Bearer {key}"
        # A connection that is kept may be closed by the server in the moment in which it is used again.
        self._session.headers["Connection"] = "close"
        self._session.mount("http://", HTTPAdapter(pool_maxsize=IN_FLIGHT))
        self._version: str | None = None
        self._longest: int | None = None
        """Tokens of a prompt and its answer that the server has room for."""
        self._kills = oom_kills()

    @property
    def architecture(self) -> Architecture:
        """As of `Backend`."""
        return self._architecture

    def describe(self) -> dict[str, Any]:
        """As of `Backend`. Of memory vLLM takes most of the GPU's, however much it needs."""
        return {
            "backend": "vllm",
            "vllm": self._version,
            "peak_memory_bytes": None,
            **describe(),
        }

    def wait(self, stop: Stop) -> None:
        """Wait until the server answers.

        Raises:
            ServerFailed: it ended before, or takes too long.
            Interrupted: told to end.
        """
        until = time.monotonic() + START
        while not self._is_ready():
            stop.unless_time_for(0)
            stop.check("before vLLM answered", progress=False)
            if self._process.poll() is not None:
                raise self._failed(f"vLLM ended with status {self._process.returncode} before it answered")
            if time.monotonic() > until:
                raise self._failed(f"vLLM did not answer within {START:.0f} s")
            time.sleep(POLL)
        self._version = self._get("/version").get("version")

    def answers(
        self, rows: Sequence[Row], adapters: Sequence[Adapter], chat: Chat, decoding: Mapping[str, Any]
    ) -> Generator[dict[int, dict[str, Any]]]:
        """As of `Backend`, each answer as soon as it is there; adapters are folders."""
        needed = max((len(row.prompt) for row in rows), default=0) + decoding["max_new_tokens"]
        if self._longest is not None and needed > self._longest:
            raise UserError(
                f"vLLM has room for {self._longest} tokens at a time on this GPU, and the longest prompt with its "
                f"answer may have {needed}: use `precision: nf4`, a smaller max_new_tokens or a GPU with more memory"
            )
        names = [self._names[adapter] if isinstance(adapter, Path) else BASE for adapter in adapters]
        ends = [end for end in ends_of(self._generation, chat) if end < self._architecture.rows]
        made: queue.SimpleQueue[tuple[int, dict[str, Any] | Exception]] = queue.SimpleQueue()

        def answer(number: int) -> None:
            row = rows[number]
            try:
                made.put((number, self._answer(names[row.subject], row, chat, decoding, ends)))
            except Exception as error:
                made.put((number, error))

        # Those whose adapters are on the GPU at the same time follow each other.
        order = sorted(range(len(rows)), key=lambda number: rows[number].subject // SLOTS)
        pool = ThreadPoolExecutor(IN_FLIGHT)
        refused: UserError | None = None
        try:
            futures = [pool.submit(answer, number) for number in order]
            left = len(rows)
            while left:
                try:
                    number, found = made.get(timeout=POLL)
                except queue.Empty:
                    yield {}
                    continue
                left -= 1
                if isinstance(found, UserError):
                    # What is in flight is answered, and not asked again.
                    if refused is None:
                        left -= sum(future.cancel() for future in futures)
                    refused = refused or found
                    continue
                if isinstance(found, Exception):
                    # Who ends this process may have ended the server first: that is heard now.
                    time.sleep(POLL)
                    yield {}
                    raise found
                yield {number: found}
            if refused is not None:
                raise refused
        finally:
            # Those that wait for an answer end with the server.
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, name: str, row: Row, chat: Chat, decoding: Mapping[str, Any], ends: list[int]) -> dict[str, Any]:
        body = {
            "model": name,
            "prompt": row.prompt,
            "max_tokens": decoding["max_new_tokens"],
            **{each: decoding[each] for each in ("temperature", "top_p", "top_k", "repetition_penalty")},
            "seed": row.seed,
            # The ends are those that transformers is told, and no others.
            "stop_token_ids": ends,
            "ignore_eos": True,
            "skip_special_tokens": True,
            "return_token_ids": True,
        }
        if chat.end and chat.end_token is None:
            body["stop"] = [chat.end]
        choice = self._post("/v1/completions", body)["choices"][0]
        tokens, reason = choice.get("token_ids"), choice.get("finish_reason")
        if reason not in ("stop", "length"):  # `abort`, where the server ends
            raise self._failed(f"vLLM did not finish an answer ({reason})")
        if not isinstance(tokens, list):
            raise ServerFailed("vLLM returns no token ids: it is older than the one of envs/vllm.txt")
        answer = read_answer(chat, tokens, ends)
        # Words that end a turn are looked for by both; what one of them finds has ended.
        return answer | {"ended": "stop" if reason == "stop" else answer["ended"]}

    def _is_ready(self) -> bool:
        """Whether it answers, and is ours: another one may have taken the port, and does not know the key."""
        try:
            if self._session.get(f"{self._url}/health", timeout=TIMEOUT[0]).status_code != 200:
                return False
            found = self._get("/v1/models")
        except (requests.RequestException, ServerFailed, UserError):
            return False
        served = {each["id"]: each for each in found["data"]}
        if not {BASE, *self._names.values()} <= served.keys():
            return False
        self._longest = served[BASE].get("max_model_len")
        return True

    def _get(self, path: str) -> dict[str, Any]:
        return self._read(self._session.get(self._url + path, timeout=TIMEOUT[0], allow_redirects=False))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._read(self._session.post(self._url + path, json=body, timeout=TIMEOUT, allow_redirects=False))
        except requests.RequestException as error:
            # Only the kind of error: its text may repeat what was sent.
            raise self._failed(f"vLLM does not answer any more ({type(error).__name__})") from None

    def _read(self, response: requests.Response) -> dict[str, Any]:
        if response.status_code in (400, 404, 422):
            raise UserError(f"vLLM refuses a request: {shortened(' '.join(response.text.split()))}")
        if response.status_code != 200:
            raise self._failed(f"vLLM answers {response.status_code}")
        found: dict[str, Any] = response.json()
        return found

    def _failed(self, what: str) -> ServerFailed:
        """An error with the end of the server's log, and whether it was killed for want of memory."""
        kind = ServerOutOfMemory if oom_kills() > self._kills else ServerFailed
        return kind(f"{what}{self._end()}")

    def _end(self) -> str:
        """The end of the server's log, for a message."""
        lines = last_lines(self._log, TAIL)
        return f"; the end of {self._log}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def _arguments(folder: str, precision: str, names: Mapping[Path, str], port: int, gpus: int) -> list[str]:
    """Arguments of `vllm`."""
    dtype = "float32" if precision == "32bit" else str(compute_dtype()).removeprefix("torch.")
    found = [
        "serve", str(Path(folder).absolute()), "--served-model-name", BASE, "--host", "127.0.0.1", "--port", str(port),
        # What counts is the study's decoding, not the model's own file.
        "--generation-config", "vllm", "--seed", "0", "--dtype", dtype, "--max-model-len", "auto",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip
    if precision == "nf4":
        # In flight, as vllm-bnb-plugin 0.0.3 does it: NF4 with double quantisation, in blocks of 64, as `load_base`.
        found += ["--quantization", "bitsandbytes"]
    if gpus > 1:
        found += ["--tensor-parallel-size", str(gpus)]
    if names:
        largest = max(map(_rank, names))
        found += [
            "--enable-lora",
            "--max-loras", str(min(len(names), SLOTS)),
            "--max-cpu-loras", str(len(names)),
            "--max-lora-rank", str(next(rank for rank in RANKS if rank >= largest)),
            "--lora-modules",
            *(json.dumps({"name": name, "path": str(path.absolute())}) for path, name in names.items()),
        ]  # fmt: skip
    return found


def _rank(folder: Path) -> int:
    """The largest rank of an adapter's layers."""
    config = read_json(folder / CONFIGURATION)
    return max([config["r"], *(config.get("rank_pattern") or {}).values()])


def _generation_config(folder: str) -> GenerationConfig:
    """What a model's own file says of tokens that end an answer, as transformers takes it."""
    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError:
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
