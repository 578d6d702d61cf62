"""The command line: its grammar, its defaults, and what is wrong with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import tvmconv
from tvmconv import target as targets
from tvmconv.choose import AUTO
from tvmconv.cli import rpc_arguments, values
from tvmconv.cli.values import argument_type as _type
from tvmconv.cpus import cpu_list
from tvmconv.device import EMULATOR, LOCAL
from tvmconv.rpc import address
from tvmconv.tile import Tile
from tvmconv.tuned import HAND

if TYPE_CHECKING:
    pass

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
  model.onnx          an ONNX model's convolutions; model.onnx/conv1 is one of them
  @FILE               a benchdnn batch file

Exit codes: 0 all well; 1 something was wrong, failed or rejected throughout; 2 the call was wrong; 130 Ctrl-C."""

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


def parse_claims(argv: Sequence[str]) -> argparse.Namespace:
    """The options of scripts/indirect_vs_im2row. Ends as parse does."""
    parser = _Parser(
        prog="indirect_vs_im2row",
        description="Measure indirect against im2row, and on 1x1 kernels against gemm, all by the same register tile.",
        parents=[_output_options()],
    )
    parser.add_argument(
        "workloads", nargs="*", default=["resnet18", "vgg16"], metavar="NETWORK",
        help="whose layers are measured (default: resnet18 vgg16)",
    )  # fmt: skip
    parser.add_argument("--samples", type=_type(values.positive), metavar="N", help="rounds of each contestant")
    parser.set_defaults(command="claims")
    return parser.parse_args(argv)


