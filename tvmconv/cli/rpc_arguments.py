"""The grammar of `tvmconv rpc`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from tvmconv.cli.values import argument_type, port
from tvmconv.target import targets

SUMMARY = "serve this machine, or another one, as a device that runs kernels"

_LOOPBACK = "default: %(default)s; whoever reaches it runs code here"


def add(parser: argparse.ArgumentParser, common: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds the subcommands, each with the `common` options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        description = summary[0].upper() + summary[1:] + "."
        return actions.add_parser(name, help=summary, description=description, parents=[common()])

    tracker = action("tracker", "run TVM's tracker, where devices register and clients ask for them")
    _add_place(tracker, 9190)

    serve = action("serve", "serve this machine as a device")
    serve.add_argument("--emulate", choices=("aarch64",), help="the bundle of an aarch64 instead, under qemu-user")
    _add_place(serve, 9090)
    serve.add_argument("--tracker", metavar="HOST:PORT", help="register there, for clients that ask for --key")
    serve.add_argument("--key", metavar="K", help="what this device is called")
    serve.add_argument("--custom-addr", metavar="HOST", help="where clients find it (default: where the tracker does)")
    serve.add_argument("--work", type=Path, metavar="DIR", help="where sessions have their folders (default: /tmp)")
    serve.add_argument("--disk", metavar="BYTES", help="that a session may store (default: half of what is free)")
    serve.add_argument("--cpus", metavar="LIST", help="CPUs to run on, as in 0,2-3 (default: all)")
    serve.add_argument("--session-timeout", metavar="S", help="most seconds of a session (default: 3600)")

    bundle = action("bundle", "write the folder that a device needs: a server, TVM's runtime, a C library")
    bundle.add_argument(
        "-t",
        "--target",
        type=argument_type(targets.parse),
        required=True,
        metavar="T",
        help="a device (`list devices`)",
    )
    bundle.add_argument("-o", dest="output", type=Path, required=True, metavar="DIR", help="is made, or renewed")
    bundle.add_argument(
        "--libc",
        choices=("pinned", "newest", "none"),
        default="pinned",
        help="Debian's C library of the version tested, of the one that apt offers, or the device's own, if that is "
        "glibc 2.28 or newer (default: %(default)s)",
    )

    deploy = action("deploy", "send the server to a device, start it, and examine the way there; --stop undoes it")
    deploy.add_argument("where", metavar="adb[:SERIAL]|ssh:USER@HOST", help="an Android phone, a board or a server")
    deploy.add_argument("--stop", action="store_true", help="end what was deployed, and remove it from the device")
    deploy.add_argument(
        "-t", "--target", type=argument_type(targets.parse), metavar="T", help="default: by the device's model"
    )
    deploy.add_argument("--tracker", metavar="HOST:PORT", help="register there (default: TVM_TRACKER_HOST and _PORT)")
    deploy.add_argument("--key", metavar="K", help="what it is called (default: TVM_KEY, else by its model)")
    deploy.set_defaults(command="rpc_deploy")

    doctor = action("doctor", "say what is wrong between here and a device, and what to do about it")
    doctor.add_argument(
        "--device",
        dest="examined",
        metavar="D",
        help="KEY, HOST:PORT or emulated-aarch64 (default: the tracker's only key)",
    )
    doctor.add_argument("--tracker", metavar="HOST:PORT", help="default: TVM_TRACKER_HOST and _PORT, 127.0.0.1:9190")
    doctor.add_argument("--key", metavar="K", help="the server's, if --device is its address (default: TVM_KEY)")
    doctor.set_defaults(command="rpc_doctor")


def _add_place(parser: argparse.ArgumentParser, default_port: int) -> None:
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=_LOOPBACK)
    parser.add_argument(
        "--port", type=argument_type(port), default=default_port, metavar="N",
        help="default: %(default)s; 0: any that is free, which is printed",
    )  # fmt: skip
