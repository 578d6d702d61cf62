"""An aarch64 emulator (Unicorn) in this process that loads a kernel's file and calls its functions.

It sees nothing of this process's memory: what a call may touch is copied in before it and out after it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from tvmconv.support.install import install_line

_PAGE = 4096  # of the emulated machine
# Where things lie in it. Arrays have this much room between them, so that a stray access is told from another array's.
_RETURN, _POOL, _FILE, _STACK, _ARRAYS, _GAP = 0x1000, 0x2000, 0x40_0000, 0x4000_0000, 0x1_0000_0000, 1 << 20
_STACK_BYTES = 1 << 20

# All that ARMv8.0 has: a file that needs no more runs on a Cortex-A72, which lacks everything newer, as old cores do.
_ARMV8_0 = frozenset(["fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid"])
_FP_ENABLED = 3 << 20  # CPACR_EL1.FPEN: nothing of floating point and vectors is trapped

# ELF for the Arm 64-bit Architecture, section "Dynamic relocations": what the linker leaves to do.
_ABS64, _GLOB_DAT, _JUMP_SLOT, _RELATIVE = 257, 1025, 1026, 1027

# parallel_for(ctx, task, arg, n) of tvmconv.h: the tasks backwards, on the thread that calls.
_BACKWARDS = (
    *(
        0xA9BD7BFD,
        0xA90153F3,
        0xF90013F5,
    ),  #       stp x29, x30, [sp, #-48]!; stp x19, x20, [sp, #16]; str x21, [sp, #32]
    *(0xAA0103F3, 0xAA0203F4, 0x2A0303F5),  #       mov x19, x1; mov x20, x2; mov w21, w3
    *(0x710006B5, 0x540000A4),  #             next: subs w21, w21, #1; b.mi done
    *(0xAA1403E0, 0x2A1503E1, 0xD63F0260),  #       mov x0, x20; mov w1, w21; blr x19
    0x17FFFFFB,  #                                  b next
    *(0xF94013F5, 0xA94153F3, 0xA8C37BFD),  # done: ldr x21, [sp, #32]; ldp x19, x20, [sp, #16]; ldp x29, x30, [sp], #48
    *(0x52800000, 0xD65F03C0),  #                   mov w0, #0; ret
)
POOL = _POOL  # the address of a tvmconv_pool that runs its tasks so


class Fault(Exception):
    """The emulated code did what it must not; the text is a sentence's end that says what: "reads 4 bytes at …"."""


@dataclass(frozen=True)
class Memory:
    """An argument that is a pointer: `size` bytes at an address of this process, which the call may read.

    Where `writable` it may write them too. They keep their place in their page; the pages around theirs are forbidden.
    """

    name: str
    address: int
    size: int
    writable: bool


