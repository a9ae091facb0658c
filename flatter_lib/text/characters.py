"""Text as numbers, one a character, and how well its characters are foretold without a network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.files import data_root

HOMEPAGE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
#: SHA-256 of that file, 1,115,394 bytes; unrelated public projects state the same.
DIGEST = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


class Characters(NamedTuple):
    """A text.

    Attributes:
        tokens: int64 number of each character, (n,).
        symbols: how many different ones there are.
        digest: the first 16 hexadecimal digits of the SHA-256 of what it was read from.
    """

    tokens: NDArray[np.int64]
    symbols: int
    digest: str


def shakespeare(folder: str | os.PathLike[str] | None = None) -> Characters:
    """The text known as Tiny Shakespeare, from a copy on this machine; nothing is fetched.

    Characters are numbered in the order of their code points.

    Args:
        folder: where ``input.txt`` lies; ``tinyshakespeare`` in the data root if left out.

    Raises:
        FileNotFoundError: if it is not there; the message says where to get it.
        ValueError: if it is another file.

    Examples:
        >>> shakespeare("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: tinyshakespeare: no input.txt in nowhere: put https://raw... there, ...
    """
    home = Path(folder) if folder is not None else data_root() / "tinyshakespeare"
    if not (path := home / "input.txt").is_file():
        raise FileNotFoundError(
            f"tinyshakespeare: no input.txt in {home}: put {HOMEPAGE} there, or set FLATTER_DATA to another data root"
        )
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != DIGEST:
        raise ValueError(f"{path}: damaged, or another text: its SHA-256 is {found}, not {DIGEST}")
    points = np.frombuffer(content.decode().encode("utf-32-le"), dtype=np.uint32)
    symbols, tokens = np.unique(points, return_inverse=True)
    return Characters(tokens.astype(np.int64), len(symbols), found[:16])


def chain(length: int, symbols: int, generator: np.random.Generator) -> Characters:
    r"""A text made by a Markov chain, each row of whose transition matrix is drawn from a Dirichlet law, all 0.3.

    Args:
        length: characters, at least 1.
        symbols: how many different ones there may be.
        generator: source of the chain and of the text.

    Raises:
        ValueError: if a number is no integer from 1.

    Examples:
        >>> chain(12, 3, np.random.default_rng(0)).tokens
        array([0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 2])
    """
    checks.count("length", length)
    checks.count("symbols", symbols)
    steps = generator.dirichlet([0.3] * symbols, size=symbols).cumsum(-1)
    steps[:, -1] = 1.0
    tokens = np.zeros(length, dtype=np.int64)
    for k, u in enumerate(generator.random(length - 1)):
        tokens[k + 1] = np.searchsorted(steps[tokens[k]], u, side="right")
    return Characters(tokens, symbols, hashlib.sha256(tokens.tobytes()).hexdigest()[:16])


def counted_loss(train: NDArray[np.int64], test: NDArray[np.int64], symbols: int) -> list[float]:
    r"""Cross-entropy of a test text under frequencies of a training text, without and with the character before.

    One is added to each count, so with :math:`n_{ab}` pairs the second is the mean of
    :math:`-\ln\big((n_{ab} + 1)/(\sum_c n_{ac} + \text{symbols})\big)`. Both are over the test text but for its first
    character, in nats.

    Examples:
        >>> [round(x, 3) for x in counted_loss(np.array([0, 1] * 50), np.array([0, 1, 0, 1]), 2)]
        [0.693, 0.02]
    """
    pairs = np.ones((symbols, symbols))
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    single = np.bincount(train, minlength=symbols) + 1.0
    rows = pairs / pairs.sum(1, keepdims=True)
    return [
        float(-np.log((single / single.sum())[test[1:]]).mean()),
        float(-np.log(rows[test[:-1], test[1:]]).mean()),
    ]
