"""What a kernel file says of itself, for Python and for C."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

SCHEMA = 1  # of the description in a kernel's section
SECTION = ".tvmconv"
_HEADER = Path(__file__).with_name("native") / "tvmconv.h"


def descriptions(path: Path) -> dict[str, dict[str, Any]]:
    """What a kernel file says of its kernels, by prefix. Raises as tvmconv.load does."""
    content = path.read_bytes()
    try:
        section = ELFFile(io.BytesIO(content)).get_section_by_name(SECTION)
        texts = section.data().split(b"\0") if section else []
        found = [json.loads(text) for text in texts if text]
        if not found:
            raise ValueError(f"{path} was not made by tvmconv: it has no section {SECTION}")
        newer = [kernel["schema"] for kernel in found if kernel["schema"] != SCHEMA]
        if newer:
            raise ValueError(f"{path} has a description of schema {newer[0]}; this tvmconv reads schema {SCHEMA}")
        return {kernel["prefix"]: kernel for kernel in found}
    except (ELFError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a kernel file, or a truncated one; build it again") from error


def header(description: Mapping[str, Any]) -> str:
    """A C header that declares the functions of a described kernel, complete in itself."""
    p = description["prefix"]
    return (
        f"/* {description['workload']}, {description['algorithm']}, {description['target']}, made by tvmconv. */\n"
        + _HEADER.read_text()
        + f"""
/* x is float{description["x_shape"]} ({description["layout"].upper()}), y float{description["y_shape"]},
   w float{description["w_shape"]} (OIHW). Each function returns TVMCONV_OK or
   flags that say what is wrong; none allocates, aborts or keeps state. Memory needs the alignment of its elements
   alone; 64 bytes are fastest. */
#ifdef __cplusplus
extern "C" {{
#endif
const char *{p}_describe(void);             /* JSON */
size_t {p}_packed_bytes(void);
size_t {p}_workspace_bytes(int32_t threads);
int {p}_pack(const float *w, const float *bias, void *packed);       /* once; bias may be NULL */
int {p}_clamp(float lower, float upper, void *packed);               /* after pack; without it nothing is clamped */
int {p}_prepare(void *workspace);                                    /* once for each workspace */
int {p}_run(const float *x, const void *packed, float *y, void *workspace, const tvmconv_pool *pool);
#ifdef __cplusplus
}}
#endif
"""
    )