@dataclass(frozen=True)
class _Placed:
    memory: Memory
    address: int  # in the emulated machine

    @property
    def pages(self) -> tuple[int, int]:
        """The first byte and the number of bytes of the pages that it touches."""
        start = self.address // _PAGE * _PAGE
        return start, max(_PAGE, -(-(self.address + self.memory.size - start) // _PAGE) * _PAGE)


class Machine:
    """One loaded file and a stack, on the oldest core that Unicorn knows and the file's `features` allow.

    Subnormal numbers are kept and NaN keeps its bits, as after a process's start on Linux. With `counting`,
    `instructions` has those that were executed in all calls.
    """

    def __init__(self, path: Path, features: Sequence[str], counting: bool = False) -> None:
        """Raises ValueError where Unicorn is not installed, or the file needs a symbol of another file."""
        require()
        self._unicorn = unicorn = _module("unicorn")
        self._arm64 = arm64 = _module("unicorn.arm64_const")
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self._cpu = "A72" if _ARMV8_0.issuperset(features) else "MAX"
        self._uc.ctl_set_cpu_model(getattr(arm64, f"UC_CPU_ARM64_{self._cpu}"))
        self._uc.reg_write(arm64.UC_ARM64_REG_CPACR_EL1, _FP_ENABLED)
        self._uc.reg_write(arm64.UC_ARM64_REG_FPCR, 0)
        self._elf: Any = ELFFile(io.BytesIO(path.read_bytes()))
        self._load(path)
        self._uc.mem_map(_STACK, _STACK_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, content in ((_RETURN, b""), (_POOL, self._pool())):
            self._uc.mem_map(address, _PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
            self._uc.mem_write(address, content)
        self._stray: tuple[int, int, int] | None = None
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_stray_access)
        self.instructions = 0
        if counting:
            self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._count)

    def has(self, function: str) -> bool:
        return bool(self._elf.get_section_by_name(".dynsym").get_symbol_by_name(function))

    def call(self, function: str, *arguments: Memory | int | float | None, seconds: float = 0) -> int:
        """Calls a C function that returns an int; None is NULL. Raises Fault; TimeoutError after `seconds`, if any."""
        placed = self._place([each for each in arguments if isinstance(each, Memory)])
        try:
            self._copy_in(placed)
            self._set_registers(arguments, {each.memory: each.address for each in placed})
            self._run(function, placed, seconds)
            for each in placed:
                if each.memory.writable:
                    content = self._uc.mem_read(each.address, each.memory.size)
                    ctypes.memmove(each.memory.address, bytes(content), each.memory.size)
        finally:
            for each in placed:
                self._uc.mem_unmap(*each.pages)
        status = int(self._uc.reg_read(self._arm64.UC_ARM64_REG_W0))
        return status - (status >> 31 << 32)

    def _load(self, path: Path) -> None:
        unicorn = self._unicorn
        for segment in self._elf.iter_segments("PT_LOAD"):
            start = segment["p_vaddr"] // _PAGE * _PAGE
            size = -(-(segment["p_vaddr"] + segment["p_memsz"] - start) // _PAGE) * _PAGE
            executable, writable, readable = (segment["p_flags"] & flag for flag in (1, 2, 4))
            protection = unicorn.UC_PROT_READ * bool(readable) | unicorn.UC_PROT_WRITE * bool(writable)
            self._uc.mem_map(_FILE + start, size, protection | unicorn.UC_PROT_EXEC * bool(executable))
            self._uc.mem_write(_FILE + segment["p_vaddr"], segment.data())
        symbols = self._elf.get_section_by_name(".dynsym")
        for section in self._elf.iter_sections("SHT_RELA"):
            for relocation in section.iter_relocations():
                value = self._relocated(relocation, symbols, path)
                self._uc.mem_write(_FILE + relocation["r_offset"], struct.pack("<Q", value))

    def _relocated(self, relocation: Any, symbols: Any, path: Path) -> int:
        kind, addend = relocation["r_info_type"], relocation["r_addend"]
        if kind == _RELATIVE:
            return int(_FILE + addend)
        symbol = symbols.get_symbol(relocation["r_info_sym"])
        if kind not in (_ABS64, _GLOB_DAT, _JUMP_SLOT):
            raise ValueError(f"{path} has a relocation of type {kind}, which no kernel needs; build it again")
        if symbol["st_shndx"] != "SHN_UNDEF":
            return int(_FILE + symbol["st_value"] + addend)
        if symbol["st_info"]["bind"] == "STB_WEAK":
            return 0
        raise ValueError(f"{path} needs {symbol.name} of another file, which a kernel must not; build it again")

    @staticmethod
    def _pool() -> bytes:
        """A tvmconv_pool, and its function behind it."""
        face = struct.pack("<QQ", _POOL + 16, 0)
        return face + struct.pack(f"<{len(_BACKWARDS)}I", *_BACKWARDS)

    def _place(self, memories: Sequence[Memory]) -> list[_Placed]:
        placed, free = [], _ARRAYS
        for memory in memories:
            placed.append(_Placed(memory, free + memory.address % _PAGE))
            start, size = placed[-1].pages
            free = -(-(start + size + _GAP) // _GAP) * _GAP
        return placed

    def _copy_in(self, placed: Sequence[_Placed]) -> None:
        read, write = self._unicorn.UC_PROT_READ, self._unicorn.UC_PROT_WRITE
        for each in placed:
            self._uc.mem_map(*each.pages, read | write if each.memory.writable else read)
            self._uc.mem_write(each.address, ctypes.string_at(each.memory.address, each.memory.size))

    def _set_registers(self, arguments: Sequence[Memory | int | float | None], places: dict[Memory, int]) -> None:
        """The arguments where the AAPCS64 has them: integers and pointers in X0 …, floats in S0 … ."""
        whole = [each for each in arguments if not isinstance(each, float)]
        for number, value in enumerate(whole):
            content = places[value] if isinstance(value, Memory) else value or 0
            self._uc.reg_write(getattr(self._arm64, f"UC_ARM64_REG_X{number}"), content)
        for number, real in enumerate(each for each in arguments if isinstance(each, float)):
            (bits,) = struct.unpack("<I", struct.pack("<f", real))
            self._uc.reg_write(getattr(self._arm64, f"UC_ARM64_REG_S{number}"), bits)
        self._uc.reg_write(self._arm64.UC_ARM64_REG_LR, _RETURN)
        self._uc.reg_write(self._arm64.UC_ARM64_REG_SP, _STACK + _STACK_BYTES)

    def _run(self, function: str, placed: Sequence[_Placed], seconds: float) -> None:
        symbols = self._elf.get_section_by_name(".dynsym").get_symbol_by_name(function)
        self._stray = None
        try:
            self._uc.emu_start(_FILE + symbols[0]["st_value"], _RETURN, timeout=int(seconds * 1e6))
        except self._unicorn.UcError as error:
            raise Fault(f"{self._what_happened(error, placed)} (at {self._counter() - _FILE:#x} of its file)") from None
        if self._counter() != _RETURN:
            raise TimeoutError(f"{function} did not end within {seconds:.0f} s in the emulator")

    def _counter(self) -> int:
        return int(self._uc.reg_read(self._arm64.UC_ARM64_REG_PC))

    def _what_happened(self, error: Exception, placed: Sequence[_Placed]) -> str:
        if self._stray is None:
            return f"executes what Unicorn's CPU {self._cpu} cannot: {error}"
        access, address, size = self._stray
        written = access in (self._unicorn.UC_MEM_WRITE_UNMAPPED, self._unicorn.UC_MEM_WRITE_PROT)
        what = f"{'writes' if written else 'reads'} {size} bytes at"
        for each in placed:
            start, length = each.pages
            if start - _GAP // 2 <= address < start + length + _GAP // 2:
                inside = 0 <= address - each.address < each.memory.size
                kind = "is read-only" if inside else f"has {each.memory.size} bytes"
                return f"{what} byte {address - each.address} of {each.memory.name}, which {kind}"
        return f"{what} address {address:#x}, which is no array's"

    def _note_stray_access(self, uc: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        self._stray = access, address, size
        return False

    def _count(self, uc: Any, address: int, size: int, data: Any) -> None:
        self.instructions += size // 4


def _module(name: str) -> Any:
    """A module of Unicorn's, whose annotations cover its functions in part alone."""
    return importlib.import_module(name)


def require() -> None:
    """Raises ValueError, with the line that installs it, where Unicorn is not there."""
    if importlib.util.find_spec("unicorn") is None:
        raise ValueError(f"the emulator needs Unicorn, which is not installed: {install_line('emulator')}")
