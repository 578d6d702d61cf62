"""Sets the SONAME of a shared object (DT_SONAME), by which linked programs look for it.

Without one the program asks for the path that the linker was given, which holds on this machine, or in one folder.
The linker reserves room for any file's name, so that a file may be written again under another name without it.
"""

from __future__ import annotations

import io
import os
from typing import Any

from elftools.elf.elffile import ELFFile

_ROOM = 255  # bytes, the most that the name of a file has
RESERVED = "x" * _ROOM  # what the linker is to be told, for `named` to replace


def named(library: bytes, name: str) -> bytes:
    """The shared object under the name of its file; one that was linked without room for it stays as it is."""
    elf = ELFFile(io.BytesIO(library))
    dynamic: Any = elf.get_section_by_name(".dynamic")
    for tag in dynamic.iter_tags("DT_SONAME") if dynamic else ():
        start = elf.get_section(dynamic["sh_link"])["sh_offset"] + tag["d_val"]
        end = start + _ROOM
        rest = library[library.index(b"\0", start) : end + 1]  # of the room, behind the name that is there
        if rest and not rest.strip(b"\0"):
            return library[:start] + os.fsencode(name).ljust(_ROOM, b"\0") + library[end:]
    return library
