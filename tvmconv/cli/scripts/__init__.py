"""The scripts that measure, one a module, with `run` as the commands have it; their options are in arguments."""

from __future__ import annotations

from tvmconv import cli
from tvmconv.cli.scripts import arguments

_PARSERS = {
    "claims": arguments.parse_claims,
    "scaling": arguments.parse_scaling,
    "searchers": arguments.parse_searchers,
}


def main(name: str) -> int:
    """Run the script's module of that name on the process's command line. Returns the exit code."""
    return cli.main(parse=_PARSERS[name])
