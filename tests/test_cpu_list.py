"""Lists of CPUs: the command in Python and the programs in C read them alike."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tvmconv.native.toolchain import library
from tvmconv.target.cpu_list import cpu_list

MOST = 1024  # CPUs that the programs know, as Linux's cpu_set_t


@pytest.fixture(scope="module")
def in_c() -> ctypes.CDLL:
    return ctypes.CDLL(str(library("cpu_list.c", "test")))


@given(st.text("0123,- +x", max_size=12))
@example("")
@example("0,2-3,2")
@example("3-1")
@example("1023")
@example("1024")
@example("0-9999999999")
@example("٣")
def test_c_and_python_read_a_list_alike(in_c: ctypes.CDLL, text: str) -> None:
    numbers = (ctypes.c_int * MOST)()
    count = in_c.tvmconv_cpu_list(text.encode(), MOST, numbers)
    try:
        expected = cpu_list(text)
    except ValueError:
        expected = ()
    if max(expected, default=MOST) >= MOST:
        assert count == -1
    else:
        assert tuple(numbers[:count]) == expected
