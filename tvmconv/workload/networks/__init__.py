"""Named networks: the convolutions of well-known models, as torchvision defines them where it does."""

from __future__ import annotations

from tvmconv.support.text import unknown
from tvmconv.workload.networks.classic import ALEXNET, VGG16
from tvmconv.workload.networks.inception import GOOGLENET, INCEPTION_V3
from tvmconv.workload.networks.mobilenet import MOBILENET_V1, MOBILENET_V2
from tvmconv.workload.networks.network import Network, NetworkLayer
from tvmconv.workload.networks.resnet import RESNET18, RESNET50
from tvmconv.workload.networks.squeezenet import SQUEEZENET1_0, SQUEEZENET1_1

_NETWORKS = {
    network.name: network
    for network in (
        RESNET18,
        RESNET50,
        SQUEEZENET1_0,
        SQUEEZENET1_1,
        VGG16,
        ALEXNET,
        GOOGLENET,
        INCEPTION_V3,
        MOBILENET_V1,
        MOBILENET_V2,
    )
}

NETWORKS: tuple[str, ...] = tuple(_NETWORKS)


def network(name: str) -> Network:
    """The network of that name. Raises ValueError, which names all, if there is none."""
    if name not in _NETWORKS:
        raise ValueError(unknown("network", name, NETWORKS))
    return _NETWORKS[name]


def layers(name: str) -> tuple[NetworkLayer, ...]:
    """The distinct convolutions of network `name`, in order of first occurrence. Raises ValueError if it is unknown."""
    return network(name).layers


def layer(name: str, layer_name: str) -> NetworkLayer:
    """The convolution `layer_name` of network `name`. Raises ValueError if either is unknown."""
    by_name = {found.name: found for found in layers(name)}
    if layer_name not in by_name:
        raise ValueError(unknown(f"{name} layer", layer_name, tuple(by_name), f"tvmconv list layers {name}"))
    return by_name[layer_name]
