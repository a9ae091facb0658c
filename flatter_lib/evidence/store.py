"""Where records are kept while a sweep runs, and how they become one file.

``NAME.jsonl`` is what is committed: the records of an experiment, sorted, one a line. Beside it the hidden folder
``.NAME``, which git ignores, holds each record that was measured since, in a file of its own named by its key: written
beside, synced, and moved into place, so that a kill or a full disk leaves whole records only. Whoever works on a store
holds a shared lock on it; the last to leave gathers what is in the folder into the file. A process that is killed
leaves the lock to the system, and its records to whoever comes next.

No line is lost for being unreadable: it stays in the file, after the records, until a person removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import time
from collections.abc import Iterator
from pathlib import Path

from flatter_lib import files
from flatter_lib.evidence.record import Record, decode, encode, order
from flatter_lib.evidence.records import Lines, read

#: Seconds between two records that are waited for until they are on the disk.
SYNC = 0.1


class Store:
    """The records of one experiment in a folder.

    Args:
        folder: where ``NAME.jsonl`` stands or shall stand.
        name: the experiment's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.loose = folder / f".{name}"
        self._synced = -math.inf

    def read(self) -> Lines:
        """All records, gathered or not, failed ones too, and what is wrong with the rest.

        Raises:
            OSError: if they cannot be read.
        """
        # The folder first: what is gathered in between is in the file by then.
        loose = Lines({}, {})
        for path in sorted(self.loose.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):
                read(path, loose)
        lines = Lines({}, {})
        if self.path.exists():
            read(self.path, lines)
        for key, record in loose.records.items():
            # What was measured since counts, unless it failed where an earlier run did not.
            if record.ok or key not in lines.records or not lines.records[key].ok:
                lines.records[key] = record
        return Lines(lines.records, lines.unread | loose.unread)

    @contextlib.contextmanager
    def working(self) -> Iterator[bool]:
        """Work on the store, together with others; says whether nobody else is at work, and gathers at the end.

        Raises:
            OSError: if the folder cannot be made or written.
        """
        self.loose.mkdir(parents=True, exist_ok=True)
        ignored = self.loose / ".gitignore"
        if not ignored.exists():
            self._replace(ignored, b"*\n")
        with (self.loose / "lock").open("a") as lock:
            alone = _exclusive(lock.fileno())
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield alone
            finally:
                # Two who leave at once must not wait for each other: each lets go, and then one of them gets it.
                fcntl.flock(lock, fcntl.LOCK_UN)
                if _exclusive(lock.fileno()):
                    self._gather()

    def put(self, record: Record) -> None:
        """Keep a record.

        It is safe from a kill of any process. It is safe from a power cut if it is the first in a tenth of a second:
        waiting for the disk after each of many tiny runs would take longer than they do.

        Raises:
            OSError: if it cannot be written; nothing of it is left then.
        """
        sync = time.monotonic() - self._synced > SYNC
        self._replace(self.loose / f"{record.key}.json", f"{encode(record)}\n".encode(), sync)
        if sync:
            self._synced = time.monotonic()

    def get(self, key: str) -> Record | None:
        """The record that somebody at work has put, if it is whole."""
        try:
            record = decode((self.loose / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if record.key == key else None

    def _gather(self) -> None:
        """Make one file of all lines, and remove what a killed process left."""
        lines = self.read()
        whole = (encode(record).encode() for record in sorted(lines.records.values(), key=order))
        content = b"".join(line + b"\n" for line in (*whole, *lines.unread))
        before = self.path.read_bytes() if self.path.exists() else b""
        if content != before.replace(b"\r\n", b"\n"):
            self._replace(self.path, content)
        for path in self.loose.iterdir():
            if path.suffix in (".json", ".part"):
                path.unlink()

    def _replace(self, path: Path, content: bytes, sync: bool = True) -> None:
        # Beside it, in the folder that git ignores, and from which a killed process's leavings are removed.
        files.replace(path, content, self.loose, sync)


def _exclusive(handle: int) -> bool:
    """Take the lock for oneself, if nobody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
