"""The AArch64 cores that LLVM 22 knows, as a table."""

from __future__ import annotations

from dataclasses import dataclass

_KB = 1024


@dataclass(frozen=True)
class Core:
    """A core by LLVM's name.

    features: extensions for arithmetic, by LLVM's names, of f16, bf16 and integers. Not SVE: the schedules are NEON's,
    and phones hide it. l2: bytes that one core may count on, in the smallest form that is common. flops: f32 operations
    a cycle at the peak (a multiply-add counts 2), None where not known. parts: what /proc/cpuinfo calls it, "CPU
    implementer:CPU part" in hexadecimal. in_order: it runs instructions in the order that the compiler gives them.
    """

    name: str
    features: tuple[str, ...] = ()
    l2: int = 256 * _KB
    flops: int | None = None
    parts: tuple[str, ...] = ()
    in_order: bool = False


_ARMV8 = ()
_HALF = ("fullfp16",)
_DOT = ("dotprod",)
_ARMV82 = ("fullfp16", "dotprod")  # with the extensions that all of Arm's own cores since the A75 have
_ARMV9 = ("fullfp16", "dotprod", "i8mm", "bf16")


def _core(
    name: str,
    features: tuple[str, ...],
    l2: int = 256,
    flops: int | None = None,
    parts: str = "",
    in_order: bool = False,
) -> Core:
    """l2 in kilobytes."""
    return Core(name, features, l2 * _KB, flops, tuple(parts.split()), in_order)


