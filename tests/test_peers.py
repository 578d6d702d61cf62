"""Peers compute what the reference computes; those that are not installed say what installs them."""

from dataclasses import replace

import numpy as np
import pytest

from tvmconv import peers
from tvmconv.reference import integer_case
from tvmconv.shape import ConvShape

INSTALLED = [
    pytest.param(
        peer,
        id=peer.name,
        marks=pytest.mark.skipif(not peers.available(peer), reason=f"not installed: {peers.install_line(peer)}"),
    )
    for peer in peers.PEERS
]
ABSENT = replace(peers.PEERS[0], package="no-such-package", module="tvmconv.peers.no_such_module")


@pytest.mark.parametrize(
    "descriptor",
    [
        "ic16ih9oc32kh3ph1",
        "mb3ic16ih8oc16kh3ph1sh2oh4",
        "ic3ih20oc16kh7sh2ph3oh10",
        "ic13ih6oc5kh3ph1",
        "ic16ih7iw10oc16kh3kw5ph1pw2",
        "ic32ih6oc64kh1",
        "ic32ih7oc16kh1sh2oh4ph0",
        "ic8ih9oc8kh3ph2dh1",
        "ic8ih9oc8kh2ph1dh2oh7",
        "g2ic16ih6oc32kh3ph1",
        "g3ic9ih6oc6kh3ph1",
        "g16ic16ih8oc16kh3ph1",
        "ic4ih5oc4kh3ph4oh11",
        "ic8ih8oc8kh2ph0oh8",
        "ic8ih8oc8kh3ph0oh3",
        "ic8ih8iw9oc8kh3kw3ph1pw1oh5ow4",
        "ic1ih1oc1kh1",
        "mb2ic5ih1oc7kh3ph1",
    ],
)
@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_computes_what_the_reference_does(peer: peers.Peer, descriptor: str) -> None:
    shape = ConvShape.parse(descriptor)
    case = integer_case(shape, seed=5)
    runner = peer.start(shape, case, threads=1)
    runner.run()
    first = runner.y().copy()
    runner.forget()
    assert not np.array_equal(runner.y(), case.fused)
    runner.run()
    # Integers, summed directly: exact, though peers are allowed peers.TOLERANCE.
    assert np.array_equal(first, case.fused)
    assert np.array_equal(runner.y(), case.fused)
    assert runner.version and runner.layout


@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_tells_all_of_its_memory(peer: peers.Peer) -> None:
    shape = ConvShape.parse("ic16ih9oc32kh3ph1")
    case = integer_case(shape, seed=5)
    runner = peer.start(shape, case, threads=1)
    runner.run()
    sizes = sorted(size for _, size in runner.memory())
    assert sizes[-4:] == sorted(4 * array.size for array in (case.x, case.w, case.bias, case.fused))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_runs_on_several_threads(peer: peers.Peer, threads: int) -> None:
    shape = ConvShape.parse("ic32ih14oc32kh3ph1")
    case = integer_case(shape, seed=5)
    runner = peer.start(shape, case, threads)
    runner.run()
    assert np.array_equal(runner.y(), case.fused)


def test_names_are_looked_up() -> None:
    assert [peers.find(peer.name) for peer in peers.PEERS] == list(peers.PEERS)
    with pytest.raises(
        ValueError, match=r"unknown peer 'onednm', did you mean onednn\? \(known: onednn, torch-conv2d\)"
    ):
        peers.find("onednm")


def test_an_absent_peer_says_what_installs_it() -> None:
    assert peers.available(ABSENT) is None
    with pytest.raises(ValueError, match=r"peer onednn is not installed: .*peers-onednn"):
        peers.require(ABSENT)
    with pytest.raises(ValueError, match="peer onednn is not installed"):
        ABSENT.start(ConvShape.parse("ic1ih1oc1kh1"), integer_case(ConvShape.parse("ic1ih1oc1kh1"), 0), threads=1)
