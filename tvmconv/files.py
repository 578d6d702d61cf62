"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file under another name and renames it, so that no half of it is ever seen. Readable by everybody.

    `mode` has its permissions, as chmod takes them.

    Raises OSError, with one sentence that names `path`.
    """
    try:
        _write_and_rename(path, content, mode)
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from error


def _write_and_rename(path: Path, content: bytes, mode: int) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.chmod(file.name, mode)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
