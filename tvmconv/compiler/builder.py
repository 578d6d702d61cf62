"""Builds kernel files from requests, with a cache keyed by all that decides the code."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvmconv import schedules
from tvmconv.algorithms import algorithm as find_algorithm
from tvmconv.algorithms.base import Algorithm
from tvmconv.algorithms.microkernel.program import Program
from tvmconv.compiler import cache_key, link
from tvmconv.compiler.parser_cache import parsed_quickly
from tvmconv.native.toolchain import cache, workplace
from tvmconv.runtime.kernel_file.description import SCHEMA
from tvmconv.schedules.unsuited import Unsuited
from tvmconv.support.filesystem.files import check_room
from tvmconv.support.filesystem.store import is_whole, publish
from tvmconv.support.filesystem.temporary import sweep
from tvmconv.support.filesystem.user_folders import CACHE, naming
from tvmconv.support.text import last_line
from tvmconv.support.worker import WorkerLost, answer_all
from tvmconv.support.worker_pool import ask_each
from tvmconv.target import targets
from tvmconv.target.dtype import FLOAT32, DType
from tvmconv.target.targets import Target
from tvmconv.target.tile import Tile
from tvmconv.version import __version__
from tvmconv.workload.shape import ConvShape

_KERNELS = "kernels"  # the folder of the cache for them
_WORKPLACE = ".building-"  # what folders in it begin with that are made for a build
COMPILER = "tvmconv.compiler.builder"  # the module whose `serve` a pool of compilers runs: each takes an Order
PATIENCE = 120.0  # seconds for one kernel, which takes one or two, and a few more with the import of TVM


class BuildError(RuntimeError):
    """A kernel could not be built; the text says why in one line."""


@dataclass(frozen=True)
class Request:
    """All that decides a kernel. tile None: the schedule's own choice for the shape; layout None: nhwc, or nchw where
    the algorithm knows only that."""

    shape: ConvShape
    algorithm: str = "indirect"
    target: str = "native"
    schedule: str = "hand"
    tile: Tile | None = None
    layout: str | None = None
    dtype: DType = FLOAT32

    @property
    def made_for(self) -> Target:
        return targets.parse(self.target)

    @property
    def prefix(self) -> str:
        """The prefix of the kernel's C symbols."""
        layout = "_nchw" if self.defined_by.layout == "nchw" else ""
        dtype = "" if self.dtype == FLOAT32 else f"_{self.dtype.name}"
        return f"{self.shape}_{self.algorithm.replace('-', '_')}{layout}{dtype}"

    @property
    def defined_by(self) -> Algorithm:
        return find_algorithm(self.algorithm, self.layout, self.dtype)

    def check(self) -> Request:
        """The same request with its tile decided. Raises ValueError where it cannot be met."""
        algorithm, target = self.defined_by, self.made_for
        if reason := algorithm.rejects(self.shape):
            raise ValueError(f"{self.shape}: {reason}")
        schedules.check(self.schedule)
        chosen = schedules.choose_tile(algorithm, self.shape, target, self.tile)
        packed = algorithm.view(self.shape, chosen).layout.elements
        extra = algorithm.workspace(self.shape, chosen) // self.dtype.bytes
        if max(packed, extra) >= 2**31:
            raise Unsuited(
                f"{self.shape}: {max(packed, extra)} elements of weights or workspace; 2**31 - 1 are the most"
            )
        return replace(self, tile=chosen, target=target.name, layout=algorithm.layout)


def build_path(request: Request) -> Path:
    """The kernel's file in the cache, compiled now if it is not there."""
    request = request.check()
    path = _path(request)
    if not is_whole(path):
        with workplace(_WORKPLACE, _KERNELS) as folder:
            _compile(request, path, folder)
    return path


