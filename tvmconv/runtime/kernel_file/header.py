"""The C header of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmconv.runtime.kernel_file.c_text import comment
from tvmconv.target.dtype import ELEMENTS, dtype

_COMMON = Path(__file__).parents[2] / "native/tvmconv.h"


def header(kernels: Sequence[Mapping[str, Any]], names: Mapping[str, Sequence[str]] | None = None) -> str:
    """A C header that declares the functions of the described kernels, complete in itself.

    `names` has the layers that a kernel is for, by its prefix.
    """
    what = f"{len(kernels)} kernels" if len(kernels) > 1 else _title(kernels[0])
    declarations = "".join(_declarations(kernel, (names or {}).get(kernel["prefix"], ())) for kernel in kernels)
    return (
        f"/* {what}, {comment(kernels[0]['target'])}, made by tvmconv. */\n"
        + _COMMON.read_text()
        + f"""
/* x, y and w are dense arrays. pack once (bias may be NULL), then clamp if y is to have bounds; prepare the workspace,
   and again whenever anything but run of this kernel has written to its memory, such as another kernel; run many times
   (pool NULL: on one thread). describe gives JSON. Functions return TVMCONV_OK, or flags that say what is wrong, if
   they return an int; none allocates, aborts or keeps state. Memory needs the alignment of its elements alone; 64 bytes
   are fastest. */
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
    return comment(f"{kernel['workload']}, {kernel['algorithm']}")


def _declarations(kernel: Mapping[str, Any], names: Sequence[str]) -> str:
    p, layout = kernel["prefix"], kernel["layout"].upper()
    elements = dtype(kernel["dtype"])
    stored, summed = (ELEMENTS[name].in_c for name in (elements.storage, elements.accumulator))
    title = ", ".join([*map(comment, names), _title(kernel)])
    return f"""
/* {title}
   x {kernel["x_shape"]} ({layout}), y {kernel["y_shape"]} ({layout}), w {kernel["w_shape"]} (OIHW) */
const char *{p}_describe(void);
size_t {p}_packed_bytes(void);
size_t {p}_workspace_bytes(int32_t threads);
int {p}_pack(const {stored} *w, const {summed} *bias, void *packed);
int {p}_clamp({summed} lower, {summed} upper, void *packed);
int {p}_prepare(void *workspace);
int {p}_run(const {stored} *x, const void *packed, {stored} *y, void *workspace, const tvmconv_pool *pool);
"""
