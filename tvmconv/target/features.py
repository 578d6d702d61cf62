"""CPU features: LLVM's names, the names of /proc/cpuinfo, what needs what; and the `+feature,-feature` of a target."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tvmconv.support.text import unknown


@dataclass(frozen=True)
class Feature:
    """An extension of an instruction set. name: LLVM's; cpuinfo: Linux's, one or more; needs: by LLVM's names."""

    name: str
    cpuinfo: tuple[str, ...]
    needs: tuple[str, ...] = ()


def _table(text: str) -> Mapping[str, Feature]:
    """Rows of LLVM's name: names in /proc/cpuinfo < what it needs."""
    rows = [re.split("[:<]", row) for row in text.strip().splitlines()]
    found = [
        Feature(name.strip(), tuple(cpuinfo.split()), tuple(*map(str.split, more))) for name, cpuinfo, *more in rows
    ]
    return {feature.name: feature for feature in found}


# All of AArch64 that LLVM may use unasked or by an intrinsic, and that Linux tells of (arch/arm64/kernel/cpuinfo.c).
_AARCH64 = _table("""
    fp-armv8: fp
    neon: asimd
    lse: atomics
    lse2: uscat
    lse128: lse128 < lse
    rdm: asimdrdm
    crc: crc32
    aes: aes pmull
    sha2: sha1 sha2
    sha3: sha3 sha512 < sha2
    sm4: sm3 sm4
    fullfp16: fphp asimdhp
    fp16fml: asimdfhm < fullfp16
    dotprod: asimddp
    i8mm: i8mm
    bf16: bf16
    complxnum: fcma
    jsconv: jscvt
    rcpc: lrcpc
    rcpc-immo: ilrcpc < rcpc
    rcpc3: lrcpc3 < rcpc-immo
    flagm: flagm
    altnzcv: flagm2 < flagm
    fptoint: frint
    pauth: paca pacg
    bti: bti
    mte: mte
    rand: rng
    wfxt: wfxt
    mops: mops
    cssc: cssc
    hbc: hbc
    sve: sve < fullfp16
    sve2: sve2 < sve
    sve2p1: sve2p1 < sve2
    sve-aes: sveaes svepmull < aes
    sve-bitperm: svebitperm
    sve-sha3: svesha3 < sha3
    sve-sm4: svesm4 < sm4
    sve-b16b16: sveb16b16
    f32mm: svef32mm < sve
    f64mm: svef64mm < sve
    sme: sme < bf16 fullfp16
    sme2: sme2 < sme
    sme2p1: sme2p1 < sme2
    sme-f64f64: smef64f64 < sme
    sme-i16i64: smei16i64 < sme
    sme-f16f16: smef16f16 < sme2
    sme-b16b16: smeb16b16 < sme2 sve-b16b16
    fp8: f8cvt
    fp8fma: f8fma < fp8
    fp8dot2: f8dp2 < fp8
    fp8dot4: f8dp4 < fp8
    lut: lut
    faminmax: faminmax
""")

# x86-64-v2 to v4 (x86-64 psABI, section 3.1.1 "Processor Architecture") and what multiplies beyond them.
_X86_64 = _table("""
    cx16: cx16
    sahf: lahf_lm
    popcnt: popcnt
    ssse3: ssse3
    sse4.1: sse4_1 < ssse3
    sse4.2: sse4_2 < sse4.1
    avx: avx < sse4.2
    avx2: avx2 < avx
    fma: fma < avx
    f16c: f16c < avx
    bmi: bmi1
    bmi2: bmi2
    lzcnt: abm
    movbe: movbe
    xsave: xsave
    avxvnni: avx_vnni < avx2
    avx512f: avx512f < avx2 fma f16c
    avx512bw: avx512bw < avx512f
    avx512cd: avx512cd < avx512f
    avx512dq: avx512dq < avx512f
    avx512vl: avx512vl < avx512f
    avx512vnni: avx512_vnni < avx512f
    avx512ifma: avx512ifma < avx512f
    avx512vbmi: avx512vbmi < avx512bw
    avx512vbmi2: avx512_vbmi2 < avx512bw
    avx512bf16: avx512_bf16 < avx512bw
    avx512fp16: avx512_fp16 < avx512bw
""")

