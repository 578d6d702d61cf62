"""Reads sections of ELF files whose headers are consistent."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from elftools.elf.elffile import ELFFile

_TABLES = {"sh": 64, "ph": 56}  # section and program headers, bytes of each in ELF64
_MOST_ENTRIES = 0xFF00  # SHN_LORESERVE: from there on their number stands elsewhere
_LARGEST_IMAGE = 1 << 32  # bytes of address space
# What a kernel's program headers are. The dynamic linker acts on others, too.
_SEGMENTS = {"PT_LOAD", "PT_PHDR", "PT_DYNAMIC", "PT_NOTE", "PT_GNU_RELRO", "PT_GNU_EH_FRAME", "PT_GNU_STACK"}
_ALLOCATED, _WRITABLE, _EXECUTABLE = 2, 1, 4  # SHF_ALLOC, SHF_WRITE, SHF_EXECINSTR
_DATA = 6  # PF_R | PF_W
_RIGHTS = {4, 5, _DATA}  # of a segment: read-only, code, data
_ACCESS = {_WRITABLE: 2, _EXECUTABLE: 1}  # the section's flag: the segment's, PF_W and PF_X
# The tags of the dynamic table: which section is where, and of what size; what is the same in every file; the rest.
_ADDRESSES = {
    "DT_SYMTAB": ".dynsym",
    "DT_STRTAB": ".dynstr",
    "DT_HASH": ".hash",
    "DT_GNU_HASH": ".gnu.hash",
    "DT_RELA": ".rela.dyn",
    "DT_JMPREL": ".rela.plt",
}
_SIZES = {"DT_STRSZ": ".dynstr", "DT_RELASZ": ".rela.dyn", "DT_PLTRELSZ": ".rela.plt"}
_CONSTANTS = {"DT_SYMENT": 24, "DT_RELAENT": 24, "DT_PLTREL": 7}
_REQUIRED = {"DT_SYMTAB", "DT_STRTAB", "DT_SYMENT", "DT_GNU_HASH"}
_TOGETHER = ({"DT_RELA", "DT_RELASZ", "DT_RELAENT"}, {"DT_JMPREL", "DT_PLTRELSZ", "DT_PLTREL"})
_OTHERS = {"DT_NULL", "DT_FLAGS", "DT_FLAGS_1", "DT_PLTGOT", "DT_SONAME", "DT_RELACOUNT"}


def section(path: Path, name: str) -> bytes | None:
    """The content of a section of a shared object; None if it has none of that name.

    Raises ValueError for what is no shared object, or a damaged one, whose loading might crash the process; OSError
    where the file cannot be read.
    """
    with _regular(path) as file:
        try:
            elf: Any = ELFFile(file)
            size = os.fstat(file.fileno()).st_size
            _check_tables(elf, size)
            sections = {each.name: each for each in elf.iter_sections() if each["sh_type"] != "SHT_NULL"}
            _check(sections, list(elf.iter_segments()), size)
            return bytes(sections[name].data()) if name in sections else None
        except Exception as error:  # pyelftools trusts what it reads: numbers from a damaged file fail anywhere
            raise ValueError(f"{path} is not a kernel file, or a truncated or damaged one; build it again") from error


def _regular(path: Path) -> BinaryIO:
    """The file, opened. Raises ValueError for what is no regular file, without waiting for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise ValueError(f"{path} is not a kernel file: it is a {'folder' if path.is_dir() else 'pipe or a device'}")


def _check_tables(elf: Any, size: int) -> None:
    """Raises ValueError unless a file of `size` bytes holds the section and program headers of a shared object."""
    _demand(elf.elfclass == 64 and elf.little_endian and elf["e_type"] == "ET_DYN")
    for table, entry_bytes in _TABLES.items():
        count = elf[f"e_{table}num"]
        _demand(0 < count < _MOST_ENTRIES and elf[f"e_{table}entsize"] == entry_bytes)
        _demand(elf[f"e_{table}off"] + count * entry_bytes <= size)


