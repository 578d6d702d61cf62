"""The command line: its grammar, its defaults, and what is wrong with it."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import tvmconv
from tvmconv import target as targets
from tvmconv.algorithms import ALGORITHMS, algorithm
from tvmconv.choose import AUTO
from tvmconv.cli import rpc_arguments
from tvmconv.cli.values import argument_type as _type
from tvmconv.device import EMULATOR, LOCAL
from tvmconv.log import Logs, folders
from tvmconv.names import unknown
from tvmconv.plan import Setting
from tvmconv.rpc import address
from tvmconv.tile import Tile
from tvmconv.tuned import HAND, TUNED

if TYPE_CHECKING:
    from tvmconv.cli.output import Output

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


class Algorithms(NamedTuple):
    """What -a asks for. Those that were named have to run at least once, those that `all` brings need not."""

    names: tuple[str, ...]
    named: bool

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if self.named and name != AUTO)


_ALL = Algorithms(("all",), named=False)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options. Ends in SystemExit for --help, --version and a command line that is wrong."""
    options = _parser().parse_args(argv)
    if hasattr(options, "device"):
        options.where = address.parse(options.device, options.tracker, options.key)
        options.target = options.target or _default_target(options)
    if getattr(options, "algorithm", None) == _ALL:
        options.algorithm = all_algorithms(options.layout)
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
    parser.add_argument("--samples", type=_type(_positive), metavar="N", help="rounds of each contestant")
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
        "--threads", type=_type(_positive), default=cpus, metavar="N", help="default: one for each CPU, %(default)s"
    )
    parser.add_argument("--cpus", type=_type(_cpu_list), metavar="LIST", help="CPUs to run on, as in 0,2-3")
    parser.add_argument("--samples", type=_type(_positive), metavar="N", help="rounds of each contestant")
    parser.add_argument("--max-time", type=_type(_seconds), metavar="S", help="seconds of a layer")
    parser.set_defaults(command="scaling")
    return parser.parse_args(argv)


def setting(options: argparse.Namespace, output: Output, *, runs_here: bool) -> Setting:
    """What the common options say; `output` hears of tuning logs that are not used.

    The CPUs of a device that is reached through RPC are left out: only the device knows them. Raises ValueError where
    they contradict the machine, or each other.
    """
    if options.tile and TUNED in options.schedule:
        raise ValueError("--schedule tuned brings the tiles of its records: leave --tile out, or say --schedule hand")
    emulated = runs_here and options.device == EMULATOR
    if emulated:
        _check_emulator(options.target)
    cpus = () if emulated or options.where else cpus_of(options.cpus, options.threads)
    if runs_here and not emulated and (reason := options.target.missing_here):
        foreign = platform.machine() != options.target.arch == "aarch64"
        other = "`verify --device emulator` can" if foreign else "use --target native"
        raise ValueError(f"this machine cannot run {options.target.name}: {reason}; {other}")
    return Setting(
        target=options.target,
        layout=options.layout,
        device=options.device,
        threads=options.threads,
        cpus=cpus,
        schedules=options.schedule,
        tile=options.tile,
        max_workspace=getattr(options, "max_workspace", None),
        logs=_logs(options, output),
        where=options.where,
    )


def _logs(options: argparse.Namespace, output: Output) -> Logs:
    return Logs(log_folders(options), output.note if options.verbose else None, output.warn)


def log_folders(options: argparse.Namespace) -> tuple[Path, ...]:
    """Where tuning logs are looked up. Raises ValueError where --log-dir is no folder; `tune` makes one."""
    if options.log_dir and not options.log_dir.is_dir() and options.command != "tune":
        raise ValueError(f"--log-dir {options.log_dir}: there is no such folder")
    return folders(options.log_dir)


def _check_emulator(target: targets.Target) -> None:
    """Raises ValueError where the emulator is not installed, or cannot run the target's code."""
    from tvmconv import emulator

    emulator.require()
    if target.arch != "aarch64":
        raise ValueError(f"the emulator is an aarch64, and {target.name} is not: use -t aarch64 (`list targets`)")


