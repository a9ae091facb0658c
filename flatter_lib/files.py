"""Where data lie, and how a file is replaced: only by a finished one."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder for data: the argument, else ``FLATTER_DATA``, else ``flatter`` among the user's own data.

    The last is ``$XDG_DATA_HOME/flatter`` or ``~/.local/share/flatter``. The folder need not exist.

    Examples:
        >>> data_root("scratch").name
        'scratch'
    """
    given = os.fspath(root) if root is not None else os.environ.get("FLATTER_DATA")
    if given:
        return Path(given).expanduser().absolute()
    # The XDG specification: a relative path counts as unset.
    share = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (share if share.is_absolute() else Path.home() / ".local" / "share") / "flatter"


def replace(path: Path, content: bytes, folder: Path | None = None, sync: bool = False) -> None:
    """Write a file beside its place and move it there: readers see the old one or the new one, never a half.

    Args:
        path: its place.
        content: what it shall hold.
        folder: where to write it first, on the same disk; its own folder by default.
        sync: whether to wait until it is on the disk.

    Raises:
        OSError: if it cannot be written; the old file is untouched and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".part", f".{path.name}.", folder or path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a text; see :func:`replace`."""
    replace(path, text.encode())


def replace_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys and one item a line, so that changes can be read; see :func:`replace`."""
    replace_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def probe(path: Path) -> None:
    """Find out whether a file could be written, and leave nothing behind.

    Raises:
        OSError: if it could not.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    tempfile.TemporaryFile(dir=folder).close()
