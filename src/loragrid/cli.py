"""The command line, `loragrid <stage>`: works without Snakemake, too."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from loragrid import commands
from loragrid.errors import UserError
from loragrid.study.arguments import REPORTS
from loragrid.terminal import escape_what_encodings_lack

SHOWING = (
    commands.check,
    commands.plan,
    commands.status,
    commands.failures,
    commands.inspect,
    commands.ask,
    commands.schema,
    commands.table,
)
"""Commands that show something and do nothing else."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0, or 1 after an error that was told in one message.
    """
    escape_what_encodings_lack(sys.stdout, sys.stderr)
    before = signal.getsignal(signal.SIGPIPE)
    try:
        # `| head` ends without a word what only shows something, help included.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        parser = _parser()
        arguments, others = parser.parse_known_args(argv)
        if others and (arguments.command is not commands.ask or any(other.startswith("-") for other in others)):
            parser.error(f"unrecognized arguments: {' '.join(others)}")
        if others:
            arguments.words += others  # argparse takes them only up to the first option
        if arguments.command not in SHOWING:
            # As Python does by itself: a stage must not die unheard of a connection that was closed.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        return arguments.command(arguments) or 0
    except UserError as error:
        print(f"loragrid: {error}", file=sys.stderr)
        return 1
    finally:
        # Whoever called this from a program of theirs goes on with pipes as they had them.
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        finally:
            signal.signal(signal.SIGPIPE, before)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loragrid", description="Stages of the loragrid workflow.")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable, study: bool = True) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        added.set_defaults(command=command)
        if study:
            added.add_argument("--study", required=True, help="name, YAML file, or recorded study.json")
        return added

    add("check", commands.check, study=False).add_argument("study", help="name or YAML file")
    planned = add("plan", commands.plan, study=False)
    planned.add_argument("study", help="name or YAML file")
    planned.add_argument("--device", default="t4", help="the type of GPU, e.g. t4 or a100, or cpu (default: t4)")
    shown = add("status", commands.status, study=False)
    shown.add_argument("study", help="name or YAML file")
    shown.add_argument(
        "--watch", nargs="?", type=_positive, const=0, metavar="SECONDS",
        help="look again and again until Ctrl-C (default: every 10 s; with Slurm every 30 s, and never more than 10)",
    )  # fmt: skip
    failed = add("failures", commands.failures, study=False)
    failed.add_argument("study", help="name or YAML file")
    failed.add_argument("--lines", type=_positive, default=20, help="of each log (default: 20)")
    seen = add("inspect", commands.inspect, study=False)
    seen.add_argument("study", help="name or YAML file")
    seen.add_argument("dataset", nargs="?", help="name in the study (default: every one)")
    seen.add_argument("--model", help="name in the study, for its tokenizer and template (default: the first)")
    seen.add_argument("--records", type=_positive, default=3, help="of the first ones, to show (default: 3)")
    looked = add("ask", commands.ask, study=False)
    looked.add_argument("words", nargs="*", metavar="RUN … PROMPT", help="label or name of each run, or its beginning")
    looked.add_argument("--study", help="name, YAML file, or recorded study.json (default: as config/config.yaml says)")
    looked.add_argument("--all", action="store_true", help="all runs that are trained, in place of named ones")
    looked.add_argument(
        "--base", action="store_true", help="the untrained models beside them; alone, where no run is named"
    )
    looked.add_argument("--file", type=Path, help="prompts, one a line; or JSON Lines with prompt or messages")
    looked.add_argument("--max-new-tokens", type=_positive, default=128, help="of an answer, at most (default: 128)")
    looked.add_argument("--temperature", type=_temperature, default=0.0, help="0 (the default) for greedy decoding")
    add("schema", commands.schema, study=False)
    fetched = add("download", commands.download, study=False)
    fetched.add_argument("--study", help="name, YAML file, or recorded study.json; for all but WordNet")
    which = fetched.add_mutually_exclusive_group(required=True)
    which.add_argument("--wordnet", action="store_true", help="WordNet, which METEOR needs")
    which.add_argument("--dataset", help="id of a download")
    which.add_argument("--model", help="id of a model")
    which.add_argument("--encoder", help="id of an encoder")
    made = add("build", commands.build)
    made.add_argument("--model", required=True, help="id of a model")
    made.add_argument("--threads", type=int, default=2, help="the bytes of the model depend on it (default: 2)")
    add("clean", commands.clean).add_argument("--dataset", required=True, help="id of a cleaned dataset")
    compared = add("contamination", commands.contamination)
    compared.add_argument("--dataset", required=True, help="id of a report")
    made = add("format", commands.format_)
    made.add_argument("--formatted", required=True, help="id of a formatted dataset")
    made.add_argument("--workers", type=_positive, default=1, help="processes; the same is written (default: 1)")
    add("preflight", commands.preflight).add_argument("--preflight", required=True, help="id of a report")
    add("prompts", commands.prompts).add_argument("--prompts", required=True, help="id of the prompts")
    add("encode", commands.encode).add_argument("--references", required=True, help="id of the references")
    trained = add("train", commands.train, study=False)
    trained.add_argument("batch", type=Path, help="results/batches/train-….json")
    trained.add_argument("--gpus", type=int, default=1, help="that train each run together (default: 1)")
    compared = add("log_probabilities", commands.log_probabilities, study=False)
    compared.add_argument("batch", type=Path, help="results/batches/log_probabilities-….json")
    add("generate", commands.generate, study=False).add_argument(
        "batch", type=Path, help="results/batches/generate-….json"
    )
    working = add("worker", commands.worker, study=False)
    working.add_argument("stage", choices=["train", "log_probabilities", "generate"])
    working.add_argument("batch", type=Path, help="results/batches/….json")
    working.add_argument("--members", nargs="+", help="folders of those to work on, in this order (default: all)")
    for some in (trained, working):
        some.add_argument("--checkpoint-minutes", type=float, default=10, help="between checkpoints (default: 10)")
        some.add_argument("--report-to", action="append", default=[], choices=REPORTS, help="draws curves meanwhile")
    published = add("publish", commands.publish, study=False)
    published.add_argument("folder", type=Path, help="of a run or of its answers")
    published.add_argument("outputs", type=Path, nargs="+", help="files below it")
    scored = add("score", commands.score, study=False)
    scored.add_argument("file", type=Path, help="results/batches/score….json; with --metrics, a file of JSON Lines")
    scored.add_argument("--metrics", nargs="+", metavar="METRIC", help="of rows with id, prediction and reference")
    scored.add_argument("--output", type=Path, help="with --metrics: the file to write (default: print it)")
    scored.add_argument("--language", help="with --metrics: of the texts, e.g. tr (default: told from their letters)")
    add("judge", commands.judge, study=False).add_argument("batch", type=Path, help="results/batches/judge-….json")
    add("tabulate", commands.tabulate)
    add("table", commands.table)
    return parser
