"""The real data set, which `make test` has fetched if it was not there."""

import numpy as np

from flatter_lib.vision.data import Location, catalogue, load, status


def test_the_real_data_set_is_what_it_is_known_to_be() -> None:
    images = load("fashion-mnist")
    assert images.train_images.shape == (60_000, 28, 28)
    assert images.test_images.shape == (10_000, 28, 28)
    np.testing.assert_array_equal(np.bincount(images.train_labels), np.full(10, 6_000))
    np.testing.assert_array_equal(np.bincount(images.test_labels), np.full(10, 1_000))
    # The constants with which everybody normalises it.
    np.testing.assert_allclose(images.train_images.mean() / 255, 0.2860, atol=5e-5)
    np.testing.assert_allclose(images.train_images.std() / 255, 0.3530, atol=5e-5)
    found = status("fashion-mnist")
    assert isinstance(found, Location)
    assert images.source == found.label
    assert "/" not in images.source


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