# Features are LLVM's (a test compares them), parts those of its Host.cpp and of Linux's asm/cputype.h: Qualcomm's
# Kryo 2xx to 4xx are Arm's cores, gold ones big and silver ones little.
CORES: tuple[Core, ...] = (
    _core("cortex-a34", _ARMV8, 128, None, "41:d02", in_order=True),
    _core("cortex-a35", _ARMV8, 128, None, "41:d04", in_order=True),
    _core("cortex-a53", _ARMV8, 256, 8, "41:d03 51:801", in_order=True),
    _core("cortex-a55", _ARMV82, 128, 8, "41:d05 51:803 51:805", in_order=True),
    _core("cortex-a320", _ARMV9, 128, None, "41:d8f", in_order=True),
    _core("cortex-a510", _ARMV9, 128, None, "41:d46", in_order=True),
    _core("cortex-a520", _ARMV9, 128, None, "41:d80", in_order=True),
    _core("cortex-a520ae", _ARMV9, 128, None, "41:d88", in_order=True),
    _core("c1-nano", _ARMV9, 128, None, in_order=True),
    _core("cortex-r82", _ARMV82, 128, None, "41:d15", in_order=True),
    _core("cortex-r82ae", _ARMV82, 128, None, in_order=True),
    _core("cortex-a57", _ARMV8, 1024, 8, "41:d07"),
    _core("cortex-a65", _ARMV82, 128, None, "41:d06"),
    _core("cortex-a65ae", _ARMV82, 128, None, "41:d43"),
    _core("cortex-a72", _ARMV8, 512, 8, "41:d08"),
    _core("cortex-a73", _ARMV8, 512, 8, "41:d09 51:800"),
    _core("cortex-a75", _ARMV82, 256, 16, "41:d0a 51:802"),
    _core("cortex-a76", _ARMV82, 256, 16, "41:d0b 51:804"),
    _core("cortex-a76ae", _ARMV82, 256, 16, "41:d0e"),
    _core("cortex-a77", _ARMV82, 256, 16, "41:d0d"),
    _core("cortex-a78", _ARMV82, 256, 16, "41:d41"),
    _core("cortex-a78ae", _ARMV82, 256, 16, "41:d42"),
    _core("cortex-a78c", _ARMV82, 256, 16, "41:d4b"),
    _core("cortex-a710", _ARMV9, 256, 16, "41:d47"),
    _core("cortex-a715", _ARMV9, 256, 16, "41:d4d"),
    _core("cortex-a720", _ARMV9, 256, 16, "41:d81"),
    _core("cortex-a720ae", _ARMV9, 256, 16, "41:d89"),
    _core("cortex-a725", _ARMV9, 256, 16, "41:d87"),
    _core("cortex-x1", _ARMV82, 512, 32, "41:d44"),
    _core("cortex-x1c", _ARMV82, 512, 32, "41:d4c"),
    _core("cortex-x2", _ARMV9, 512, 32, "41:d48"),
    _core("cortex-x3", _ARMV9, 512, 32, "41:d4e"),
    _core("cortex-x4", _ARMV9, 512, 32, "41:d82"),
    _core("cortex-x925", _ARMV9, 1024, None, "41:d85"),
    _core("c1-pro", _ARMV9, 512),
    _core("c1-premium", _ARMV9, 1024),
    _core("c1-ultra", _ARMV9, 1024),
    _core("neoverse-e1", _ARMV82, 256, None, "41:d4a"),
    _core("neoverse-n1", _ARMV82, 512, 16, "41:d0c"),
    _core("neoverse-n2", _ARMV9, 512, 16, "41:d49"),
    _core("neoverse-n3", _ARMV9, 512, None, "41:d8e"),
    _core("neoverse-512tvb", _ARMV9, 1024),
    _core("neoverse-v1", _ARMV9, 1024, 32, "41:d40"),
    _core("neoverse-v2", _ARMV9, 1024, 32, "41:d4f"),
    _core("neoverse-v3", _ARMV9, 1024, None, "41:d84"),
    _core("neoverse-v3ae", _ARMV9, 1024, None, "41:d83"),
    _core("grace", _ARMV9, 1024),
    _core("gb10", _ARMV9, 512),
    _core("olympus", _ARMV9, 1024, None, "4e:010"),
    _core("carmel", _HALF, 512, None, "4e:004"),
    _core("kryo", _ARMV8, 512, None, "51:201 51:205 51:211"),
    _core("falkor", _ARMV8, 256, None, "51:c00"),
    _core("saphira", _DOT, 256, None, "51:c01"),
    _core("oryon-1", _ARMV9, 1024, None, "51:001"),
    _core("exynos-m3", _ARMV8, 512, None, "53:002"),
    _core("exynos-m4", _ARMV82, 512, None, "53:003"),
    _core("exynos-m5", _ARMV82, 512, None, "53:004"),
    _core("apple-a7", _ARMV8, 1024),
    _core("apple-a10", _ARMV8, 1024),
    _core("apple-a11", _HALF, 1024),
    _core("apple-a12", _HALF, 1024),
    _core("apple-a13", _ARMV82, 1024),
    _core("apple-a14", _ARMV82, 1024),
    _core("apple-a15", _ARMV9, 1024),
    _core("apple-a16", _ARMV9, 1024),
    _core("apple-a17", _ARMV9, 1024),
    _core("apple-m1", _ARMV82, 1024, None, "61:022 61:023 61:024 61:025 61:028 61:029"),
    _core("apple-m2", _ARMV9, 1024, None, "61:032 61:033 61:034 61:035 61:038 61:039"),
    _core("apple-m4", _ARMV9, 1024),
    _core("apple-m5", _ARMV9, 1024),
    _core("ampere1", _ARMV9, 1024, None, "c0:ac3"),
    _core("ampere1a", _ARMV9, 1024, None, "c0:ac4"),
    _core("ampere1b", _ARMV9, 1024, None, "c0:ac5"),
    _core("ampere1c", _ARMV9, 1024),
    _core("a64fx", _HALF, 512, None, "46:001"),
    _core("fujitsu-monaka", _ARMV9, 512, None, "46:003"),
    _core("thunderx", _ARMV8, 256),
    _core("thunderxt81", _ARMV8, 256, None, "43:0a2"),
    _core("thunderxt83", _ARMV8, 256, None, "43:0a3"),
    _core("thunderxt88", _ARMV8, 256, None, "43:0a1"),
    _core("thunderx2t99", _ARMV8, 256, None, "43:0af"),
    _core("thunderx3t110", _ARMV8, 256, None, "43:0b8"),
    _core("tsv110", _ARMV82, 512, None, "48:d01"),
)

BY_NAME = {core.name: core for core in CORES}
