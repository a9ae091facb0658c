"""Decoded arrays, kept: tens of thousands of small image files take half a minute to decode, one large file a moment.

What is kept is only ever a copy: a file that does not belong to the images, or is damaged, is made anew, and where
none can be written there is none.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from flatter_lib.vision.data.images import content_hash
from flatter_lib.vision.data.layouts import Arrays, Slow, Watch


def read(layout: Slow, folder: Path, kept: Path, watch: Watch | None = None) -> Arrays:
    """A copy of a data set, from what was kept if that still belongs to it, else decoded, and then kept.

    Args:
        layout: how the copy lies in its folder.
        folder: where it lies.
        kept: the file for its decoded arrays.
        watch: see `Watch`; not called if nothing is decoded.

    Raises:
        DataError: if the copy is not intact.
    """
    # Taken before the files are read: should one change meanwhile, the next signature differs.
    signature = layout.signature(folder)
    found = _fetch(kept, signature)
    if found is None:
        found = layout.read(folder, watch)
        _keep(kept, signature, found)
    return found


def _fetch(kept: Path, signature: str) -> Arrays | None:
    try:
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if stored["signature"].item() != signature:
                return None
            arrays = Arrays(*(stored[name] for name in Arrays._fields))
            intact = stored["sha256"].item() == content_hash(*arrays)
    except Exception:  # a damaged file may raise anything; it is no more than a copy
        return None
    return arrays if intact else None


def _keep(kept: Path, signature: str, arrays: Arrays) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept.parent, prefix=".new-") as folder:
            fresh = Path(folder) / kept.name
            with fresh.open("wb") as file:
                np.savez(
                    file, signature=signature, sha256=content_hash(*arrays), **arrays._asdict()
                )
            fresh.replace(kept)
    except OSError:
        return  # the data root is read-only, or full: the next run decodes again
