"""The real data sets: Fashion-MNIST, which `make test` has fetched if it was not there, and others where they are."""

from __future__ import annotations

import numpy as np
import pytest

from flatter_lib.vision.data import DataError, catalogue, load


@pytest.mark.parametrize(
    ("name", "shape", "mean", "std", "digest"),
    [
        ("fashion-mnist", (60_000, 28, 28), [0.2860], [0.3530], "eee656c63c1c7a3b"),
        ("mnist", (60_000, 28, 28), [0.1307], [0.3081], "25c98f992c005963"),
        ("cifar10", (50_000, 32, 32, 3), [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616], None),
    ],
)
def test_they_are_what_they_are_known_to_be(
    name: str, shape: tuple[int, ...], mean: list[float], std: list[float], digest: str | None
) -> None:
    """Numbers of images, the constants with which everybody normalises them, and what records name them by."""
    try:
        images = load(name)
    except DataError as error:
        if name == "fashion-mnist" or "is missing" not in str(error):
            raise
        pytest.skip("this data set is not on this machine: set FLATTER_DATA")
    assert images.train_images.shape == shape
    assert images.test_images.shape == (10_000, *shape[1:])
    axes = (0, 1, 2)
    np.testing.assert_allclose(images.train_images.mean(axes) / 255, mean, atol=3e-4)
    lossy = "lossy" in images.source  # a JPEG is a little smoother than its original
    scatter = images.train_images.std(axes) / 255
    np.testing.assert_allclose(scatter, std, atol=2e-3 if lossy else 3e-4)
    if name == "mnist":
        assert [*images.train_labels[:10]] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    else:
        np.testing.assert_array_equal(np.bincount(images.train_labels), np.full(10, shape[0] // 10))
        np.testing.assert_array_equal(np.bincount(images.test_labels), np.full(10, 1_000))
    assert digest in (None, images.digest)


def test_the_catalogue_says_what_a_reader_asks() -> None:
    for dataset in catalogue():
        for text in (dataset.title, dataset.size, dataset.licence, dataset.homepage):
            assert text
        for source in dataset.sources:
            assert "MB" in source.size
        labels = [place.label for place in dataset.places]
        assert len(set(labels)) == len(labels)
        assert not any("/" in label for label in labels)
        assert dataset.sources or dataset.package
