"""scikit-learn's digits, and what is said where scikit-learn is missing or brings others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.vision.data import Location, digits, get, load, status


def test_they_are_scikit_learns_in_its_order(root: Path) -> None:
    from sklearn.datasets import load_digits

    images = load("digits", root)
    theirs = load_digits()
    pixels = np.concatenate([images.train_images, images.test_images])
    labels = np.concatenate([images.train_labels, images.test_labels])
    assert images.train_images.shape == (1_437, 8, 8)
    assert images.test_images.shape == (360, 8, 8)
    np.testing.assert_array_equal(labels, theirs.target)
    np.testing.assert_array_equal(pixels, np.rint(theirs.images / 16 * 255))
    assert (pixels.min(), pixels.max()) == (0, 255)
    found = get("digits", root, report=pytest.fail)
    assert found == status("digits", root)
    assert isinstance(found, Location)
    assert (images.source, found.label) == ("scikit-learn's load_digits",) * 2
    assert Path(sys.modules["sklearn"].__file__).parent == found.folder
    assert not root.exists()


def test_without_scikit_learn_the_extra_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = (
        "Digits is missing: the package that brings it is not installed; "
        "install scikit-learn, which `pip install 'flatter-lib[book]'` installs"
    )
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    assert str(status("digits", root)) == says


def test_a_scikit_learn_that_does_not_import(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    error = str(status("digits", root))
    assert error.startswith("Digits is damaged: scikit-learn does not load them: import of sklearn")


def test_other_digits_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "TRAIN", 1_436)
    error = str(status("digits", root))
    assert error.startswith("Digits is damaged: scikit-learn brings others: their SHA-256 is ")
    assert "\n" not in error