def build_all(
    requests: Iterable[Request], jobs: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[Request, Path | Exception]:
    """Compiles many requests in at most `jobs` processes, which are started for what is not in the cache alone.

    A request that cannot be met maps to its ValueError, one whose compiler fails, crashes or hangs to its BuildError;
    the others go on.
    """
    sweep()
    sweep([_WORKPLACE], cache() / _KERNELS)
    results: dict[Request, Path | Exception] = {}
    missing: dict[Path, Request] = {}
    for request in requests:
        try:
            checked = request.check()
        except ValueError as error:
            results[request] = error
            continue
        path = results[request] = _path(checked)
        if not is_whole(path):
            missing[path] = checked
    cached = len(results) - len(missing)
    progress(cached, len(results))
    failures = _build(missing, jobs, lambda done: progress(cached + done, len(results))) if missing else {}
    return {
        request: failures.get(result, result) if isinstance(result, Path) else result
        for request, result in results.items()
    }


def _build(missing: Mapping[Path, Request], jobs: int, progress: Callable[[int], None]) -> dict[Path, BuildError]:
    """Has a pool compile each file. Returns what could not be built; whatever happens, no half of a file is left."""
    failures: dict[Path, BuildError] = {}
    with workplace(_WORKPLACE, _KERNELS) as folder:
        orders = [Order(request, path, folder) for path, request in missing.items()]
        with closing(ask_each(COMPILER, orders, jobs, lambda order: PATIENCE)) as answers:
            for done, (order, answer) in enumerate(zip(orders, answers, strict=True), 1):
                if answer is not None:
                    with naming(CACHE.variable):
                        check_room(folder)
                    failures[order.path] = _lost(answer) if isinstance(answer, WorkerLost) else answer
                progress(done)
    return failures


def _lost(worker: WorkerLost) -> BuildError:
    return BuildError(f"the compiler {worker}")


@dataclass(frozen=True)
class Order:
    """A message to a process of the pool: the checked request to compile, its file, the folder to work in."""

    request: Request
    path: Path
    folder: Path


def serve(descriptor: int) -> None:
    """A worker's whole life: carry out each Order; the answer is None, or the BuildError that says why not."""

    def answer(order: Order) -> None:
        _compile(order.request, order.path, order.folder)

    with parsed_quickly():
        answer_all(descriptor, answer, lambda error: BuildError(last_line(str(error)) or type(error).__name__))


def scheduled_module(request: Request) -> Any:
    """The scheduled TIR of a request."""
    request = request.check()
    return _module(request, _program(request))


def module_text(request: Request) -> str:
    """The same as TVMScript."""
    return str(scheduled_module(request).script())


def assembly(request: Request) -> str:
    """The target's assembly of a request."""
    from tvmconv.compiler import lower

    return lower.assembly(scheduled_module(request), request.made_for)


def llvm_ir(request: Request) -> str:
    """The optimised LLVM IR of a request."""
    from tvmconv.compiler import lower

    return lower.llvm_ir(scheduled_module(request), request.made_for)


def _program(request: Request) -> Program:
    assert request.tile
    return request.defined_by.module(request.shape.reduced, request.tile)


def _module(request: Request, program: Program) -> Any:
    """The scheduled functions under the kernel's own names, and the FFI entries that call the C interface."""
    import tvm

    from tvmconv.compiler.ffi_entries import ffi_entries

    functions = schedules.schedule(program, request.made_for)
    named = {f"{request.prefix}_tir_{name}": function for name, function in functions.items()}
    named |= ffi_entries(request.prefix, request.shape, request.defined_by.layout, program)
    return tvm.IRModule({name: function.with_attr("global_symbol", name) for name, function in named.items()})


def _compile(request: Request, path: Path, folder: Path) -> None:
    """Makes the kernel in a new folder inside `folder` and renames it to `path`: no half of one is ever seen there.

    In the cache, the object and the shim that it was linked from come to lie beside it, for libraries.
    """
    from tvmconv.compiler import lower
    from tvmconv.compiler.ffi_entries import exports

    program = _program(request)
    description = _description(request, program)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_WORKPLACE) as place:
        made, source, output = (Path(place) / path.with_suffix(end).name for end in (".o", ".c", path.suffix))
        lower.write_object(_module(request, program), request.made_for, made)
        source.write_text(link.shim_source(request.prefix, program, description))
        link.link([source, made], exports(request.prefix), request.made_for, output)
        if path.parent == cache() / _KERNELS:
            publish([made, source, output], path.parent)
        else:
            os.replace(output, path)


def _description(request: Request, program: Program) -> dict[str, Any]:
    """The description in the kernel file's section .tvmconv."""
    target, shape, layout = request.made_for, request.shape, request.defined_by.layout
    return {
        "schema": SCHEMA,
        "prefix": request.prefix,
        "workload": str(shape),
        "algorithm": request.algorithm,
        "schedule": request.schedule,
        "tile": str(request.tile),
        "layout": layout,
        "dtype": request.dtype.name,
        "x_shape": shape.x_in(layout),
        "w_shape": shape.w_shape,
        "y_shape": shape.y_in(layout),
        "packed_bytes": program.packed_bytes,
        "workspace": dict(program.memory),
        "phases": [phase.function for phase in program.phases],
        "target": target.name,
        "triple": target.triple,
        "mcpu": target.mcpu,
        "features": list(target.features),
        "versions": dict(_versions()),
    }


@functools.cache
def _versions() -> Mapping[str, str]:
    import tvm

    llvm = tvm.target.codegen.llvm_version_major()
    return {"tvmconv": __version__, "tvm": importlib.metadata.version("apache-tvm"), "llvm": str(llvm)}


def _path(request: Request) -> Path:
    """The path in the cache of a checked request's kernel."""
    asked = vars(request).values()
    return cache() / _KERNELS / f"{request.prefix}-{cache_key.key(asked)}.so"
