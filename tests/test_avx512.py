"""AVX-512's code as LLVM writes it, on any machine."""

from __future__ import annotations

import re

import pytest

from tvmconv.compiler.builder import Request, assembly
from tvmconv.workload.shape import ConvShape

# Rows of 24 and 21 channels, and of 1000 of which the last panel has a part.
LAYERS = {"gemm": "ic32ih9oc24kh1", "im2row": "ic32ih9oc21kh3ph1", "direct": "ic64ih9oc1000kh1"}


@pytest.mark.parametrize("algorithm", LAYERS)
def test_a_last_panel_is_written_in_vectors(algorithm: str) -> None:
    """LLVM likes to take a tile's rows for the vectors, whose elements then lie far apart."""
    text = assembly(Request(ConvShape.parse(LAYERS[algorithm]), algorithm, "x86-64-v4"))
    run = re.search(r"^\w+_tir_run:.*?^\.Lfunc_end", text, re.MULTILINE | re.DOTALL)
    assert run
    assert "vfmadd231ps" in run[0]
    assert not re.findall(r"\bv(?:gather|scatter)\w+", run[0])
