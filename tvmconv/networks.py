"""Named networks: the convolutions of torchvision's models, one image of 224 x 224."""

from __future__ import annotations

from dataclasses import dataclass

from tvmconv.names import unknown
from tvmconv.shape import ConvShape


@dataclass(frozen=True)
class NetworkLayer:
    """A convolution of a network: the module's name where it first occurs, its shape, how often it occurs."""

    name: str
    shape: ConvShape
    count: int


# name of the first occurrence, occurrences, descriptor
_Table = tuple[tuple[str, int, str], ...]

_RESNET18: _Table = (
    ("conv1", 1, "ic3ih224oc64oh112kh7sh2ph3"),
    ("layer1.0.conv1", 4, "ic64ih56oc64oh56kh3ph1"),
    ("layer2.0.conv1", 1, "ic64ih56oc128oh28kh3sh2ph1"),
    ("layer2.0.conv2", 3, "ic128ih28oc128oh28kh3ph1"),
    ("layer2.0.downsample.0", 1, "ic64ih56oc128oh28kh1sh2ph0"),
    ("layer3.0.conv1", 1, "ic128ih28oc256oh14kh3sh2ph1"),
    ("layer3.0.conv2", 3, "ic256ih14oc256oh14kh3ph1"),
    ("layer3.0.downsample.0", 1, "ic128ih28oc256oh14kh1sh2ph0"),
    ("layer4.0.conv1", 1, "ic256ih14oc512oh7kh3sh2ph1"),
    ("layer4.0.conv2", 3, "ic512ih7oc512oh7kh3ph1"),
    ("layer4.0.downsample.0", 1, "ic256ih14oc512oh7kh1sh2ph0"),
)

_VGG16: _Table = (
    ("features.0", 1, "ic3ih224oc64oh224kh3ph1"),
    ("features.2", 1, "ic64ih224oc64oh224kh3ph1"),
    ("features.5", 1, "ic64ih112oc128oh112kh3ph1"),
    ("features.7", 1, "ic128ih112oc128oh112kh3ph1"),
    ("features.10", 1, "ic128ih56oc256oh56kh3ph1"),
    ("features.12", 2, "ic256ih56oc256oh56kh3ph1"),
    ("features.17", 1, "ic256ih28oc512oh28kh3ph1"),
    ("features.19", 2, "ic512ih28oc512oh28kh3ph1"),
    ("features.24", 3, "ic512ih14oc512oh14kh3ph1"),
)

_SQUEEZENET1_1: _Table = (
    ("features.0", 1, "ic3ih224oc64oh111kh3sh2ph0"),
    ("features.3.squeeze", 1, "ic64ih55oc16oh55kh1ph0"),
    ("features.3.expand1x1", 2, "ic16ih55oc64oh55kh1ph0"),
    ("features.3.expand3x3", 2, "ic16ih55oc64oh55kh3ph1"),
    ("features.4.squeeze", 1, "ic128ih55oc16oh55kh1ph0"),
    ("features.6.squeeze", 1, "ic128ih27oc32oh27kh1ph0"),
    ("features.6.expand1x1", 2, "ic32ih27oc128oh27kh1ph0"),
    ("features.6.expand3x3", 2, "ic32ih27oc128oh27kh3ph1"),
    ("features.7.squeeze", 1, "ic256ih27oc32oh27kh1ph0"),
    ("features.9.squeeze", 1, "ic256ih13oc48oh13kh1ph0"),
    ("features.9.expand1x1", 2, "ic48ih13oc192oh13kh1ph0"),
    ("features.9.expand3x3", 2, "ic48ih13oc192oh13kh3ph1"),
    ("features.10.squeeze", 1, "ic384ih13oc48oh13kh1ph0"),
    ("features.11.squeeze", 1, "ic384ih13oc64oh13kh1ph0"),
    ("features.11.expand1x1", 2, "ic64ih13oc256oh13kh1ph0"),
    ("features.11.expand3x3", 2, "ic64ih13oc256oh13kh3ph1"),
    ("features.12.squeeze", 1, "ic512ih13oc64oh13kh1ph0"),
    ("classifier.1", 1, "ic512ih13oc1000oh13kh1ph0"),
)

_TABLES: dict[str, _Table] = {"resnet18": _RESNET18, "vgg16": _VGG16, "squeezenet1.1": _SQUEEZENET1_1}

NETWORKS: tuple[str, ...] = tuple(_TABLES)


def layers(network: str) -> tuple[NetworkLayer, ...]:
    """The distinct convolutions of `network`, in order of first occurrence. Raises ValueError for an unknown name."""
    if network not in _TABLES:
        raise ValueError(unknown("network", network, NETWORKS))
    return tuple(NetworkLayer(name, ConvShape.parse(f"{text}n{name}"), count) for name, count, text in _TABLES[network])


def layer(network: str, name: str) -> NetworkLayer:
    """The convolution `name` of `network`. Raises ValueError if either is unknown."""
    by_name = {found.name: found for found in layers(network)}
    if name not in by_name:
        raise ValueError(unknown(f"{network} layer", name, tuple(by_name), f"tvmconv list layers {network}"))
    return by_name[name]
