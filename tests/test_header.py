"""Text from anywhere in generated C: a layer's name is part of a comment, or of a string, whatever is in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tvmconv.native import toolchain
from tvmconv.runtime.kernel_file import c_text
from tvmconv.runtime.kernel_file.header import header
from tvmconv.workload.shape import ConvShape

SHAPE = ConvShape.parse("ic3ih5oc4kh3ph1")
KERNEL = {
    "prefix": f"{SHAPE}_direct",
    "workload": str(SHAPE),
    "algorithm": "direct",
    "layout": "nhwc",
    "dtype": "float32",
    "x_shape": SHAPE.x_shape,
    "y_shape": SHAPE.y_shape,
    "w_shape": SHAPE.w_shape,
    "target": "x86-64-v3",
}
INJECTED = "int injected(void) { return 1; }"
NAMES = [
    f"x\n*/ {INJECTED} /*",
    f"x*\\\n/ {INJECTED} /*",
    f"x*??/\n/ {INJECTED} /*",
    "**//**//*/*/",
    "/*/ */* /",
    "??/",
    "???/???/",
    "ends in a backslash\\",
    "ends in one, as a trigraph??/",
    'quotes " and \\" and %s %n',
    "tab\tbell\x07escape\x1b[31mreturn\rzero\0form\x0c",
    "層一 é ± 😀",
    "\u202e\u2066 reversed \u2069",
    "a lone surrogate \udc80",
    "\u2028line\u2029paragraph\x85next",
    "long" * 5000,
    "",
]
LEVELS = ("-Wall", "-Wextra", "-Wcomment", "-Werror")


@pytest.mark.parametrize("dialect", ["-std=c99", "-std=c11", "-std=gnu11"])
def test_a_header_with_hostile_names(tmp_path: Path, dialect: str) -> None:
    """It compiles, with trigraphs too, and defines nothing."""
    text = header([KERNEL], {KERNEL["prefix"]: NAMES})  # type: ignore[dict-item]
    ours = [line for line in text.split("\n") if INJECTED in line]
    assert len(ours) == 1 and ours[0].isascii() and ours[0].isprintable()
    (tmp_path / "layer.h").write_text(text)
    (tmp_path / "use.c").write_text('#include "layer.h"\nint injected(void);\nint injected(void) { return 0; }\n')
    toolchain.zig("-c", dialect, "-trigraphs", *LEVELS, tmp_path / "use.c", "-o", tmp_path / "use.o")


@pytest.mark.parametrize("name", NAMES)
def test_a_comment_is_one_line_that_ends_where_it_should(name: str) -> None:
    text = c_text.comment(name)
    assert text.isascii() and text.isprintable() and len(text) < 2500
    assert not any(mark in text for mark in ("*/", "/*", "??")) and not text.endswith("\\")


def test_names_for_people_stay_as_they_are() -> None:
    for name in ("layer1.0.conv1", "Conv_12/BiasAdd:0", "a\\b", "why?"):
        assert c_text.comment(name) == name


def test_strings_are_what_can_be_printed_of_them(tmp_path: Path) -> None:
    """By a program, with trigraphs."""
    literals = ", ".join(map(c_text.string, NAMES))
    (tmp_path / "print.c").write_text(
        f"#include <stdio.h>\nstatic const char *const names[] = {{{literals}}};\n"
        "int main(void) { for (unsigned i = 0; i < sizeof names / sizeof *names; i++) puts(names[i]); return 0; }\n"
    )
    toolchain.zig("-std=c11", "-trigraphs", *LEVELS, tmp_path / "print.c", "-o", tmp_path / "print")
    done = subprocess.run([tmp_path / "print"], capture_output=True, check=True, timeout=60)
    expected = ["".join(letter if letter.isprintable() else " " for letter in name) for name in NAMES]
    assert done.stdout.decode().splitlines() == expected