def parse_scaling(argv: Sequence[str]) -> argparse.Namespace:
    """The options of scripts/thread_scaling. Ends as parse does."""
    cpus = len(os.sched_getaffinity(0))
    parser = _Parser(
        prog="thread_scaling",
        description="Measure each layer's best kernel on several threads against the best on one.",
        parents=[_output_options()],
    )
    parser.add_argument(
        "workloads", nargs="*", default=["resnet18", "vgg16", "squeezenet1.1"], metavar="NETWORK",
        help="whose layers of at least 50 MFLOP are measured (default: resnet18 vgg16 squeezenet1.1)",
    )  # fmt: skip
    parser.add_argument(
        "--threads",
        type=_type(values.positive),
        default=cpus,
        metavar="N",
        help="default: one for each CPU, %(default)s",
    )
    parser.add_argument("--cpus", type=_type(cpu_list), metavar="LIST", help="CPUs to run on, as in 0,2-3")
    parser.add_argument("--samples", type=_type(values.positive), metavar="N", help="rounds of each contestant")
    parser.add_argument("--max-time", type=_type(values.seconds), metavar="S", help="seconds of a layer")
    parser.set_defaults(command="scaling")
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tvmconv: {message.removeprefix('argument ')} (`{self.prog} --help` says more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tvmconv", description="Convolution layers for CPUs, compiled by TVM.")
    parser.add_argument("--version", action="version", version=f"tvmconv {tvmconv.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, *parents: _Parser, **more: Any) -> _Parser:
        return commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=[*parents, _output_options()],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )

    listing = command("list", "say what there is: networks, a network's layers, algorithms, targets, peers")
    listing.add_argument("what", choices=LISTS, metavar="|".join(LISTS))
    listing.add_argument("network", nargs="?", metavar="NETWORK|FILE.onnx", help="whose layers are to be listed")
    listing.add_argument(
        "--match", type=_type(values.regex), metavar="REGEX", help="only names in which REGEX is found"
    )

    show = command(
        "show", "show a layer, its extra memory, its code", _work("all; auto for code, estimates"), epilog=_WORKLOADS
    )
    kind = show.add_mutually_exclusive_group()
    kind.add_argument("--tir", action="store_true", help="print the scheduled TIR")
    kind.add_argument("--asm", action="store_true", help="print the target's assembly")
    kind.add_argument("--workspace", action="store_true", help="print the bytes of extra memory")
    kind.add_argument("--estimate", action="store_true", help="for aarch64: rate the hot loop, count instructions")

    command("verify", "prove kernels exact on integer data", _work("all"), epilog=_WORKLOADS)

    bench = command("bench", "verify, then measure, interleaved with other libraries", _work("all"), epilog=_WORKLOADS)
    bench.add_argument("--peers", default="", metavar="P[,P…]|all", help="libraries to compare with (`list peers`)")
    bench.add_argument("--cold", action="store_true", help="evict x, weights, indirection and y before each run")
    bench.add_argument(
        "--samples", type=_type(values.positive), metavar="N", help="rounds of each contestant (default: 11)"
    )
    bench.add_argument("--min-time", type=_type(values.seconds), metavar="S", help="seconds of a round (default: 0.02)")
    bench.add_argument("--max-time", type=_type(values.seconds), metavar="S", help="seconds of a layer (default: 30)")
    bench.add_argument("--output", type=Path, metavar="FILE.jsonl", help="add the results to FILE; what it has is kept")
    bench.add_argument("--plot", type=Path, metavar="FILE.png|svg", help="draw time, memory and percent of peak")

    tune = command("tune", "search each layer's fastest tile", _work("auto"), epilog=_WORKLOADS)
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
        "--searcher", choices=("xgb", "random"), default="xgb", help="what proposes tiles (default: %(default)s)"
    )
    tune.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="go on with what the log has, which is the default; --no-resume measures all anew",
    )  # fmt: skip
    tune.set_defaults(schedule=(HAND,))

    build = command("compile", "write kernels as shared objects with C headers", _work("auto"), epilog=_WORKLOADS)
    build.add_argument(
        "-o", dest="output", required=True, metavar="FILE|DIR/", help="one file of all kernels, or a folder of many"
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
    rpc_arguments.add(command("rpc", rpc_arguments.SUMMARY), _output_options)
    return parser


def _add_log(commands: Any) -> None:
    """The actions of `log`, each with its options."""
    log = commands.add_parser("log", help="look at tuning logs", description="Look at tuning logs.")
    actions = log.add_subparsers(dest="what", metavar="|".join(LOG_ACTIONS), required=True)
    for name, summary in LOG_ACTIONS.items():
        action = actions.add_parser(
            name, help=summary, description=f"{name}: {summary}.", parents=[_output_options()], epilog=_LOGS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        some = "+" if name == "merge" else "*"
        action.add_argument("files", nargs=some, type=Path, metavar="FILE|DIR", help="logs (default: all there are)")
        action.add_argument("--log-dir", type=Path, metavar="DIR", help="tuning logs, in the place of one's own")
        if name in ("merge", "plot"):
            kinds = "FILE.jsonl" if name == "merge" else "FILE.png|svg"
            action.add_argument("-o", dest="output", type=Path, required=True, metavar=kinds, help="what to write")
        if name == "merge":
            action.add_argument("--finals", action="store_true", help="only what decides: the finals, not the trials")
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


def _output_options() -> _Parser:
    options = _Parser(add_help=False)
    options.add_argument("--json", action="store_true", help="one JSON object a line on stdout, and nothing else there")
    options.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv: errors with a traceback")
    options.add_argument("-q", "--quiet", action="store_true", help="no progress, no warnings")
    options.add_argument("--version", action="version", version=f"tvmconv {tvmconv.__version__}")
    return options


def _work(algorithms_default: str) -> _Parser:
    """The options of every command that works on layers."""
    options = _Parser(add_help=False)
    options.add_argument("workloads", nargs="+", metavar="WORKLOAD")
    options.add_argument(
        "-a", "--algorithm", type=_type(values.algorithms), default=None, metavar="A[,A…]|all|auto",
        help=f"algorithms (default: {algorithms_default})",
    )  # fmt: skip
    options.add_argument(
        "-t",
        "--target",
        type=_type(targets.parse),
        metavar="T",
        help="default: the device's, native here, aarch64 in the emulator (`list targets`)",
    )
    options.add_argument(
        "--device",
        default=LOCAL,
        metavar="D",
        help="where kernels run: local (default), emulator, KEY[/CLUSTER] of a tracker, HOST:PORT of a server, "
        "emulated-aarch64 (`list devices`)",
    )
    options.add_argument(
        "--tracker",
        metavar="HOST:PORT",
        help="who knows KEY (default: TVM_TRACKER_HOST and _PORT, 127.0.0.1:9190)",
    )
    options.add_argument("--key", metavar="K", help="what a device's server is called (default: TVM_KEY, else KEY)")
    options.add_argument(
        "--layout",
        choices=("nhwc", "nchw"),
        help="of x and y (default: nhwc, or nchw where an algorithm knows only that)",
    )
    options.add_argument("--threads", type=_type(values.positive), default=1, metavar="N", help="default: %(default)s")
    options.add_argument(
        "--cpus",
        type=_type(values.cpus),
        metavar="LIST|CLUSTER[+CLUSTER]",
        help="CPUs to run on, as in 0,2-3 or big+mid",
    )
    options.add_argument(
        "--schedule", type=_type(values.schedules), default=(AUTO,), metavar="hand|tuned|hand,tuned|auto",
        help="auto, the default, is tuned where a tuning log has a record of exactly this kernel, else hand",
    )  # fmt: skip
    options.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="tuning logs, in the place of one's own (`log --help` says where)"
    )
    options.add_argument("--tile", type=_type(Tile.parse), metavar="MRxNR", help="register tile (default: by schedule)")
    options.add_argument(
        "--jobs", type=_type(values.positive), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes that build and verify (default: %(default)s)",
    )  # fmt: skip
    return options
