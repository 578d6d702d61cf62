"""Peers compute what the reference computes; those that are not installed say what installs them."""

import os
from dataclasses import replace

import numpy as np
import pytest

from tvmconv.measure import peers
from tvmconv.measure.entries import PeerEntry
from tvmconv.measure.interleaved import Conditions, Rules, measure
from tvmconv.measure.peers.runner import Profiled, Unable
from tvmconv.target.targets import native
from tvmconv.verify.reference import integer_case
from tvmconv.workload.shape import ConvShape

QUICK = Rules(samples=2, min_time=0.002, max_time=10.0)

INSTALLED = [
    pytest.param(
        peer,
        id=peer.name,
        marks=pytest.mark.skipif(not peers.available(peer), reason=f"not installed: {peers.install_line(peer)}"),
    )
    for peer in peers.PEERS
]
ABSENT = replace(peers.PEERS[0], package="no-such-package", module="tvmconv.measure.peers.no_such_module")


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
        "mb2ic1ih4oc7kh3ph1",
        "mb2ic16ih4oc1kh1",
        "mb2ic16ih5oc8kh5",
    ],
)
@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_computes_what_the_reference_does(peer: peers.Peer, descriptor: str) -> None:
    shape = ConvShape.parse(descriptor)
    case = integer_case(shape, seed=5)
    runner = peer.start(shape, case, threads=1)
    runner.run()
    first = runner.y().copy()
    runner.poison_output()
    assert not np.array_equal(runner.y(), case.fused)
    runner.run()
    # Integers, summed directly: exact, though peers are allowed peers.TOLERANCE.
    assert np.array_equal(first, case.fused)
    assert np.array_equal(runner.y(), case.fused)
    assert runner.version and runner.layout


@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_tells_all_of_its_memory_or_that_it_cannot(peer: peers.Peer) -> None:
    shape = ConvShape.parse("ic16ih9oc32kh3ph1")
    case = integer_case(shape, seed=5)
    runner = peer.start(shape, case, threads=1)
    runner.run()
    try:
        memory = runner.memory()
    except Unable as error:
        assert "leave out --cold" in str(error)
        return
    sizes = [size for _, size in memory]  # a scratchpad of any size may be among them
    assert {4 * array.size for array in (case.x, case.w, case.bias, case.fused)} <= {*sizes}


@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_s_own_profile_is_of_the_convolution_alone(peer: peers.Peer) -> None:
    shape = ConvShape.parse("ic32ih28oc64kh3ph1")
    runner = peer.start(shape, integer_case(shape, seed=5), threads=1)
    assert isinstance(runner, Profiled) == (peer.name in ("onnxruntime", "openvino"))
    if isinstance(runner, Profiled):
        assert shape.flops / 1e12 < runner.own_seconds(0.002) < shape.flops / 1e8  # no clock is that fast, or that slow


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_is_measured_and_its_overhead_on_the_smallest_problem(peer: peers.Peer, threads: int) -> None:
    shape = ConvShape.parse("ic64ih28oc64kh3ph1")
    entry, cpus = PeerEntry(peer.name), sorted(os.sched_getaffinity(0))[:threads]
    conditions = Conditions(native().isa, cpus, threads, QUICK)
    (measurement,) = measure([entry], shape, integer_case(shape), conditions, smallest=[entry]).measurements
    assert (measurement.status, measurement.max_error) == ("ok", 0.0), measurement.reason
    assert measurement.seconds and measurement.overhead
    assert 0 < measurement.overhead < measurement.seconds.median


def test_names_are_looked_up() -> None:
    assert [peers.find(peer.name) for peer in peers.PEERS] == list(peers.PEERS)
    with pytest.raises(
        ValueError, match=r"unknown peer 'onednm', did you mean onednn\? \(known: onednn, .*torch-conv2d\)"
    ):
        peers.find("onednm")


def test_an_absent_peer_says_what_installs_it() -> None:
    assert peers.available(ABSENT) is None
    with pytest.raises(ValueError, match=r"peer onednn is not installed: .*peers-onednn"):
        peers.require(ABSENT)
    with pytest.raises(ValueError, match="peer onednn is not installed"):
        ABSENT.start(ConvShape.parse("ic1ih1oc1kh1"), integer_case(ConvShape.parse("ic1ih1oc1kh1"), 0), threads=1)
