"""Program: the TIR functions, phases and sizes of a layer, for schedules and the linker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmconv.target.dtype import DType

INDEX_BYTES = 4  # of an int32

# TVM leaves a function alone that already has a calling convention, and compiles it with the plain C one:
# pointers and integers in, nothing out.
PLAIN_C = 3

# Register tiles live on the stack (and from there in registers) instead of in a workspace allocated by TVM's runtime.
ON_STACK = {"disable_lower_builtin": True}

NO_CLAMP = float("inf")


# Tasks of a phase at most. 48 are shared evenly by 2, 3, 4, 6, 8, 12, 16, 24 threads, and a thread that is held up
# keeps the others waiting for 2 % of the work; each costs a fraction of a microsecond.
_MOST_TASKS = 48


@dataclass(frozen=True)
class Phase:
    """A function of the module that is called with a range of its independent units.

    On one thread the range is all of them. A pool is given `tasks`, as many ranges of equal length, in order.
    """

    function: str
    units: int
    most_tasks: int = _MOST_TASKS

    @property
    def tasks(self) -> int:
        return min(self.units, self.most_tasks)


@dataclass(frozen=True)
class Program:
    """The compute definition of one layer and choice of element types, before any schedule.

    functions: `pack(w, bias, packed)`, `prepare(workspace, address)` and one
    `phase(x, operand, packed, y, workspace, address, image, first, last)` for each of `phases`, where x, operand
    (packed's) and address (the workspace's) are addresses as int64, so that a row can be found in any of them. `phases`
    run in order, `images` times.
    """

    dtype: DType
    functions: Mapping[str, Any]
    phases: tuple[Phase, ...]
    images: int
    packed_bytes: int
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes of each part of the workspace

    def __post_init__(self) -> None:
        most = max(self.images, *(phase.units for phase in self.phases))
        if most >= 2**31:
            raise ValueError(f"a kernel would have {most} steps to count, but 2**31 - 1 are the most")

    @property
    def workspace_bytes(self) -> int:
        """Bytes of extra memory, all of it in the workspace argument."""
        return sum(self.memory.values())


def constant(value: float, dtype: str) -> Any:
    """A number of that type, as TIR."""
    from tvm import tirx

    return tirx.const(value, dtype)


def no_preparation(dtype: DType) -> Any:
    """prepare(workspace, address) of an algorithm whose workspace needs none."""
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def prepare(workspace: T.handle(dtype.storage), address: T.handle("int32")):
        T.func_attr({"global_symbol": "prepare", "tirx.noalias": True, "calling_conv": PLAIN_C})
        T.evaluate(0)

    return prepare


def phase_function(symbol: str, body: Any, dtype: DType, noalias: bool = True) -> Any:
    """A phase, as Program describes it, whose body is a T.inline macro of its nine parameters.

    noalias is to be False where the body reads by address what it writes by name.
    """
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def phase(
        x: T.int64,
        operand: T.int64,
        packed: T.handle(dtype.storage),
        y: T.handle(dtype.storage),
        workspace: T.handle(dtype.storage),
        address: T.int64,
        image: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": symbol, "tirx.noalias": noalias, "calling_conv": PLAIN_C})
        # Numbers that TVM knows not to be negative are divided without a correction for negative ones.
        number: T.let[T.int32] = T.max(image, 0)
        start: T.let[T.int32] = T.max(first, 0)
        end: T.let[T.int32] = T.max(last, 1)
        body(x, operand, packed, y, workspace, address, number, start, end)

    return phase
