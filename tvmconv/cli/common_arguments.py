"""The options that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from tvmconv.cli import values
from tvmconv.cli.values import argument_type as _type
from tvmconv.database.heuristic import AUTO
from tvmconv.target import targets
from tvmconv.target.devices import LOCAL
from tvmconv.target.tile import Tile
from tvmconv.version import __version__


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tvmconv: {message.removeprefix('argument ')} (`{self.prog} --help` says more)\n")


def output_options() -> Parser:
    options = Parser(add_help=False)
    options.add_argument("--json", action="store_true", help="one JSON object a line on stdout, and nothing else there")
    options.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv: errors with a traceback")
    options.add_argument("-q", "--quiet", action="store_true", help="no progress, no warnings")
    options.add_argument("--version", action="version", version=f"tvmconv {__version__}")
    return options


def work(algorithms_default: str) -> Parser:
    """The options of every command that works on layers."""
    options = Parser(add_help=False)
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
