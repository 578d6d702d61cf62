"""A compiler in whose place kernels turn out faulty. The processes of a pool import this file by its name.

It copies kernels of faulty_kernel.c that were made before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

from tvmconv.compiler import builder
from tvmconv.compiler.builder import Request

KERNELS = "FAULTY_KERNELS"  # the environment's name for where they are
FATES = "FAULTY_TILES"  # and for a file of what becomes of each tile; all others turn out well
CRASHES, HANGS, FAILS = "the compiler crashes", "the compiler hangs", "the compiler fails"


def serve(descriptor: int) -> None:
    builder._compile, builder.parsed_quickly = _compile, contextlib.nullcontext  # and TVM is not imported
    builder.serve(descriptor)


def _compile(request: Request, path: Path, folder: Path) -> None:
    fate = json.loads(Path(os.environ[FATES]).read_text()).get(str(request.tile), "NONE")
    if fate == CRASHES:
        os.kill(os.getpid(), signal.SIGABRT)
    elif fate == HANGS:
        time.sleep(3600)
    elif fate == FAILS:
        raise RuntimeError("InternalError: no register is left")
    shutil.copy(Path(os.environ[KERNELS], f"{fate}.so"), path)
