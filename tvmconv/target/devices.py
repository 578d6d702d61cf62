"""Known devices as a table: their clusters of cores and common CPU features."""

from __future__ import annotations

from dataclasses import dataclass

from tvmconv.target.cores import BY_NAME, Core

LOCAL, EMULATOR = "local", "emulator"  # devices that are always there: this machine, an aarch64 emulated on it
EMULATED = "emulated-aarch64"  # the device server under qemu-user on this machine, for one command

_KB = 1024


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind. mcpu: LLVM's name, of the nearest relative where it has no model of the core itself; l1d: of
    a core, l2: that a core may count on, both in bytes, None where not known; flops: a cycle and core, where it is not
    that of mcpu."""

    name: str
    cores: int
    mcpu: str
    l1d: int | None = None
    l2: int | None = None
    flops: int | None = None

    @property
    def core(self) -> Core:
        return BY_NAME[self.mcpu]

    @property
    def flops_per_cycle(self) -> int | None:
        """f32 operations of one core, a multiply-add counted as 2."""
        return self.flops or self.core.flops


@dataclass(frozen=True)
class Device:
    """A machine. features: extensions by LLVM's names that every core has and the system shows to programs; clusters:
    the fastest first, the weakest last."""

    name: str
    chip: str
    system: str
    features: tuple[str, ...]
    clusters: tuple[Cluster, ...]

    @property
    def triple(self) -> str:
        """LLVM's. Android's differs from Linux's in that register x18 belongs to the system."""
        return {"android": "aarch64-unknown-linux-android", "linux": "aarch64-unknown-linux-gnu"}[self.system]

    @property
    def weakest(self) -> Cluster:
        return self.clusters[-1]


def _cluster(
    name: str, cores: int, mcpu: str, l1d: int | None = None, l2: int | None = None, flops: int | None = None
) -> Cluster:
    """l1d and l2 in kilobytes; of a shared L2 all, which a single thread has for itself."""
    return Cluster(name, cores, mcpu, l1d and l1d * _KB, l2 and l2 * _KB, flops)


_ARMV8 = ()
_HALF = ("fullfp16",)
_ARMV82 = ("fullfp16", "dotprod")
_I8MM = ("fullfp16", "dotprod", "i8mm")
_BF16 = ("fullfp16", "dotprod", "i8mm", "bf16")

