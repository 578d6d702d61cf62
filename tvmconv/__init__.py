"""Convolutions compiled by TVM: build a kernel for a layer, prepare it with weights, call it on arrays.

    kernel = tvmconv.build("ic64ih56oc64kh3ph1")
    conv = kernel.prepare(w, bias, clamp=(0, 6), weights="OIHW")
    y = conv(x)

The public names are imported when they are first used, so that `import tvmconv` costs neither TVM nor NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvmconv.version import __version__

if TYPE_CHECKING:
    from tvmconv.api import build
    from tvmconv.runtime.conv import Conv
    from tvmconv.runtime.kernel import Kernel, load
    from tvmconv.target.tile import Tile
    from tvmconv.workload.shape import ConvShape

__all__ = ["Conv", "ConvShape", "Kernel", "Tile", "__version__", "build", "load"]


# No public name may be a module's too: importing the module would put it in the name's place.
_HOMES = {
    "build": "tvmconv.api",
    "load": "tvmconv.runtime.kernel",
    "Conv": "tvmconv.runtime.conv",
    "Kernel": "tvmconv.runtime.kernel",
    "ConvShape": "tvmconv.workload.shape",
    "Tile": "tvmconv.target.tile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tvmconv' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
