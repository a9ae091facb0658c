"""A file is replaced only by a finished one."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def replace_text(path: Path, text: str) -> None:
    """Write a text beside a file and move it into place: readers see the old one or the new one, never a half.

    Raises:
        OSError: if it cannot be written; the old file is untouched and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def probe(path: Path) -> None:
    """Find out whether a file could be written, and leave nothing behind.

    Raises:
        OSError: if it could not.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    tempfile.TemporaryFile(dir=folder).close()


def replace_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys and one item a line, so that changes can be read; see :func:`replace_text`."""
    replace_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
