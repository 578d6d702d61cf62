"""Reads benchncnn's output (stderr).

`benchncnn [loop count] [num threads] [powersave] [gpu device] [cooling down]` prints its settings, a line each, and
then one line for each network (ncnn, benchmark/benchncnn.cpp), in milliseconds:

    loop_count = 4
    num_threads = 1
            resnet18  min =   76.82  max =   79.63  avg =   78.50

Built with -DNCNN_BENCHMARK=ON it also prints each layer of each run, the warm-up's included, before the network's line
(src/benchmark.cpp); sizes are [w, h, c *elements in a vector], kernel and stride are w x h; padding is not told:

    Convolution  res2a_branch2a  4.12ms  | [ 56,  56,  16 *4] -> [ 56,  56,  16 *4]  kernel: 3 x 3  stride: 1 x 1

On ARM ncnn stores and computes in fp16 wherever the CPU has it, which the output does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tvmconv.bench.importers.profile import Geometry, Op, Profile, Times

_SETTING = re.compile(r"\s*(loop_count|num_threads|gpu_device) = (-?\d+)\s*")
_NETWORK = re.compile(r"\s*(\S+)\s+min =\s*([\d.]+)\s+max =\s*([\d.]+)\s+avg =\s*([\d.]+)\s*")
_SIZES = r"\[\s*(\d+),\s*(\d+),\s*(\d+) \*(\d+)\]"
_LAYER = re.compile(
    rf"(Convolution(?:DepthWise)?)\s+(\S+)\s+([\d.]+)ms\s+\|\s+{_SIZES} -> {_SIZES}"
    r"\s+kernel: (\d+) x (\d+)\s+stride: (\d+) x (\d+)\s*"
)


def read(text: str) -> list[Profile]:
    """The networks that the text has a line for, in order; none if it is not benchncnn's."""
    settings: dict[str, int] = {}
    layers: list[re.Match[str]] = []
    found = []
    for line in text.splitlines():
        if setting := _SETTING.fullmatch(line):
            settings[setting[1]] = int(setting[2])
        elif layer := _LAYER.fullmatch(line):
            layers.append(layer)
        elif network := _NETWORK.fullmatch(line):
            found.append(_profile(network, layers, settings))
            layers = []
    return found


def _profile(network: re.Match[str], layers: Sequence[re.Match[str]], settings: dict[str, int]) -> Profile:
    name, loops = network[1], settings.get("loop_count")
    foreign = None
    if name.endswith("_int8"):
        foreign = "it computed in int8, not in f32"
    elif settings.get("gpu_device", -1) >= 0:
        foreign = "it ran on a GPU"
    by_name: dict[str, list[re.Match[str]]] = {}
    for layer in layers:
        by_name.setdefault(layer[2], []).append(layer)
    ops = tuple(_convolution(runs, loops, foreign) for runs in by_name.values())
    return Profile("ncnn", name, ops, settings.get("num_threads"), Times(average=float(network[4]) / 1e3, n=loops))


def _convolution(runs: Sequence[re.Match[str]], loops: int | None, foreign: str | None) -> Op:
    """A layer, from its line of each run; the last `loops` of them are those that count."""
    kind, name, _, *sizes = runs[0].groups()
    iw, ih, ic, ic_packed, ow, oh, oc, oc_packed, kw, kh, sw, sh = map(int, sizes)
    geometry = Geometry(ic * ic_packed, ih, iw, oc * oc_packed, oh, ow, kh, kw, sh, sw)
    times = tuple(float(run[3]) / 1e3 for run in runs[-(loops or len(runs)) :])
    if not any(times):
        foreign = foreign or "it took less than the 0.01 ms that ncnn prints"
    return Op(name, Times(times), kind == "ConvolutionDepthWise", geometry, foreign)
