"""The install command for optional packages."""

from __future__ import annotations

import sys
from pathlib import Path


def install_line(extra: str) -> str:
    """The command that installs an extra beside the running tvmconv: a checkout has one of its own."""
    in_checkout = (Path(sys.prefix) / "tvmconv-stamp").exists()
    return f"scripts/tvmconv setup {extra}" if in_checkout else f"pip install 'tvmconv[{extra}]'"
