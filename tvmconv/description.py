"""What a kernel file says of itself, for Python and for C."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
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


def header(kernels: Sequence[Mapping[str, Any]], names: Mapping[str, Sequence[str]] | None = None) -> str:
    """A C header that declares the functions of the described kernels, complete in itself.

    `names` has the layers that a kernel is for, by its prefix.
    """
    what = f"{len(kernels)} kernels" if len(kernels) > 1 else _title(kernels[0])
    declarations = "".join(_declarations(kernel, (names or {}).get(kernel["prefix"], ())) for kernel in kernels)
    return (
        f"/* {what}, {kernels[0]['target']}, made by tvmconv. */\n"
        + _HEADER.read_text()
        + f"""
/* x, y and w are dense arrays. pack once (bias may be NULL), then clamp if y is to have bounds; prepare once for each
   workspace; run many times (pool NULL: on one thread). describe gives JSON. Functions return TVMCONV_OK, or flags
   that say what is wrong, if they return an int; none allocates, aborts or keeps state. Memory needs the alignment
   of its elements alone; 64 bytes are fastest. */
#ifdef __cplusplus
extern "C" {{
#endif
{declarations}
#ifdef __cplusplus
}}
#endif
"""
    )


def _title(kernel: Mapping[str, Any]) -> str:
    return f"{kernel['workload']}, {kernel['algorithm']}"


def _declarations(kernel: Mapping[str, Any], names: Sequence[str]) -> str:
    p, layout = kernel["prefix"], kernel["layout"].upper()
    # A layer's name comes from anywhere, and must neither end the comment nor begin another.
    title = ", ".join([*names, _title(kernel)]).replace("*/", "* /").replace("/*", "/ *")
    return f"""
/* {title}
   x {kernel["x_shape"]} ({layout}), y {kernel["y_shape"]} ({layout}), w {kernel["w_shape"]} (OIHW) */
const char *{p}_describe(void);
size_t {p}_packed_bytes(void);
size_t {p}_workspace_bytes(int32_t threads);
int {p}_pack(const float *w, const float *bias, void *packed);
int {p}_clamp(float lower, float upper, void *packed);
int {p}_prepare(void *workspace);
int {p}_run(const float *x, const void *packed, float *y, void *workspace, const tvmconv_pool *pool);
"""