def _check(sections: Mapping[str, Any], segments: Sequence[Any], size: int) -> None:
    """Raises ValueError where headers contradict each other or lead out of a file of `size` bytes.

    The dynamic linker checks none of this. Sections repeat what segments and the dynamic table say.
    """
    loaded = [segment for segment in segments if segment["p_type"] == "PT_LOAD"]
    for each in sections.values():
        _demand(each["sh_type"] == "SHT_NOBITS" or each["sh_offset"] + each["sh_size"] <= size)
        _demand(not each["sh_flags"] & _ALLOCATED or any(_holds(segment, each) for segment in loaded))
    for each in segments:
        _demand(each["p_type"] in _SEGMENTS and each["p_offset"] + each["p_filesz"] <= size)
        _demand(each["p_type"] == "PT_GNU_STACK" or any(_contains(segment, each) for segment in loaded))
    _check_places(loaded)
    (dynamic,) = (segment for segment in segments if segment["p_type"] == "PT_DYNAMIC")
    _check_dynamic(dynamic, sections)
    _check_symbols(sections)


def _check_places(loaded: list[Any]) -> None:
    """Segments that are loaded follow each other; what may be written to may be larger in memory than in the file."""
    end = 0
    for each in loaded:
        start, align = each["p_vaddr"], each["p_align"]
        _demand(align >= 4096 and align & (align - 1) == 0 and (start - each["p_offset"]) % align == 0)
        _demand(each["p_flags"] in _RIGHTS and end <= start)
        _demand(
            each["p_filesz"] == each["p_memsz"] or (each["p_flags"] == _DATA and each["p_filesz"] < each["p_memsz"])
        )
        end = start + each["p_memsz"]
    _demand(end <= _LARGEST_IMAGE)


def _check_dynamic(dynamic: Any, sections: Mapping[str, Any]) -> None:
    """The table by which the dynamic linker finds everything else."""
    section = sections[".dynamic"]
    _demand((dynamic["p_vaddr"], dynamic["p_memsz"]) == (section["sh_addr"], section["sh_size"]))
    entries = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()}
    _demand(entries.keys() >= _REQUIRED)
    _demand(all(tags <= entries.keys() or not tags & entries.keys() for tags in _TOGETHER))
    _demand(entries.keys() <= {*_ADDRESSES, *_SIZES, *_CONSTANTS, *_OTHERS})
    for tag, value in entries.items():
        _demand(tag not in _ADDRESSES or value == sections[_ADDRESSES[tag]]["sh_addr"])
        _demand(tag not in _SIZES or value == sections[_SIZES[tag]]["sh_size"])
        _demand(value == _CONSTANTS.get(tag, value))


def _check_symbols(sections: Mapping[str, Any]) -> None:
    """Symbols lie in memory that is loaded, functions in code; what is relocated may be written to."""
    allocated = [each for each in sections.values() if each["sh_flags"] & _ALLOCATED]
    code = [each for each in allocated if each["sh_flags"] & _EXECUTABLE]
    data = [each for each in allocated if each["sh_flags"] & _WRITABLE]
    symbols = sections[".dynsym"]
    for symbol in symbols.iter_symbols():
        places = code if symbol["st_info"]["type"] == "STT_FUNC" else allocated
        _demand(symbol["st_shndx"] == "SHN_UNDEF" or _is_in(places, symbol["st_value"]))
    for name in (".rela.dyn", ".rela.plt"):
        for relocation in sections[name].iter_relocations() if name in sections else ():
            _demand(relocation["r_info_sym"] < symbols.num_symbols() and _is_in(data, relocation["r_offset"]))


def _is_in(sections: Sequence[Any], address: int) -> bool:
    return any(0 <= address - each["sh_addr"] < each["sh_size"] for each in sections)


def _holds(segment: Any, section: Any) -> bool:
    """Whether a section lies in a segment that is loaded, in the file as in memory, with the same rights."""
    before = section["sh_addr"] - segment["p_vaddr"]
    in_file = section["sh_type"] == "SHT_NOBITS" or (
        before == section["sh_offset"] - segment["p_offset"] and before + section["sh_size"] <= segment["p_filesz"]
    )
    rights = all(bool(section["sh_flags"] & s) == bool(segment["p_flags"] & p) for s, p in _ACCESS.items())
    return 0 <= before <= segment["p_memsz"] - section["sh_size"] and in_file and rights


def _contains(segment: Any, other: Any) -> bool:
    return bool(0 <= other["p_vaddr"] - segment["p_vaddr"] <= segment["p_memsz"] - other["p_memsz"])


def _demand(holds: bool) -> None:
    if not holds:
        raise ValueError("contradictory headers")
