"""What the device server says of its machine: clusters, clocks, temperatures."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE
from tvmconv.native import toolchain
from tvmconv.rpc.deploy.server_build import GLIBC, SOURCES, tvm_headers


def test_clusters_clocks_and_temperatures(tmp_path: Path) -> None:
    """As a phone shows them: two kinds of core, of which one has two clocks; a sensor that is off; odd names."""
    for cpu, (midr, khz, now) in enumerate(
        [*[("0x411fd050", 1803000, 300000)] * 2, ("0x411fd440", 2400000, 2400000), ("0x411fd440", 2802000, 2802000)]
    ):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}"
        write(folder / "regs/identification/midr_el1", f"{midr.replace('0x', '0x00000000')}\n")
        write(folder / "cpufreq/cpuinfo_max_freq", f"{khz}\n")
        write(folder / "cpufreq/scaling_cur_freq", f"{now}\n")
    for zone, (name, temperature) in enumerate(
        [('a "big"\\ zone\x01é', "45100"), ("off", "-274000"), ("soc", "38000")]
    ):
        write(tmp_path / f"class/thermal/thermal_zone{zone}/type", f"{name}\n")
        write(tmp_path / f"class/thermal/thermal_zone{zone}/temp", temperature)
    described, sensors = described_by(tmp_path, "0-3,7")
    assert described["clusters"] == [
        {"cpus": "0-1", "implementer": "0x41", "part": "0xd05", "max_mhz": 1803},
        {"cpus": "2", "implementer": "0x41", "part": "0xd44", "max_mhz": 2400},
        {"cpus": "3", "implementer": "0x41", "part": "0xd44", "max_mhz": 2802},
        {"cpus": "7", "implementer": None, "part": None, "max_mhz": None},
    ]
    assert (described["cpus"], described["tvm_ffi"]) == ("0-3,7", "1.2.3")
    assert sensors == {
        "mhz": {"0": 300, "1": 300, "2": 2400, "3": 2802},
        "celsius": {'a "big"\\ zone\x01??': 45.1, "soc": 38.0},
    }


def described_by(system: Path, cpus: str) -> list[dict[str, Any]]:
    """What the server would say if that folder were /sys."""
    program = system / "machine"
    names = ("machine/machine.c", "machine/cpus.c", "text.c", "log.c")
    parts = [*(SOURCES / name for name in names), toolchain.NATIVE / "cpu_list.c"]
    flags = (f'-DSYS="{system}"', '-DVERSION="0"', "-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror")
    includes = (f"-I{SOURCES}", f"-I{toolchain.NATIVE}", f"-I{tvm_headers()}")
    triple = f"{platform.machine()}-linux-gnu.{GLIBC}"
    source = Path(__file__).with_name("machine.c")
    toolchain.zig_program(triple, *flags, "-fPIE", "-pie", *includes, "-o", program, source, *parts, static=False)
    done = subprocess.run([program, cpus], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
