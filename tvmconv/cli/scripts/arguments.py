"""The grammar of the scripts that measure: indirect_vs_im2row, thread_scaling, compare_searchers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from tvmconv.cli import measuring, values
from tvmconv.cli.common_arguments import Parser, output_options
from tvmconv.cli.values import argument_type as _type
from tvmconv.database.heuristic import AUTO
from tvmconv.target.cpu_list import cpu_list
from tvmconv.tune import SEARCHERS, TUNE_TASKS


def parse_claims(argv: Sequence[str]) -> argparse.Namespace:
    """The options of scripts/indirect_vs_im2row. Ends as arguments.parse does."""
    parser = Parser(
        prog="indirect_vs_im2row",
        description="Measure indirect against im2row, and on 1x1 kernels against gemm, all by the same register tile.",
        parents=[output_options()],
    )
    parser.add_argument(
        "workloads", nargs="*", default=["resnet18", "vgg16"], metavar="NETWORK",
        help="whose layers are measured (default: resnet18 vgg16)",
    )  # fmt: skip
    measuring.add_samples(parser)
    parser.set_defaults(package="scripts", command="claims")
    return parser.parse_args(argv)


def parse_scaling(argv: Sequence[str]) -> argparse.Namespace:
    """The options of scripts/thread_scaling. Ends as arguments.parse does."""
    cpus = len(os.sched_getaffinity(0))
    parser = Parser(
        prog="thread_scaling",
        description="Measure each layer's best kernel on several threads against the best on one.",
        parents=[output_options()],
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
    measuring.add_samples(parser)
    measuring.add_max_time(parser)
    parser.set_defaults(package="scripts", command="scaling")
    return parser.parse_args(argv)


def parse_searchers(argv: Sequence[str]) -> argparse.Namespace:
    """The options of scripts/compare_searchers. Ends as arguments.parse does."""
    parser = Parser(
        prog="compare_searchers",
        description="Let each searcher spend as many trials on a layer, and measure what they found side by side.",
        parents=[output_options()],
    )
    parser.add_argument("workloads", nargs="+", metavar="WORKLOAD")
    parser.add_argument(
        "-a", "--algorithm", type=_type(values.algorithms), default=values.Algorithms((AUTO,), named=False),
        metavar="A[,A…]", help="algorithms (default: the one that auto takes by hand)",
    )  # fmt: skip
    parser.add_argument(
        "--searchers",
        nargs="+",
        choices=(*SEARCHERS, TUNE_TASKS),
        default=(*SEARCHERS, TUNE_TASKS),
        help=f"default: all; {TUNE_TASKS} is MetaSchedule's own driver",
    )
    parser.add_argument("--trials", type=_type(values.positive), default=50, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--seeds", type=_type(values.positive), default=3, metavar="N", help="how many, from 0 (default: %(default)s)"
    )
    parser.add_argument("--cpus", type=_type(cpu_list), metavar="LIST", help="CPUs to run on, as in 0,2-3")
    parser.set_defaults(package="scripts", command="searchers")
    return parser.parse_args(argv)
