"""Characters as numbers: what is there, what is damaged, and counting against a loop."""

import hashlib
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.text.characters import chain, counted_loss, shakespeare
from flatter_lib.text.treebank import data_root
from tests.refusals import refuses


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no input\.txt in .* FLATTER_DATA"):
        shakespeare(tmp_path)
    (tmp_path / "input.txt").write_text("To be\n")
    with pytest.raises(ValueError, match=r"input\.txt: damaged, or another text"):
        shakespeare(tmp_path)


def test_characters_are_numbered_by_code_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "bab\u00e9\nb".encode()
    monkeypatch.setattr("flatter_lib.text.characters.DIGEST", hashlib.sha256(content).hexdigest())
    (tmp_path / "input.txt").write_bytes(content)
    text = shakespeare(tmp_path)
    assert text.tokens.tolist() == [2, 1, 2, 3, 0, 2]
    assert text.symbols == 4


def test_the_real_text() -> None:
    if not (data_root() / "tinyshakespeare").is_dir():
        pytest.skip("tinyshakespeare is not on this machine")
    text = shakespeare()
    assert (len(text.tokens), text.symbols, text.digest) == (1_115_394, 65, "86c4e6aa9db7c042")


def test_counting_is_what_a_loop_counts_and_finds_the_entropy_of_a_chain() -> None:
    text = chain(40_000, 4, np.random.default_rng(3))
    train, test = text.tokens[:30_000].tolist(), text.tokens[30_000:].tolist()
    single, pairs = [1] * 4, [[1] * 4 for _ in range(4)]
    for k, b in enumerate(train):
        single[b] += 1
        if k:
            pairs[train[k - 1]][b] += 1
    alone = [-log(single[b] / sum(single)) for b in test[1:]]
    after = [-log(pairs[a][b] / sum(pairs[a])) for a, b in pairwise(test)]
    found = counted_loss(text.tokens[:30_000], text.tokens[30_000:], 4)
    assert found == pytest.approx([np.mean(alone), np.mean(after)], rel=1e-12)
    # The entropy rate from the chain's own matrix, which the generator draws first.
    matrix = np.random.default_rng(3).dirichlet([0.3] * 4, size=4)
    values, vectors = np.linalg.eig(matrix.T)
    often = np.real(vectors[:, np.argmin(abs(values - 1))])
    rate = -(often / often.sum()) @ (matrix * np.log(np.maximum(matrix, 1e-300))).sum(1)
    assert found[1] == pytest.approx(rate, abs=0.03)
    assert found[0] > found[1] + 0.02


def test_what_means_nothing_is_refused() -> None:
    refuses(chain, {"length": 5, "symbols": 2, "generator": None}, length=0, symbols=1.5)
