"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under another name and renames it, so that no half of it is ever seen. Readable by everybody.

    Raises OSError, with one sentence that names `path`.
    """
    try:
        _write_and_rename(path, content)
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from error


def _write_and_rename(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
