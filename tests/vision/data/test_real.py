"""The real data sets: Fashion-MNIST, which `make test` has fetched if it was not there, and others where they are."""

from __future__ import annotations

import numpy as np
import pytest

from flatter_lib.vision.data import Location, available, catalogue, load, status


def check(name: str, shape: tuple[int, ...], mean: list[float], std: list[float]) -> None:
    """Numbers of images, and the constants with which everybody normalises them."""
    images = load(name)
    assert images.train_images.shape[1:] == images.test_images.shape[1:] == shape[1:]
    assert (len(images.train_images), len(images.test_images)) == (shape[0], 10_000)
    axes = (0, 1, 2)
    np.testing.assert_allclose(images.train_images.mean(axes) / 255, mean, atol=3e-4)
    lossy = "lossy" in images.source  # a JPEG is a little smoother than its original
    scatter = images.train_images.std(axes) / 255
    np.testing.assert_allclose(scatter, std, atol=2e-3 if lossy else 3e-4)
    found = status(name)
    assert isinstance(found, Location)
    assert images.source == found.label
    assert "/" not in images.source
    assert available(name)


def test_fashion_mnist_is_what_it_is_known_to_be() -> None:
    check("fashion-mnist", (60_000, 28, 28), [0.2860], [0.3530])
    images = load("fashion-mnist")
    np.testing.assert_array_equal(np.bincount(images.train_labels), np.full(10, 6_000))
    np.testing.assert_array_equal(np.bincount(images.test_labels), np.full(10, 1_000))


@pytest.mark.skipif(
    not available("mnist"), reason="this data set is not on this machine: set FLATTER_DATA"
)
def test_mnist_is_what_it_is_known_to_be() -> None:
    check("mnist", (60_000, 28, 28), [0.1307], [0.3081])
    images = load("mnist")
    assert [*images.train_labels[:10]] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.mark.skipif(
    not available("cifar10"), reason="this data set is not on this machine: set FLATTER_DATA"
)
def test_cifar10_is_what_it_is_known_to_be() -> None:
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    check("cifar10", (50_000, 32, 32, 3), mean, std)
    images = load("cifar10")
    np.testing.assert_array_equal(np.bincount(images.train_labels), np.full(10, 5_000))
    np.testing.assert_array_equal(np.bincount(images.test_labels), np.full(10, 1_000))


def test_the_catalogue_says_what_a_reader_asks() -> None:
    for dataset in catalogue():
        assert dataset.places[0].folders  # where what is fetched goes
        for text in (dataset.title, dataset.size, dataset.licence, dataset.homepage):
            assert text
        for source in dataset.sources:
            assert "MB" in source.size
        labels = [place.label for place in dataset.places]
        assert len(set(labels)) == len(labels)
        assert not any("/" in label for label in labels)
        assert dataset.sources or dataset.package
