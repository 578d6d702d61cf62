"""x86 kernels hold instructions that exist, and the bytes that a second assembler makes of LLVM's text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tvmconv.algorithms import ALGORITHMS
from tvmconv.compiler import builder, lower
from tvmconv.compiler.builder import Request
from tvmconv.compiler.parser_cache import parsed_quickly
from tvmconv.native.toolchain import LinkError, assemble
from tvmconv.target.targets import parse
from tvmconv.workload.shape import ConvShape

V4 = parse("x86-64-v4")
# Of every algorithm, with tails and padding, and with a stride that NCHW reads in its own way. Only AVX-512 has
# registers that some instructions cannot name.
KERNELS = [
    *(
        (known.name, known.layout, "ic3ih5oc5kh1" if known.name == "gemm" else "ic3ih5oc5kh3ph1")
        for known in ALGORITHMS
    ),
    ("kn2row", "nchw", "ic3ih5iw40oc5kh1kw3sw2ph0pw1"),
    ("direct", "nhwc", "g20ic20ih5oc20kh3ph1"),
]


def functions(algorithm: str, layout: str, problem: str) -> dict[str, Any]:
    """Those of a kernel that compute, by name."""
    module = builder.scheduled_module(Request(ConvShape.parse(problem), algorithm, V4.name, layout=layout))
    named = {name.name_hint: function for name, function in module.functions_items()}
    return {name: function for name, function in named.items() if "_tir_" in name}


def code(path: Path) -> bytes:
    """The machine code of an object file."""
    elf: Any = ELFFile.load_from_path(str(path))
    with elf:
        return bytes(elf.get_section_by_name(".text").data())


def test_a_second_assembler_makes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing is lost between LLVM's text and its object. Constants, which are no code, may come in another order.

    Equal bytes need equal padding between functions: the assembler chooses it by the CPU, as LLVM does.
    """
    import tvm

    with parsed_quickly():
        kernels = [functions(*kernel) for kernel in KERNELS]
    made = lower.generate(tvm.IRModule({name: each for kernel in kernels for name, each in kernel.items()}), V4)
    text = str(made.inspect_source("asm"))
    made.write_to_file(str(tmp_path / "llvm.o"), "o")
    assemble(text, V4.triple, V4.mcpu, tmp_path / "zig.o")
    assert len(re.findall("_tir_(?:run|product):", text)) == len(kernels)
    assert "%zmm29" in text
    assert code(tmp_path / "llvm.o") == code(tmp_path / "zig.o")


@pytest.mark.parametrize(
    ("line", "exists"),
    [
        ("vmovmskps %xmm29, %ebp", False),
        ("vmovmskpd %ymm16, %eax", False),
        ("vpmovmskb %ymm31, %eax", False),
        ("vptest %xmm16, %xmm1", False),
        ("vblendvps %xmm1, %xmm2, %xmm16, %xmm3", False),
        ("vpcmpeqd %ymm16, %ymm1, %ymm2", False),
        ("vmovmskps %xmm13, %ebp", True),
        ("vpmovd2m %xmm29, %k1", True),
        ("vpcmpeqd %ymm16, %ymm1, %k2", True),
        ("vpalignr $4, %xmm16, %xmm17, %xmm18", True),
    ],
)
def test_the_assembler_refuses_what_has_no_encoding(line: str, exists: bool, tmp_path: Path) -> None:
    output = tmp_path / "code.o"
    if exists:
        assemble(f"\t{line}\n", V4.triple, V4.mcpu, output)
    else:
        with pytest.raises(LinkError, match=rf"refuses '{line.replace('$', '.')}'"):
            assemble(f"\tnop\n\t{line}\n\tnop\n", V4.triple, V4.mcpu, output)
    assert output.exists() == exists


class Generated:
    """What LLVM made of a kernel, one instruction of which does not exist; its object writer says nothing of it."""

    def inspect_source(self, _kind: str) -> str:
        return "kernel:\n\tvpmovd2m\t%xmm29, %k0\n\tvmovmskps\t%xmm29, %ebp\n\tretq\n"

    def write_to_file(self, path: str, _kind: str) -> None:
        Path(path).write_bytes(b"vmovmskps %xmm13, %ebp")


def test_an_instruction_that_does_not_exist_is_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lower, "generate", lambda module, target: Generated())
    sentence = r"^the assembler refuses 'vmovmskps %xmm29, %ebp' \(invalid operand for instruction\), a fault of"
    with pytest.raises(LinkError, match=sentence):
        builder.build_path(Request(ConvShape.parse("ic3ih5oc5kh1"), "gemm", "x86-64-v4"))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
