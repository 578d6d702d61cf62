"""Recognises files that are no ONNX models, by their first bytes."""

from __future__ import annotations

_TEXT = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer; `git lfs pull` fetches the model itself"),
    (b"<!doctype html", "an HTML page, such as a download page"),
    (b"<html", "an HTML page, such as a download page"),
    (b"<?xml", "XML, such as OpenVINO's model files"),
    (b"7767517", "ncnn's parameter file"),
    (b"{", "JSON"),
)

_BINARY = (  # offset, bytes, kind
    (0, b"PK\x03\x04", "a zip archive, such as PyTorch's files"),
    (0, b"\x80\x02", "a Python pickle, such as PyTorch's older files"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in ONNX Runtime's own format; it is made from a .onnx file"),
    (0, b"\x89HDF\r\n", "an HDF5 file, such as Keras writes"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (8, b'{"', "a safetensors file, which holds weights alone"),
    (0, b"\x7fELF", "an ELF program or library"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
)


def kind(content: bytes) -> str | None:
    """The kind of `content`, or None if unknown."""
    text = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    binary = next((what for offset, magic, what in _BINARY if content.startswith(magic, offset)), None)
    return binary or next((what for start, what in _TEXT if text.startswith(start)), None)
