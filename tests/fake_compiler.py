"""A compiler that writes empty kernels and fails on demand. The processes of build_all import this file by its name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request

# Output channels of the problem → what becomes of its compiler.
CRASHES, HANGS, FAILS = 101, 102, 103


def serve(descriptor: int) -> None:
    builder._compile, builder.parsed_quickly = _compile, contextlib.nullcontext  # and TVM is not imported
    builder.serve(descriptor)


def _compile(request: Request, path: Path, folder: Path) -> None:
    if request.shape.oc == CRASHES:
        os.kill(os.getpid(), signal.SIGABRT)
    elif request.shape.oc == HANGS:
        linker = subprocess.Popen(["sleep", "3600"])
        (folder.parent / "linker").write_text(str(linker.pid))
        (folder / "half.so").touch()
        time.sleep(3600)
    elif request.shape.oc == FAILS:
        raise RuntimeError("Traceback (most recent call last):\n  somewhere\nInternalError: no register is left\n")
    path.touch()
