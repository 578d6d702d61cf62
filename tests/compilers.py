"""zig as a compiler that tests call by themselves, as users do, with the cache that the project's own calls fill."""

from __future__ import annotations

import os
import sys

from tvmconv.native.zig import zig_cache

CC = (sys.executable, "-m", "ziglang", "cc")


def environment() -> dict[str, str]:
    """That of a process that runs CC: its first program would take zig half a minute otherwise."""
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(zig_cache())}
