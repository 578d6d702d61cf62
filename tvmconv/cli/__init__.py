"""The command `tvmconv`. Each subcommand is a module in commands, each script one in scripts, imported when called."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module

from tvmconv.cli import arguments
from tvmconv.cli.output import Output
from tvmconv.support.interruption import INTERRUPTED as INTERRUPTED
from tvmconv.support.interruption import exit_code as interrupted
from tvmconv.support.interruption import terminable

# Exit codes: what was asked for went wrong, the call itself was wrong, nobody reads any more.
FAILED, WRONG_CALL, CLOSED_PIPE = 1, 2, 141


def main(
    argv: Sequence[str] | None = None, parse: Callable[[Sequence[str]], argparse.Namespace] = arguments.parse
) -> int:
    """Run one command line, without the program's name; `None` takes the process's own. Returns the exit code.

    `parse` is that of a script of its own grammar. --help, --version and a command line that cannot be parsed end in
    SystemExit, as argparse does it.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _open_closed_streams()
    verbose = 0
    try:
        options = parse(argv)
        verbose = options.verbose
        with terminable(), Output(argv, options) as output:
            code: int = import_module(f"tvmconv.cli.{options.package}.{options.command}").run(options, output)
        return code
    except KeyboardInterrupt as interruption:
        return interrupted(interruption)
    except BrokenPipeError:
        # Python flushes stdout once more at exit: let that go nowhere, instead of to a second complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except Exception as error:
        if verbose >= 2:
            traceback.print_exc()
        print(f"tvmconv: {_sentence(error, verbose)}", file=sys.stderr)
        return _code(error)


def _open_closed_streams() -> None:
    """Let stdout and stderr that the caller has closed lead nowhere; Python has None in their place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _sentence(error: Exception, verbose: int) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    from tvmconv.rpc.errors import DeviceError

    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, (ValueError, TypeError, OSError, DeviceError)):
        return lines[0]
    return f"{type(error).__name__}: {lines[-1]}" + ("" if verbose >= 2 else " (-vv shows where)")


def _code(error: Exception) -> int:
    from tvmconv.support.jsonlines import BadFile

    wrong_call = isinstance(error, (ValueError, TypeError)) and not isinstance(error, BadFile)
    return WRONG_CALL if wrong_call else FAILED
