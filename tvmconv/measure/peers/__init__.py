"""The libraries that bench compares with: one file and one row of a table each.

Importing this loads none of them, and asking whether one is installed does not either.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from tvmconv.support import install
from tvmconv.support.text import unknown
from tvmconv.workload.shape import ConvShape

if TYPE_CHECKING:
    from tvmconv.measure.peers.runner import Runner
    from tvmconv.verify.reference import Case

# The largest error that a peer may have, as a share of the largest expected output: it may sum in another order, and
# by another algorithm (Winograd), while test data of small integers leaves a direct one none.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Peer:
    """A library: the package on PyPI and the extra of ours that bring it, the module that runs it.

    `counts` is False for a row that is shown and never is the best. The module has
    start(shape, case, threads) -> Runner.
    """

    name: str
    summary: str
    package: str
    extra: str
    module: str
    counts: bool = True

    def start(self, shape: ConvShape, case: Case, threads: int) -> Runner:
        """The convolution of this library, checked by nobody yet. Raises ValueError if it is not installed."""
        require(self)
        runner: Runner = import_module(self.module).start(shape, case, threads)
        return runner


PEERS: tuple[Peer, ...] = (
    Peer(
        "onednn",
        "oneDNN's convolution primitive, weights packed once, in its fastest layout",
        package="onednn-cpu-gomp",
        extra="peers-onednn",
        module="tvmconv.measure.peers.onednn",
    ),
    Peer(
        "onnxruntime",
        "ONNX Runtime, weights packed once, the Conv node alone by its profiler",
        package="onnxruntime",
        extra="peers",
        module="tvmconv.measure.peers.onnxruntime",
    ),
    Peer(
        "openvino",
        "OpenVINO on NHWC tensors, f32 forced, the convolution alone by its profiler",
        package="openvino",
        extra="peers",
        module="tvmconv.measure.peers.openvino",
    ),
    Peer(
        "xnnpack",
        "XNNPACK by way of ExecuTorch, in its own NHWC",
        package="executorch",
        extra="peers-torch",
        module="tvmconv.measure.peers.xnnpack",
    ),
    Peer(
        "torch-conv2d",
        "torch.nn.functional.conv2d as it is called, channels_last; packs the weights in every call",
        package="torch",
        extra="peers-torch",
        module="tvmconv.measure.peers.torch_conv2d",
        counts=False,
    ),
)


def find(name: str) -> Peer:
    """The peer of that name. Raises ValueError for an unknown one."""
    for peer in PEERS:
        if peer.name == name:
            return peer
    raise ValueError(unknown("peer", name, [peer.name for peer in PEERS]))


def available(peer: Peer) -> str | None:
    """The version of the peer's package, None if it is not installed."""
    try:
        return installed_version(peer.package)
    except PackageNotFoundError:
        return None


def install_line(peer: Peer) -> str:
    """The command that installs the peer beside the running tvmconv."""
    return install.install_line(peer.extra)


def require(peer: Peer) -> None:
    """Raise ValueError, with the line that installs it, if the peer is not there."""
    if available(peer) is None:
        raise ValueError(f"peer {peer.name} is not installed: {install_line(peer)}")
