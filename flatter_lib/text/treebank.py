"""The Stanford Sentiment Treebank with two classes, sentences only, from a copy on this machine; nothing is fetched.

It is the data of Socher et al., "Recursive deep models for semantic compositionality over a sentiment treebank" (2013),
as public copies of it have it in three files, tokenised, in lower case: 6,920 sentences for training, 872 for
development, 1,821 for testing. A line is a sentence, a tab, and 1 for a review that likes its film or 0.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatter_lib.files import data_root

#: SHA-256 of the three files of the copy that this book's records were measured on.
DIGESTS = {
    "train": "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    "dev": "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    "test": "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
}


@dataclass(frozen=True, eq=False)
class Sentences:
    """One part of a data set.

    Attributes:
        texts: the sentences, in the order of the file.
        labels: int64 class of each, (n,).
    """

    texts: tuple[str, ...]
    labels: NDArray[np.int64]


def sst2(folder: str | os.PathLike[str] | None = None) -> dict[str, Sentences]:
    """The sentences for ``train``, ``dev`` and ``test``.

    Args:
        folder: where ``train.tsv``, ``dev.tsv`` and ``test.tsv`` lie; ``sst2`` in the data root if left out.

    Raises:
        FileNotFoundError: if one of the files is not there; the message says what to put where.
        ValueError: if a file is another than it was.

    Examples:
        >>> sst2("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: sst2: no train.tsv in nowhere: put train.tsv, dev.tsv and test.tsv there, ...
    """
    home = Path(folder) if folder is not None else data_root() / "sst2"
    return {part: _part(home / f"{part}.tsv", digest) for part, digest in DIGESTS.items()}


def _part(path: Path, digest: str) -> Sentences:
    if not path.is_file():
        raise FileNotFoundError(
            f"sst2: no {path.name} in {path.parent}: put train.tsv, dev.tsv and test.tsv there, a sentence, a tab and "
            "0 or 1 in each line (https://nlp.stanford.edu/sentiment), or set FLATTER_DATA to another data root"
        )
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise ValueError(f"{path}: damaged, or another copy: its SHA-256 is {found}, not {digest}")
    rows = [line.rsplit("\t", 1) for line in content.decode().splitlines()]
    return Sentences(tuple(text for text, _ in rows), np.array([int(label) for _, label in rows]))
