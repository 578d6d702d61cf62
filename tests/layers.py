"""The layers of workloads, where nothing may be warned of, and their multiply-adds."""

from __future__ import annotations

import pytest

from tvmconv.workload.resolve import Layer, resolve


def no_warning(text: str) -> None:
    pytest.fail(f"unexpected warning: {text}")


def distinct_layers(workload: str, distinct: int, convolutions: int) -> list[Layer]:
    """A workload's layers, which have names of their own and are as many as they should be."""
    layers = resolve([workload], no_warning)
    assert len({layer.shape for layer in layers}) == len({layer.name for layer in layers}) == len(layers) == distinct
    assert sum(layer.count for layer in layers) == convolutions
    return layers


def macs(layers: list[Layer]) -> int:
    return sum(layer.count * layer.shape.flops // 2 for layer in layers if layer.shape)