FEATURES: Mapping[str, Mapping[str, Feature]] = {"aarch64": _AARCH64, "x86_64": _X86_64}

_COMPILERS_NAMES = {"fp16": "fullfp16", "simd": "neon"}  # what clang and GCC call them behind -march


def closure(arch: str, names: Iterable[str]) -> frozenset[str]:
    """The named features and all that they need."""
    direct = frozenset(names)
    needed = frozenset(need for name in direct for need in FEATURES[arch][name].needs)
    return direct if needed <= direct else closure(arch, direct | needed)


@functools.cache
def cpuinfo(arch: str, names: frozenset[str]) -> tuple[str, ...]:
    """The features as /proc/cpuinfo names them, in the order of the table."""
    return tuple(text for feature in FEATURES[arch].values() if feature.name in names for text in feature.cpuinfo)


def exactly(arch: str, names: Collection[str]) -> tuple[str, ...]:
    """LLVM's attributes that leave a core exactly these features of the table, whatever its -mcpu implies.

    Removals come first: what removes a feature removes those that need it, too.
    """
    table = FEATURES[arch]
    return (*(f"-{name}" for name in table if name not in names), *(f"+{name}" for name in table if name in names))


@dataclass(frozen=True)
class Changes:
    """The changes of `+feature,-feature` behind a target's name, by LLVM's names."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join([*(f"+{name}" for name in self.added), *(f"-{name}" for name in self.removed)])

    def applied(self, arch: str, names: Iterable[str]) -> frozenset[str]:
        """`names` with what is added and all that it needs, without what is removed and all that needs it."""
        removed = set(self.removed)
        wanted = closure(arch, [*names, *self.added])
        return frozenset(name for name in wanted if not removed & closure(arch, [name]))


def split(text: str, known: Collection[str]) -> tuple[str, str]:
    """A target's name and the changes behind it; `-feature` may follow a name that has hyphens of its own."""
    name = re.split(r"[+,]", text, maxsplit=1)[0]
    if name not in known:
        hyphens = [place for place, letter in enumerate(name) if letter == "-"]
        name = next((name[:place] for place in reversed(hyphens) if name[:place] in known), name)
    return name, text[len(name) :]


def parse_changes(text: str, arch: str) -> Changes:
    """`+a,-b`, `+a-b` or nothing. Raises ValueError for unknown features and for those that contradict each other."""
    added: dict[str, None] = {}
    removed: dict[str, None] = {}
    for item in filter(None, text.split(",")):
        while item:
            sign, name, item = _first(item, arch)
            (added if sign == "+" else removed)[name] = None
    for name in added:
        for lost in removed:
            if lost == name:
                raise ValueError(f"+{name} and -{name} contradict each other: leave one of them out")
            if lost in closure(arch, [name]):
                raise ValueError(f"+{name} and -{lost} contradict each other: {name} needs {lost}")
    return Changes(tuple(sorted(added)), tuple(sorted(removed)))


def _first(text: str, arch: str) -> tuple[str, str, str]:
    """The sign and the name of the first change in `text`, and the rest; names may have hyphens of their own."""
    table = FEATURES[arch]
    ends = [place for place in range(2, len(text) + 1) if place == len(text) or text[place] in "+-"]
    if text[0] not in "+-" or not ends:
        raise ValueError(f"{text!r} is not a feature: put + or - before its name, as in +dotprod,-fullfp16")
    names = {end: _COMPILERS_NAMES.get(text[1:end], text[1:end]) for end in ends}
    end = next((end for end in reversed(ends) if names[end] in table), None)
    if end is None:
        raise ValueError(unknown(f"{arch} feature", text[1 : ends[0]], list(table)))
    return text[0], names[end], text[end:]
