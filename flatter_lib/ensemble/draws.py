r"""The random numbers of a run, which its seed determines and nothing else.

A seed has two streams: one of noise, one of the samples that minibatches take. Each is read in order, step after step,
so that neither the number of steps drawn at a time, nor the chunk that a run travels in, nor the device changes a run.
Runs of different settings with the same seed see the *same* numbers (common random numbers): their differences
have less scatter than with numbers of their own, and an interval that treats settings as independent is, as a rule, too
wide for what falls or rises with the setting. Numbers are drawn in float64, whatever the runs' dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flatter_lib import checks

NOISES = ("label", "minibatch", "gaussian")


def noise_stream(seed: int) -> np.random.Generator:
    """The stream of a seed's noise.

    Each step takes standard normal numbers: B m with ``noise="label"``, the m of a sample side by side, P with
    ``"gaussian"``; B is n without minibatches.

    Args:
        seed: not negative.

    Returns:
        A generator at the start of the stream.

    Examples:
        >>> first, then = noise_stream(3).standard_normal(2)
        >>> bool(first == noise_stream(3).standard_normal())
        True
    """
    return _stream(seed, 0)


def row_stream(seed: int) -> np.random.Generator:
    """The stream of a seed's minibatches: each step takes ``integers(n, size=B)``, samples with replacement.

    Args:
        seed: not negative.

    Returns:
        A generator at the start of the stream.
    """
    return _stream(seed, 1)


class Block(NamedTuple):
    """Random numbers of some steps of some seeds.

    Attributes:
        noise: (steps, seeds, size) or None where nothing is drawn.
        rows: (steps, seeds, B) sample numbers or None where every step sees all samples.
    """

    noise: Tensor | None
    rows: Tensor | None


class Draws:
    """The streams of some seeds, read block by block.

    Args:
        seeds: whose streams.
        size: numbers of noise a step; 0 for none.
        batch: samples of a minibatch; None without minibatches.
        samples: n.
        dtype: of the noise that `block` returns.
        device: where to.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        size: int,
        batch: int | None,
        samples: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._noise = [noise_stream(seed) for seed in seeds] if size else []
        self._rows = [row_stream(seed) for seed in seeds] if batch else []
        self._size, self._batch, self._samples = size, batch, samples
        self._dtype, self._device = dtype, device

    def block(self, steps: int) -> Block:
        """The numbers of the next steps."""
        noise = rows = None
        if self._noise:
            drawn = np.empty((len(self._noise), steps, self._size))
            for stream, out in zip(self._noise, drawn, strict=True):
                stream.standard_normal(out=out)
            noise = torch.from_numpy(drawn.swapaxes(0, 1).copy()).to(self._device, self._dtype)
        if self._batch:
            size = (steps, self._batch)
            chosen = np.stack([stream.integers(self._samples, size=size) for stream in self._rows])
            rows = torch.from_numpy(chosen.swapaxes(0, 1).copy()).to(self._device)
        return Block(noise, rows)


def _stream(seed: int, part: int) -> np.random.Generator:
    entropy = np.random.SeedSequence(checks.count("seed", seed, 0), spawn_key=(part,))
    return np.random.Generator(np.random.SFC64(entropy))
