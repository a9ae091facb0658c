r"""Label noise: what a target becomes each time it is shown to the network.

Theory speaks of noise of mean zero, with the same variance :math:`\sigma^2` on every output: additive noise. Practice
flips labels. A flip has another covariance, and its mean is not the clean label: the targets shrink towards 1/K, and
with them the outputs that fit best. *Centred* flips are scaled so that their mean is the clean label again; then a
point that interpolates the clean labels remains a minimum of the expected loss, as under additive noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from flatter_lib import checks
from flatter_lib.vision.checks import seeded

KINDS = ("additive", "flip")


@dataclass(frozen=True)
class LabelNoise:
    r"""Noise that is drawn anew whenever a target is used.

    Attributes:
        kind: ``additive``: :math:`y + \sigma \xi` with standard normal :math:`\xi` on every output. ``flip``: with
            probability p the label is another one of the K classes, each as likely.
        strength: :math:`\sigma \ge 0`, or :math:`0 \le p < 1 - 1/K`.
        centred: of flips: whether they are scaled to have the clean target as their mean,
            :math:`\tilde y = (y_{\text{flipped}} - p/(K-1)) / (1 - pK/(K-1))`. Additive noise is centred anyway.

    Raises:
        ValueError: if there is no such kind or the strength is out of its range.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> LabelNoise("flip", 0.5, centred=False)(torch.eye(3), generator).argmax(-1)
        tensor([1, 1, 1])
        >>> round(LabelNoise("flip", 0.2, centred=False).variance(10), 4)
        0.0356
    """

    kind: Literal["additive", "flip"]
    strength: float
    centred: bool = True

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        interval = "[0, 1)" if self.kind == "flip" else "[0, inf)"
        checks.number("strength", self.strength, interval)

    def __call__(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy targets.

        Args:
            targets: clean ones, (B, K); one-hot for flips.
            generator: on the CPU, so that every device sees the same noise.

        Returns:
            Of the targets' shape, dtype and device.

        Raises:
            ValueError: if there is no generator, the targets are no table, or centred flips are as likely as chance,
                so that no scale makes up for them.
        """
        if not self.strength:
            return targets
        seeded("generator", generator)
        if targets.ndim != 2:
            raise ValueError(f"targets: must have shape (B, K), got {tuple(targets.shape)}")
        count, outputs = targets.shape
        if self.kind == "additive":
            noise = torch.randn(targets.shape, generator=generator, dtype=targets.dtype)
            return targets + self.strength * noise.to(targets.device)
        scale = self._scale(outputs)
        flipped = torch.rand(count, generator=generator) < self.strength
        shift = torch.randint(1, outputs, (count,), generator=generator) * flipped
        labels = (targets.argmax(-1) + shift.to(targets.device)) % outputs
        noisy = one_hot(labels, outputs).to(targets.dtype)
        return (noisy - self.strength / (outputs - 1)) / scale if self.centred else noisy

    def suits(self, targets: Tensor) -> None:
        """See that these targets can be made noisy, before any is.

        Args:
            targets: all clean ones, (n, K).

        Raises:
            ValueError: if they are to be flipped and are not one-hot, or flips are too likely for so few classes.
        """
        if self.kind == "flip" and self.strength:
            self._scale(targets.shape[-1])
            hot = one_hot(targets.argmax(-1), targets.shape[-1])
            if not torch.equal(hot.to(targets), targets):
                raise ValueError("targets: must be one-hot for flips, of one class in each row")

    def variance(self, outputs: int) -> float:
        r"""Variance of the noise, averaged over the K outputs of a one-hot target.

        It is :math:`\sigma^2`, and of flips :math:`(1 - (1-p)^2 - p^2/(K-1))/K`, by the square of the scale if centred.

        Args:
            outputs: K.
        """
        if self.kind == "additive":
            return self.strength**2
        p, scale = self.strength, self._scale(outputs)
        raw = (1 - (1 - p) ** 2 - p**2 / (outputs - 1)) / outputs
        return raw / scale**2 if self.centred else raw

    def _scale(self, outputs: int) -> float:
        checks.count("outputs", outputs, 2)
        scale = 1 - self.strength * outputs / (outputs - 1)
        if self.centred and scale <= 0:
            raise ValueError(
                f"strength: centred flips of {outputs} classes must be below {1 - 1 / outputs:.3g}, got {self.strength}"
            )
        return scale