def cpus_of(asked: tuple[int, ...] | tuple[str, ...] | None, threads: int) -> tuple[int, ...]:
    """One CPU for each thread: those asked for, else the first that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    cpus = tuple(allowed) if asked is None else tuple(cpu for cpu in asked if isinstance(cpu, int))
    if not cpus:
        raise ValueError(
            f"--cpus {asked and '+'.join(map(str, asked))}: clusters are a device's; give a list, as in 0,2-3"
        )
    forbidden = sorted(set(cpus).difference(allowed))
    if forbidden:
        raise ValueError(f"--cpus: no CPU {forbidden[0]} for this process, it may use {', '.join(map(str, allowed))}")
    if len(cpus) < threads:
        raise ValueError(
            f"--threads {threads} needs as many CPUs, but there are only {len(cpus)}: use --threads {len(cpus)}"
        )
    return cpus[:threads]


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
    listing.add_argument("--match", type=_type(_regex), metavar="REGEX", help="only names in which REGEX is found")

    show = command("show", "show a layer, its extra memory, its code", _work("all; auto for code"), epilog=_WORKLOADS)
    kind = show.add_mutually_exclusive_group()
    kind.add_argument("--tir", action="store_true", help="print the scheduled TIR")
    kind.add_argument("--asm", action="store_true", help="print the target's assembly")
    kind.add_argument("--workspace", action="store_true", help="print the bytes of extra memory")

    command("verify", "prove kernels exact on integer data", _work("all"), epilog=_WORKLOADS)

    bench = command("bench", "verify, then measure, interleaved with other libraries", _work("all"), epilog=_WORKLOADS)
    bench.add_argument("--peers", default="", metavar="P[,P…]|all", help="libraries to compare with (`list peers`)")
    bench.add_argument("--cold", action="store_true", help="evict x, weights, indirection and y before each run")
    bench.add_argument("--samples", type=_type(_positive), metavar="N", help="rounds of each contestant (default: 11)")
    bench.add_argument("--min-time", type=_type(_seconds), metavar="S", help="seconds of a round (default: 0.02)")
    bench.add_argument("--max-time", type=_type(_seconds), metavar="S", help="seconds of a layer (default: 30)")
    bench.add_argument("--output", type=Path, metavar="FILE.jsonl", help="add the results to FILE; what it has is kept")
    bench.add_argument("--plot", type=Path, metavar="FILE.png|svg", help="draw time, memory and percent of peak")

    tune = command("tune", "search each layer's fastest tile", _work("auto"), epilog=_WORKLOADS)
    tune.add_argument(
        "--trials", type=_type(_positive), required=True, metavar="N", help="tiles of each layer, known ones included"
    )
    tune.add_argument("--seed", type=_type(_seed), default=0, metavar="S", help="of the search (default: %(default)s)")
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
        type=_type(_bytes),
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
        if name in ("show", "best", "plot"):
            action.add_argument("--match", type=_type(_regex), metavar="REGEX", help="only keys in which it is found")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what the tool has printed, or TFLite's CSV")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="whose layers FILE has the times of")
    parser.add_argument(
        "--device", dest="made_on", default="unknown", metavar="D", help="where FILE was made (default: %(default)s)"
    )
    parser.add_argument("--threads", type=_type(_positive), metavar="N", help="of the tool, if FILE does not say")
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
        "-a", "--algorithm", type=_type(_algorithms), default=None, metavar="A[,A…]|all|auto",
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
    options.add_argument("--threads", type=_type(_positive), default=1, metavar="N", help="default: %(default)s")
    options.add_argument(
        "--cpus", type=_type(_cpus), metavar="LIST|CLUSTER[+CLUSTER]", help="CPUs to run on, as in 0,2-3 or big+mid"
    )
    options.add_argument(
        "--schedule", type=_type(_schedules), default=(AUTO,), metavar="hand|tuned|hand,tuned|auto",
        help="auto, the default, is tuned where a tuning log has a record of exactly this kernel, else hand",
    )  # fmt: skip
    options.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="tuning logs, in the place of one's own (`log --help` says where)"
    )
    options.add_argument("--tile", type=_type(Tile.parse), metavar="MRxNR", help="register tile (default: by schedule)")
    options.add_argument(
        "--jobs", type=_type(_positive), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes that build and verify (default: %(default)s)",
    )  # fmt: skip
    return options


def all_algorithms(layout: str | None = None) -> Algorithms:
    """What `-a all` stands for: those of one layout, nhwc if none is given."""
    return Algorithms(tuple(known.name for known in ALGORITHMS if known.layout == (layout or "nhwc")), named=False)


def _algorithms(text: str) -> Algorithms:
    if text == "all":
        return _ALL
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    if not names:
        raise ValueError("name at least one algorithm, or all, or auto")
    for name in names:
        if name == "all":
            raise ValueError("all stands for itself: name it alone")
        if name != AUTO:
            algorithm(name)
    return Algorithms(names, named=True)


def _schedules(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    for name in names:
        if name not in (HAND, TUNED, AUTO):
            raise ValueError(unknown("schedule", name, (HAND, TUNED, AUTO)))
    if not names or (AUTO in names and len(names) > 1):
        raise ValueError("name hand, tuned, both, or auto alone")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper(), re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not a number of bytes such as 0, 4096, 64K, 2M or 1G")
    return int(match[1]) << 10 * " KMG".index(match[2] or " ")


def _cpus(text: str) -> tuple[int, ...] | tuple[str, ...]:
    """A list of CPUs, or a device's clusters by name, as in big+mid."""
    if re.fullmatch(r"[a-z]+(\+[a-z]+)*", text):
        return tuple(dict.fromkeys(text.split("+")))
    return _cpu_list(text)


def _cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers from a list such as 0,2-3."""
    cpus: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part, re.ASCII)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{text!r} is not a list of CPUs such as 0,2-3")
        cpus += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(cpus))


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
