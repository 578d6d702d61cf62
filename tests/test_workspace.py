"""One memory for several layers: a call is right whoever has used the memory since, and prepares it only then."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tvmconv
from tvmconv.runtime.arrays import Array, aligned
from tvmconv.runtime.conv import Conv
from tvmconv.runtime.kernel import Kernel
from tvmconv.runtime.workspace import CLAIMS
from tvmconv.verify.reference import Case, integer_case

Layer = tuple[Conv, Case]
Share = Callable[[Conv, Conv], tuple[Array, Array]]


@pytest.fixture(scope="module")
def layers() -> tuple[Layer, Layer, Layer]:
    """Two whose workspaces hold indices, and one that writes all of its own."""
    found = []
    for workload, algorithm in (
        ("mb2ic12ih9oc40kh3ph1", "indirect"),
        ("ic40ih9oc12kh3ph1", "indirect"),
        ("ic8ih9oc8kh3ph1", "im2row"),
    ):
        kernel = tvmconv.build(workload, algorithm)
        case = integer_case(kernel.shape)
        found.append((kernel.prepare(case.w), case))
    first, second, third = found
    return first, second, third


def enough(*convs: Conv) -> Array:
    return aligned(sum(conv.workspace_bytes for conv in convs) + 64)


def over(memory: Array) -> Share:
    """Both over one memory."""
    return lambda a, b: (a.new_workspace(memory), b.new_workspace(memory))


def overlapping(a: Conv, b: Conv) -> tuple[Array, Array]:
    memory = enough(a, b)
    return a.new_workspace(memory), b.new_workspace(memory[a.workspace_bytes // 8 * 4 :])


def reshaped(a: Conv, b: Conv) -> tuple[Array, Array]:
    memory = enough(a, b)
    whole = len(memory) // 16 * 16
    return a.new_workspace(memory), b.new_workspace(memory[:whole].view(np.float64).reshape(2, -1))


def handed_on(a: Conv, b: Conv) -> tuple[Array, Array]:
    first = a.new_workspace(enough(a, b))
    return first, b.new_workspace(first)


def handed_on_to_the_call(a: Conv, b: Conv) -> tuple[Array, Array]:
    first = a.new_workspace(enough(a, b))
    return first, first[4:]


def raw(a: Conv, b: Conv) -> tuple[Array, Array]:
    memory = enough(a, b)
    return a.new_workspace(memory), memory


def by_address(a: Conv, b: Conv) -> tuple[Array, Array]:
    """Through an object that does not know whose memory it is."""
    memory = enough(a, b)
    return a.new_workspace(memory), b.new_workspace(np.lib.stride_tricks.as_strided(memory))


def mapped_twice(a: Conv, b: Conv) -> tuple[Array, Array]:
    """The same bytes at two addresses."""
    with open("/dev/shm/tvmconv-test", "w+b") as file:
        file.truncate(1 << 20)
        first, second = (np.frombuffer(mmap.mmap(file.fileno(), 1 << 20), np.uint8) for _ in range(2))
    return a.new_workspace(first), b.new_workspace(second)


SHARED: dict[str, Share] = {
    "one array": over(np.empty(1 << 20, np.uint8)),
    "a bytearray": over(np.frombuffer(bytearray(1 << 20), np.uint8)),
    "a mmap": over(np.frombuffer(mmap.mmap(-1, 1 << 20), np.uint8)),
    "overlapping slices": overlapping,
    "another type and shape": reshaped,
    "a workspace of the other": handed_on,
    "a slice of a workspace of the other": handed_on_to_the_call,
    "the array itself": raw,
    "an alias by address": by_address,
    "a file mapped twice": mapped_twice,
}


@pytest.mark.parametrize("share", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("other", [1, 2], ids=["indices", "patches"])
def test_memory_that_two_layers_share(layers: tuple[Layer, ...], share: Share, other: int) -> None:
    """In turns, by calls and by calls that were bound before."""
    pair = (layers[0], layers[other])
    workspaces = share(*(conv for conv, _ in pair))
    ys = [np.empty_like(case.plain) for _, case in pair]
    bound = [conv.bind(case.x, y, workspace) for (conv, case), workspace, y in zip(pair, workspaces, ys, strict=True)]
    for turn in (0, 1, 0, 0, 1, 1, 0):
        conv, case = pair[turn]
        np.testing.assert_array_equal(conv(case.x, workspace=workspaces[turn]), case.plain)
        ys[turn].fill(np.nan)
        bound[1 - turn]()
        bound[turn]()
        np.testing.assert_array_equal(ys[turn], case.plain)


def test_an_output_in_a_workspace(layers: tuple[Layer, ...]) -> None:
    (a, case), (b, other), _ = layers
    memory = aligned(max(a.workspace_bytes, other.plain.nbytes))
    workspace, y = a.new_workspace(memory), memory[: other.plain.nbytes].view(np.float32).reshape(other.plain.shape)
    into, run = b.bind(other.x, y), a.bind(case.x, np.empty_like(case.plain), workspace)
    for write in (lambda: b(other.x, out=y), into, into):
        write()
        np.testing.assert_array_equal(y, other.plain)
        run()
        np.testing.assert_array_equal(a(case.x, workspace=workspace), case.plain)


def test_what_is_left_alone_is_prepared_once(layers: tuple[Layer, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of one array, by threads at the same time."""
    called: list[str] = []
    call = Kernel.call
    monkeypatch.setattr(
        Kernel, "call", lambda self, name, *arguments: (called.append(name), call(self, name, *arguments))
    )
    conv, case = layers[0]
    memory, size = enough(conv, conv, conv), conv.workspace_bytes // 4 * 4 + 4

    def many_calls(number: int) -> None:
        workspace = conv.new_workspace(memory[number * size : (number + 1) * size])
        bound = conv.bind(case.x, y := np.empty_like(case.plain), workspace)
        for _ in range(50):
            np.testing.assert_array_equal(conv(case.x, workspace=workspace), case.plain)
            bound()
            np.testing.assert_array_equal(y, case.plain)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(many_calls, range(3)))
    assert called == ["prepare"] * 3


