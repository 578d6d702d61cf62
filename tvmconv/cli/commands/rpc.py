"""tvmconv rpc: servers, trackers, bundles and deployment for remote devices."""

from __future__ import annotations

import argparse
import os

from tvmconv.cli.output import Output


def run(options: argparse.Namespace, output: Output) -> int:
    return _ACTIONS[options.action](options, output)


def _tracker(options: argparse.Namespace, output: Output) -> int:
    from tvmconv.rpc.deploy import tracker

    tracker.serve(options.host, options.port)
    return 0


def _serve(options: argparse.Namespace, output: Output) -> int:
    """Turns this process into the server, so that it gets the signals, and its exit code is the command's."""
    from tvmconv.rpc.deploy import local_device

    if options.tracker and not options.key:
        raise ValueError("--tracker needs --key: what clients ask for this device by")
    program = local_device.emulated_command(output.warn) if options.emulate else local_device.native_command()
    command = [*program, "--host", options.host, "--port", str(options.port)]
    for name in ("tracker", "key", "custom_addr", "work", "disk", "cpus", "session_timeout"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    os.execv(command[0], command)


def _bundle(options: argparse.Namespace, output: Output) -> int:
    from tvmconv.rpc.deploy import bundle

    bundle.make(options.target, options.output, options.libc, output.warn)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    names = sorted(path.name for path in options.output.iterdir())
    output.row(
        {"kind": "result", "path": str(options.output), "target": options.target.name, "bytes": size, "files": names}
    )
    output.text(f"{options.output}: {len(names)} files, {size / 1e6:.1f} MB; push it to the device, start run.sh there")
    return 0


_ACTIONS = {"tracker": _tracker, "serve": _serve, "bundle": _bundle}
