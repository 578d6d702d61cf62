"""The grammar, defaults and checks of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmconv.cli import measuring, rpc_arguments, values
from tvmconv.cli.common_arguments import Parser, output_options, work
from tvmconv.cli.values import argument_type as _type
from tvmconv.database.tuned import HAND
from tvmconv.rpc import address
from tvmconv.target import targets
from tvmconv.target.devices import EMULATOR
from tvmconv.tune import SEARCHERS, XGB
from tvmconv.version import __version__

LOG_ACTIONS = {
    "show": "every record",
    "best": "for each kernel what counts, beside the hand-written schedule",
    "merge": "all records in one file, each once, in order of time",
    "check": "is every line a record, and can this machine use it?",
    "plot": "draw the best speed so far, trial by trial",
}
LISTS = ("networks", "layers", "algorithms", "schedules", "targets", "devices", "peers")

_WORKLOADS = """\
WORKLOAD is one of
  ic64ih56oc64kh3ph1  a benchdnn descriptor; a missing mb is 1 here (2 in benchdnn)
  resnet18            a network: `tvmconv list networks` names all
  resnet18/conv1      a layer of one: `tvmconv list layers resnet18` names all
  model.onnx          an ONNX model's convolutions, from a file of any name or a pipe
  model.onnx/conv1    one of them, by its name in the file or in `tvmconv list layers model.onnx`
  @FILE               a benchdnn batch file, or a pipe of one

Exit codes: 0 all well; 1 something was wrong, failed or rejected throughout; 2 the call was wrong; 128 and the
signal's number: 130 after Ctrl-C."""

_LOGS = """\
Logs are looked up in $XDG_DATA_HOME/tvmconv/tuning_logs (by default ~/.local/share/tvmconv/tuning_logs) or the folder
that --log-dir names, then among those that come with tvmconv, in a folder for each target. A record counts where
layer, layout, algorithm, target, CPU features, threads and the versions of TVM and LLVM are the same."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options. Ends in SystemExit for --help, --version and a command line that is wrong."""
    options = _parser().parse_args(argv)
    if hasattr(options, "device"):
        options.where = address.parse(options.device, options.tracker, options.key)
        options.target = options.target or _default_target(options)
    if getattr(options, "algorithm", None) == values.ALL:
        options.algorithm = values.all_algorithms(options.layout)
    return options