def test_memory_that_is_given_back_and_used_again(layers: tuple[Layer, ...]) -> None:
    for turn in range(300):
        conv, case = layers[turn % 2]
        np.testing.assert_array_equal(conv(case.x, workspace=conv.new_workspace()), case.plain)
    assert len(CLAIMS._sorted) < 150


def test_packed_weights_are_nobodys_workspace(layers: tuple[Layer, ...]) -> None:
    (other, _), (conv, case), _ = layers
    whole = conv.packed.base
    assert whole is not None and whole.flags.writeable
    as_x = whole.view(np.float32)[: case.x.size].reshape(case.x.shape)
    as_y = conv.packed[: case.plain.size].reshape(case.plain.shape)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"workspace": conv.packed}, "workspace must be a contiguous, writable NumPy array"),
        ({"workspace": whole}, "workspace overlaps the packed weights; give it memory of its own"),
        ({"out": as_y}, "out is read-only"),
        ({"x": as_x}, "x overlaps the packed weights; give it memory of its own"),
    ]
    for arguments, sentence in refused:
        with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
            conv(**{"x": case.x, **arguments})
    with pytest.raises(TypeError, match="writable"):
        other.new_workspace(conv.packed)
    with pytest.raises(ValueError, match="overlaps the packed weights"):
        conv.new_workspace(whole)
    np.testing.assert_array_equal(conv(case.x), case.plain)


@pytest.mark.parametrize(
    "memory",
    [np.empty(1 << 20, object), np.ma.empty(1 << 20, np.uint8), np.empty((1 << 20) + 1, np.uint8)[1:]],
    ids=["objects", "masked", "misaligned"],
)
def test_memory_that_cannot_be_a_workspace(layers: tuple[Layer, ...], memory: Array) -> None:
    conv, case = layers[0]
    for use in (conv.new_workspace, lambda memory: conv(case.x, workspace=memory)):
        with pytest.raises(
            (TypeError, ValueError), match=r"^workspace (must be a contiguous, writable|is not aligned to)"
        ):
            use(memory)
