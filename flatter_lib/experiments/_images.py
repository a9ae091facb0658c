"""The images that networks are trained on and judged by."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatter_lib.vision.inputs import Inputs


def images_of(configuration: Any, *, flat: bool = False) -> tuple[Inputs, dict[str, str]]:
    """Standardised images as a configuration has them, and the name, source and digest of their data set.

    Args:
        configuration: with the fields ``dataset``, ``images``, ``test_images``, ``pool``, ``device`` and ``dtype``.
        flat: whether an image is a vector.
    """
    c = configuration
    return _images(c.dataset, c.images, c.test_images, c.pool, c.device, c.dtype, flat)


@lru_cache(maxsize=2)
def _images(
    dataset: str, images: int, test_images: int, pool: int, device: str, dtype: str, flat: bool
) -> tuple[Inputs, dict[str, str]]:
    import torch

    from flatter_lib.vision.data import load
    from flatter_lib.vision.inputs import standardized

    found = load(dataset)
    inputs = standardized(
        found,
        train=images,
        test=test_images,
        pool=pool,
        flat=flat,
        device=device,
        dtype=getattr(torch, dtype),
    )
    return inputs, {"name": found.name, "source": found.source, "digest": found.digest}
