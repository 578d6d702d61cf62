"""The rule behind `-a auto`."""

from __future__ import annotations

import pytest

from tvmconv import choose, networks
from tvmconv.algorithms import algorithm
from tvmconv.shape import ConvShape


@pytest.mark.parametrize(
    ("descriptor", "name"),
    [
        ("ic64ih56oc64kh1", "gemm"),
        ("ic64ih56oc128kh1sh2", "indirect"),
        ("ic64ih56oc64kh3ph1", "indirect"),
        ("ic32ih56oc64kh1ph1", "indirect"),
        ("ic3ih224oc64kh7sh2ph3", "direct"),
        ("ic31ih56oc64kh3ph1", "direct"),
        ("ic16ih55oc64kh1", "gemm"),
        ("g64ic64ih28oc64kh3ph1", "direct"),
        ("g2ic128ih28oc64kh3ph1", "direct"),
    ],
)
def test_rule(descriptor: str, name: str) -> None:
    assert choose.by_rule(ConvShape.parse(descriptor)) == name


def test_what_is_chosen_takes_the_shape() -> None:
    for network in networks.NETWORKS:
        for layer in networks.layers(network):
            assert algorithm(choose.by_rule(layer.shape)).rejects(layer.shape) is None