def _default_target(options: argparse.Namespace) -> targets.Target:
    if options.where is not None:
        return address.default_target(options.where)
    return targets.parse("aarch64" if options.device == EMULATOR else "native")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="tvmconv", description="Convolution layers for CPUs, compiled by TVM.")
    parser.set_defaults(package="commands")
    parser.add_argument("--version", action="version", version=f"tvmconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, *parents: Parser, **more: Any) -> Parser:
        return commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=[*parents, output_options()],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )

    listing = command("list", "say what there is: networks, a network's layers, algorithms, targets, peers")
    listing.add_argument("what", choices=LISTS, metavar="|".join(LISTS))
    listing.add_argument("network", nargs="?", metavar="NETWORK|MODEL.onnx", help="whose layers are to be listed")
    listing.add_argument(
        "--match", type=_type(values.regex), metavar="REGEX", help="only names in which REGEX is found"
    )

    show = command(
        "show", "show a layer, its extra memory, its code", work("all; auto for code, estimates"), epilog=_WORKLOADS
    )
    kind = show.add_mutually_exclusive_group()
    kind.add_argument("--tir", action="store_true", help="print the scheduled TIR")
    kind.add_argument("--asm", action="store_true", help="print the target's assembly")
    kind.add_argument("--workspace", action="store_true", help="print the bytes of extra memory")
    kind.add_argument("--estimate", action="store_true", help="for aarch64: rate the hot loop, count instructions")

    command("verify", "prove kernels exact on integer data", work("all"), epilog=_WORKLOADS)

    bench = command("bench", "verify, then measure, interleaved with other libraries", work("all"), epilog=_WORKLOADS)
    bench.add_argument("--peers", default="", metavar="P[,P…]|all", help="libraries to compare with (`list peers`)")
    bench.add_argument("--cold", action="store_true", help="evict x, weights, indirection and y before each run")
    measuring.add_samples(bench)
    bench.add_argument("--min-time", type=_type(values.seconds), metavar="S", help="seconds of a round (default: 0.02)")
    measuring.add_max_time(bench)
    bench.add_argument("--output", type=Path, metavar="FILE.jsonl", help="add the results to FILE; what it has is kept")
    bench.add_argument("--plot", type=Path, metavar="FILE.png|svg", help="draw time, memory and percent of peak")

    tune = command("tune", "search each layer's fastest tile", work("auto"), epilog=_WORKLOADS)
    tune.add_argument(
        "--trials",
        type=_type(values.positive),
        required=True,
        metavar="N",
        help="tiles of each layer, known ones included",
    )
    tune.add_argument(
        "--seed", type=_type(values.seed), default=0, metavar="S", help="of the search (default: %(default)s)"
    )
    tune.add_argument(
        "--searcher",
        choices=SEARCHERS,
        default=XGB,
        help="what proposes tiles (default: %(default)s); metaschedule: TVM's own search, to compare with",
    )
    tune.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="go on with what the log has, which is the default; --no-resume measures all anew",
    )  # fmt: skip
    tune.set_defaults(schedule=(HAND,))

    build = command("compile", "write kernels as libraries with C headers", work("auto"), epilog=_WORKLOADS)
    build.add_argument(
        "-o",
        dest="output",
        required=True,
        metavar="FILE.so|FILE.a|DIR/",
        help="one shared object or static library of all kernels, or a folder of a shared object for each",
    )
    build.add_argument(
        "--standalone",
        action="store_true",
        help="a program that proves and times the layers on any Linux or Android, in the place of a shared object",
    )
    build.add_argument(
        "--results",
        type=Path,
        metavar="FILE.jsonl",
        help="auto takes each layer's fastest of this file (bench --output)",
    )
    build.add_argument(
        "--max-workspace",
        type=_type(values.bytes),
        metavar="BYTES",
        help="most extra memory of a kernel, as in 0, 64K, 2M, 1G",
    )
    _add_log(commands)
    _add_import(command("import", "take over results of TFLite's benchmark_model or of benchncnn, as peers' rows"))
    rpc_arguments.add(command("rpc", rpc_arguments.SUMMARY), output_options)
    return parser


def _add_log(commands: Any) -> None:
    """The actions of `log`, each with its options."""
    log = commands.add_parser("log", help="look at tuning logs", description="Look at tuning logs.")
    actions = log.add_subparsers(dest="what", metavar="|".join(LOG_ACTIONS), required=True)
    for name, summary in LOG_ACTIONS.items():
        action = actions.add_parser(
            name, help=summary, description=f"{name}: {summary}.", parents=[output_options()], epilog=_LOGS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        some = "+" if name == "merge" else "*"
        action.add_argument("files", nargs=some, type=Path, metavar="FILE|DIR", help="logs (default: all there are)")
        action.add_argument("--log-dir", type=Path, metavar="DIR", help="tuning logs, in the place of one's own")
        if name in ("merge", "plot"):
            kinds = "FILE.jsonl" if name == "merge" else "FILE.png|svg"
            action.add_argument("-o", dest="output", type=Path, required=True, metavar=kinds, help="what to write")
        if name == "merge":
            action.add_argument("--finals", action="store_true", help="only what decides: the last final of each key")
        if name in ("show", "best", "plot"):
            action.add_argument(
                "--match", type=_type(values.regex), metavar="REGEX", help="only keys in which it is found"
            )


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what the tool has printed, or TFLite's CSV")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="whose layers FILE has the times of")
    parser.add_argument(
        "--device", dest="made_on", default="unknown", metavar="D", help="where FILE was made (default: %(default)s)"
    )
    parser.add_argument("--threads", type=_type(values.positive), metavar="N", help="of the tool, if FILE does not say")
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="add the rows to FILE; what it has is kept")
    parser.set_defaults(command="import_results")  # a module cannot be called import
