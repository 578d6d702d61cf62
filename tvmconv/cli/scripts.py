"""The grammar of the scripts that measure, scripts/indirect_vs_im2row and scripts/thread_scaling."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from tvmconv.cli import measuring, values
from tvmconv.cli.common_arguments import Parser, output_options
from tvmconv.cli.values import argument_type as _type
from tvmconv.cpus import cpu_list


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
    parser.set_defaults(command="claims")
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
    parser.set_defaults(command="scaling")
    return parser.parse_args(argv)