# Features are those of public dumps of /proc/cpuinfo: the Snapdragon 845 has no dotprod, which LLVM gives its core,
# the Pixel 8's kernel hides bf16. No phone gets SVE, which some hide and none has vectors longer than NEON's for.
# The Galaxy S8 is two phones; LLVM has no model of the Exynos M2, and for both what all of their cores have is ARMv8.0.
# The Galaxy S24 is two phones with the same kinds of core; the Exynos has four little ones. Their L2 sizes differ.
DEVICES: tuple[Device, ...] = (
    Device(
        *("galaxy-s8", "Snapdragon 835, or Exynos 8895 with M2 as big cores", "android", _ARMV8),
        (_cluster("big", 4, "cortex-a73", 64, 2048), _cluster("little", 4, "cortex-a53", 32)),
    ),
    Device(
        *("pixel2xl", "Snapdragon 835", "android", _ARMV8),
        (_cluster("big", 4, "cortex-a73", 64, 2048), _cluster("little", 4, "cortex-a53", 32, 1024)),
    ),
    Device(
        *("pixel3", "Snapdragon 845", "android", _HALF),
        (_cluster("big", 4, "cortex-a75", 64, 256), _cluster("little", 4, "cortex-a55", None, 128)),
    ),
    Device(
        *("pixel4", "Snapdragon 855", "android", _ARMV82),
        (
            _cluster("prime", 1, "cortex-a76", 64, 512),
            _cluster("big", 3, "cortex-a76", 64, 256),
            _cluster("little", 4, "cortex-a55", None, 128),
        ),
    ),
    Device(
        *("pixel5", "Snapdragon 765G", "android", _ARMV82),
        (_cluster("big", 2, "cortex-a76", 64, 256), _cluster("little", 6, "cortex-a55")),
    ),
    Device(
        *("pixel6", "Tensor", "android", _ARMV82),
        (
            _cluster("big", 2, "cortex-x1", 64, 1024),
            _cluster("mid", 2, "cortex-a76", 64, 256),
            _cluster("little", 4, "cortex-a55", None, 128),
        ),
    ),
    Device(
        *("pixel7", "Tensor G2", "android", _ARMV82),
        (
            _cluster("big", 2, "cortex-x1", 64, 1024),
            _cluster("mid", 2, "cortex-a78", None, 256),
            _cluster("little", 4, "cortex-a55", None, 128),
        ),
    ),
    Device(
        *("pixel8", "Tensor G3", "android", _I8MM),
        (_cluster("big", 1, "cortex-x3", 64), _cluster("mid", 4, "cortex-a715"), _cluster("little", 4, "cortex-a510")),
    ),
    Device(
        *("pixel9", "Tensor G4", "android", _BF16),
        (_cluster("big", 1, "cortex-x4", 64), _cluster("mid", 3, "cortex-a720"), _cluster("little", 4, "cortex-a520")),
    ),
    Device(
        *("pixel10", "Tensor G5", "android", _BF16),
        (_cluster("big", 1, "cortex-x4", 64), _cluster("mid", 5, "cortex-a725"), _cluster("little", 2, "cortex-a520")),
    ),
    Device(
        *("galaxy-s24", "Snapdragon 8 Gen 3, or Exynos 2400", "android", _BF16),
        (_cluster("big", 1, "cortex-x4", 64), _cluster("mid", 5, "cortex-a720"), _cluster("little", 2, "cortex-a520")),
    ),
    Device("raspberrypi3", "BCM2837", "linux", _ARMV8, (_cluster("all", 4, "cortex-a53", 32, 512),)),
    Device("raspberrypi4", "BCM2711", "linux", _ARMV8, (_cluster("all", 4, "cortex-a72", 32, 1024),)),
    Device("raspberrypi5", "BCM2712", "linux", _ARMV82, (_cluster("all", 4, "cortex-a76", 64, 512),)),
    Device(
        *("rk3588", "Rockchip RK3588, of the Rock 5 and many boards", "linux", _ARMV82),
        (_cluster("big", 4, "cortex-a76", 64, 512), _cluster("little", 4, "cortex-a55", 32, 128)),
    ),
    Device(
        *("orangepi5", "Rockchip RK3588S", "linux", _ARMV82),
        (_cluster("big", 4, "cortex-a76", 64, 512), _cluster("little", 4, "cortex-a55", 32, 128)),
    ),
    Device("jetson-nano", "Tegra X1", "linux", _ARMV8, (_cluster("all", 4, "cortex-a57", 32, 2048),)),
    Device(
        "jetson-orin",
        "Orin (AGX; NX has 8 cores, Nano 6)",
        "linux",
        _ARMV82,
        (_cluster("all", 12, "cortex-a78ae", 64, 256),),
    ),
    Device("graviton2", "Graviton 2", "linux", _ARMV82, (_cluster("all", 64, "neoverse-n1", 64, 1024),)),
    Device("graviton3", "Graviton 3", "linux", _BF16, (_cluster("all", 64, "neoverse-v1", 64, 1024),)),
    Device("graviton4", "Graviton 4", "linux", _BF16, (_cluster("all", 96, "neoverse-v2", 64, 2048),)),
    # Linux on a Mac, a container's or Asahi: macOS has another file format, Mach-O, which is not written here.
    Device(
        *("apple-m1", "Apple M1, under Linux", "linux", _ARMV82),
        (_cluster("big", 4, "apple-m1", 128, 12288, flops=32), _cluster("little", 4, "apple-m1", 64, 4096)),
    ),
    Device(
        *("apple-m2", "Apple M2, under Linux", "linux", _BF16),
        (_cluster("big", 4, "apple-m2", 128, 16384, flops=32), _cluster("little", 4, "apple-m2", 64, 4096)),
    ),
)
