r"""Small networks whose weights are all scale-invariant: two layers with batch normalisation, a readout that is held.

.. math:: f(x) = 4\, \Omega\, \phi(N(W_2\, \phi(N(W_1 x)))),

where N centres every unit over the batch and divides it by its standard deviation, :math:`\phi` is the ReLU, and
:math:`\Omega` has ten orthonormal rows that are drawn once. The loss is the cross-entropy. No output changes when a row
of :math:`W_1` or :math:`W_2`, a *filter*, is multiplied by a positive number.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

from flatter_lib import checks
from flatter_lib.vision.inputs import CLASSES

#: Added to a variance: so small that a filter's loss is scale-invariant but for rounding.
TINY = 1e-12


class ScaleFreeNetworks:
    r"""Settings x starts of these networks as one program, trained as ``torch.optim.SGD`` does with its weight decay.

    Start j of every setting has the same weights and readout and sees the same minibatches.

    Attributes:
        weights: :math:`W_1` and :math:`W_2`, (settings, starts, width, inputs) and (settings, starts, width, width).

    Args:
        x: training inputs, (n, inputs), float.
        labels: their classes, (n,).
        settings: how many.
        starts: how many.
        width: units of each layer, at least 10.

    Raises:
        ValueError: for an argument out of its range.

    Examples:
        >>> x, labels = torch.eye(12, dtype=torch.float64), torch.arange(12) % 10
        >>> networks = ScaleFreeNetworks(x, labels, settings=1, starts=2, width=10)
        >>> networks.run(3, batch=8, lr=0.1, decay=0.1).shape, networks.judge()[0].shape
        (torch.Size([1, 2, 2]), torch.Size([1, 2]))
    """

    def __init__(
        self,
        x: Tensor,
        labels: Tensor,
        *,
        settings: int,
        starts: int,
        width: int = 32,
    ) -> None:
        self._x, self._labels = x, labels
        self._draws = torch.Generator().manual_seed(0)
        sizes = checks.count("settings", settings), checks.count("starts", starts)
        self.weights = []
        for inputs in (x.shape[1], checks.count("width", width, CLASSES)):
            drawn = torch.randn(starts, width, inputs, dtype=x.dtype, generator=self._draws)
            self.weights.append((drawn / inputs**0.5).expand(*sizes, width, inputs))
        self._velocity = [torch.zeros_like(w) for w in self.weights]
        frame = torch.randn(starts, width, CLASSES, dtype=x.dtype, generator=self._draws)
        self._readout = 4 * torch.linalg.qr(frame)[0]

    def run(
        self,
        steps: int,
        *,
        batch: int | None,
        lr: ArrayLike,
        decay: ArrayLike,
        momentum: ArrayLike = 0.0,
    ) -> Tensor:
        """Take steps.

        Args:
            steps: how many.
            batch: images of a step, drawn with replacement; None for all of them.
            lr: a number, or one for each setting; so are the next two.
            decay: of the weights.
            momentum: in [0, 1).

        Returns:
            One minus the cosine between a filter before and after a step, half the squared angle: the mean over steps
            and filters of a layer, (settings, starts, layers).
        """
        arrays = (
            checks.numbers("lr", lr, "(0, inf)"),
            checks.numbers("decay", decay, "[0, inf)"),
            checks.numbers("momentum", momentum, "[0, 1)"),
        )
        rate, shrink, memory = (
            torch.tensor(a, dtype=self._x.dtype).view(-1, 1, 1, 1) for a in arrays
        )
        total = self._x.new_zeros(*self.weights[0].shape[:2], 2)
        for _ in range(checks.count("steps", steps)):
            x, labels = self._batch(batch)
            leaves = [w.requires_grad_() for w in self.weights]
            gradients = torch.autograd.grad(self._losses(leaves, x, labels)[0].sum(), leaves)
            for i, (w, g) in enumerate(zip(leaves, gradients, strict=True)):
                old = w.detach()
                self._velocity[i] = memory * self._velocity[i] + g + shrink * old
                self.weights[i] = old - rate * self._velocity[i]
                total[..., i] += 1 - torch.cosine_similarity(old, self.weights[i], dim=-1).mean(-1)
        return total / steps

    def judge(self, x: Tensor | None = None, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean loss and share of right answers, (settings, starts) each, with statistics of all training images.

        Args:
            x: other inputs than the training inputs.
            labels: their classes.
        """
        with torch.no_grad():
            every, right = self._batch(None)
            if x is not None and labels is not None:
                every, right = torch.cat([every[0], x])[None], torch.cat([right[0], labels])[None]
            return self._losses(self.weights, every, right)

    def sharpness(self, *, products: int) -> Tensor:
        """The Hessian's eigenvalue that is largest in size, (settings, starts), by so many steps of power iteration."""
        x, labels = self._batch(None)
        leaves = [w.detach().requires_grad_() for w in self.weights]
        loss = self._losses(leaves, x, labels)[0].sum()
        gradients = torch.autograd.grad(loss, leaves, create_graph=True)
        draws = torch.Generator().manual_seed(0)
        image = [torch.randn(w.shape, dtype=w.dtype, generator=draws) for w in leaves]
        for _ in range(checks.count("products", products)):
            size = sum((v * v).sum((-1, -2), keepdim=True) for v in image) ** 0.5
            vector = [v / size for v in image]
            image = list(torch.autograd.grad(gradients, leaves, vector, retain_graph=True))
        along = [(a * b).sum((-1, -2)) for a, b in zip(vector, image, strict=True)]
        return torch.stack(along).sum(0)

    def _batch(self, batch: int | None) -> tuple[Tensor, Tensor]:
        """Images and labels with an axis of starts, of length 1 if all starts see the same."""
        if batch is None:
            return self._x[None], self._labels[None]
        shape = (self.weights[0].shape[1], checks.count("batch", batch, 2))
        rows = torch.randint(len(self._x), shape, generator=self._draws)
        return self._x[rows], self._labels[rows]

    def _losses(self, weights: list[Tensor], x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy, (settings, starts); of what comes after all training images, if anything does."""
        n = len(self._x) if x.shape[0] == 1 else x.shape[1]
        signal = x
        for w in weights:
            units = signal @ w.mT
            centred = units - units[..., :n, :].mean(-2, keepdim=True)
            spread = (centred[..., :n, :] ** 2).mean(-2, keepdim=True)
            signal = relu(centred * (spread + TINY).rsqrt())
        first = n if x.shape[1] > n else 0
        outputs = (signal @ self._readout)[..., first:, :]
        labels = labels[..., first:].expand(*outputs.shape[:2], -1)
        losses = cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none")
        right = (outputs.argmax(-1) == labels).to(x.dtype)
        return losses.view(labels.shape).mean(-1), right.mean(-1)
