"""A stand-in for `vllm serve` where there is no CUDA: it speaks the part of its HTTP that loragrid uses.

It answers by transformers, with the base and the adapters that its arguments name, and with loragrid's own way of
drawing tokens, so that its answers are those of `backend: transformers`. It shows that what loragrid sends means what
it should, and nothing of vLLM itself.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TESTS, SOURCE = Path(__file__).parent, Path(__file__).parents[1] / "src"


def install(folder, name="vllm", **behaviour):
    """Put an executable into a folder.

    Args:
        folder: where; it also gets what was asked, see `requests_of`.
        name: of the executable.
        behaviour: `dies`: what it says before it ends at once; `until`: requests after which it kills itself;
            `refuses`: the number of a request that it refuses; `room`: tokens that it says to have room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    file = folder / name
    file.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {[str(SOURCE), str(TESTS)]!r}\n"
        f"from pathlib import Path\nfrom vllm_stand_in import main\nmain(Path({str(folder)!r}))\n"
    )
    file.chmod(0o755)
    return file


def starts_of(folder):
    """Arguments, environment and processes of each start."""
    file = folder / "starts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def requests_of(folder):
    """Body and headers of each request for an answer."""
    file = folder / "requests.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main(folder):
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    for name in ("served-model-name", "host", "port", "generation-config", "seed", "dtype", "max-model-len",
                 "quantization", "max-loras", "max-cpu-loras", "max-lora-rank"):  # fmt: skip
        parser.add_argument(f"--{name}")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-modules", nargs="+", type=json.loads, default=[])
    arguments = parser.parse_args()
    behaviour = json.loads((folder / "behaviour.json").read_text())
    # As vLLM, it has a process that computes, which does not end by itself when the first one is killed.
    engine = subprocess.Popen(["sleep", "600"])
    start = {"argv": sys.argv[1:], "environment": dict(os.environ), "processes": [os.getpid(), engine.pid]}
    append(folder / "starts.jsonl", start)
    if "dies" in behaviour:
        sys.exit(behaviour["dies"])
    print("loading the model", flush=True)
    ThreadingHTTPServer.request_queue_size = 256
    with answering(arguments, folder, behaviour) as handler:
        server = ThreadingHTTPServer((arguments.host, int(arguments.port)), handler)
        server.daemon_threads = True
        server.serve_forever()


@contextlib.contextmanager
def answering(arguments, folder, behaviour):
    import torch

    from loragrid.modeling.load import load_base
    from loragrid.modeling.mixed import mixed, read_updates
    from loragrid.modeling.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    assert arguments.generation_config == "vllm"
    base = load_base(arguments.model, "nf4" if arguments.quantization == "bitsandbytes" else "16bit").eval()
    tokenizer = load_tokenizer(arguments.model)
    largest = int(arguments.max_lora_rank or 0)
    updates = [read_updates(base, Path(module["path"])) for module in arguments.lora_modules]
    assert all(update.a.shape[0] <= largest for adapter in updates for update in adapter.values())
    names = [arguments.served_model_name, *(module["name"] for module in arguments.lora_modules)]
    one_at_a_time, key = threading.Lock(), os.environ["VLLM_API_KEY"]

    def complete(body):
        from loragrid.generation.sampling import processors

        choose([names.index(body["model"])])
        ids, ends = torch.tensor([body["prompt"]]), body["stop_token_ids"]
        words = {"stop_strings": body["stop"], "tokenizer": tokenizer} if body.get("stop") else {}
        base.generation_config.eos_token_id = None
        drawing = processors({**body, "max_new_tokens": body["max_tokens"]}, [0], ids.shape[1], [body["seed"]])
        with torch.inference_mode():
            out = base.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=body["max_tokens"],
                eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, do_sample=False, logits_processor=drawing,
                **words,
            )  # fmt: skip
        tokens = out[0, ids.shape[1] :].tolist()
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        ended = tokens[-1] in ends or any(word in text for word in body.get("stop", []))
        assert body["return_token_ids"]
        return {"token_ids": tokens, "text": text, "finish_reason": "stop" if ended else "length"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                return self.send(200, None)
            if self.path == "/version":
                return self.send(200, {"version": "0.0.0+stand-in"})
            if self.headers["Authorization"] != f"Bearer {key}":
                return self.send(401, {"error": "Unauthorized"})
            room = behaviour.get("room", base.config.max_position_embeddings)
            return self.send(200, {"data": [{"id": name, "max_model_len": room} for name in names]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != f"Bearer {key}":
                return self.send(401, {"error": "Unauthorized"})
            with one_at_a_time:
                append(folder / "requests.jsonl", {"body": body, "headers": dict(self.headers)})
                if len(requests_of(folder)) == behaviour.get("until"):
                    os.kill(os.getpid(), 9)
                if len(requests_of(folder)) == behaviour.get("refuses"):
                    return self.send(400, {"error": {"message": "a word of it is not allowed"}})
                if len(body["prompt"]) + body["max_tokens"] > base.config.max_position_embeddings:
                    return self.send(400, {"error": {"message": "longer than the model's context"}})
                choice = complete(body)
            return self.send(200, {"choices": [choice]})

        def send(self, status, content):
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with mixed(base, [None, *updates]) as choose:
        yield Handler


def append(file, record):
    with file.open("a") as out:
        out.write(json.dumps(record) + "\n")
