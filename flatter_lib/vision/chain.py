r"""The loss of many MLPs and its gradient, written out: a layer of all runs is one batched product.

Runs that are given the same inputs have one product for all their first layers, with their matrices one above the
other. With :math:`a_0 = x`, :math:`a_l = \tanh(W_l a_{l-1} + b_l)` below the last layer L, which is affine, and the
loss :math:`\frac{1}{2B} \sum_i |f_i - y_i|^2` of B inputs,

.. math:: \delta_L = \frac{f - y}{B}, \qquad \delta_{l-1} = (\delta_l W_l) \odot (1 - a_{l-1}^2), \qquad
    \nabla_{W_l} = \delta_l^\top a_{l-1}, \qquad \nabla_{b_l} = \sum_i \delta_{l,i}.

With the cross-entropy :math:`-\frac1B \sum_{i,k} y_{ik} \log \pi_{ik}` of the softmax :math:`\pi` of f, and targets
that sum to 1, :math:`\delta_L = (\pi - y)/B`, and all below it is the same.

`torch.func` computes the same of any network, in more time: it makes memory for every layer anew in every step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flatter_lib.vision.networks import MLP


def is_chain(network: nn.Module) -> bool:
    """Whether a network is an MLP with tanh between its layers, which `Chain` can do."""
    return isinstance(network, MLP) and all(type(m) is nn.Tanh for m in [*network][1::2])


class Chain:
    """Loss and gradient of R networks in buffers made once, which the next call fills again.

    Args:
        network: an MLP for which `is_chain` holds.
        runs: R.
        batch: B, inputs of each run in a call.
        like: a tensor of the weights' dtype and device.
        shared: so many runs in a row, from the first on, are given the same inputs; R is a multiple of it.
        crossed: whether the loss is the cross-entropy; then targets must sum to 1.

    Examples:
        >>> network = MLP(2, 3, 1, 2, generator=torch.Generator().manual_seed(0))
        >>> chain = Chain(network, runs=4, batch=5, like=torch.ones(1, dtype=torch.float64), shared=2)
        >>> at = torch.zeros(4, 13, dtype=torch.float64)
        >>> gradient, loss = chain(at, at.new_ones(2, 5, 2), at.new_ones(4, 5, 1))
        >>> loss.tolist(), gradient[0].nonzero().tolist()
        ([0.5, 0.5, 0.5, 0.5], [[12]])
    """

    def __init__(
        self,
        network: nn.Module,
        runs: int,
        batch: int,
        like: Tensor,
        *,
        shared: int = 1,
        crossed: bool = False,
    ) -> None:
        weights = [p.shape for name, p in network.named_parameters() if name.endswith("weight")]
        sizes = [size for after, before in weights for size in (after * before, after)]
        self._gradient = like.new_empty(runs, sum(sizes))
        self._split, self._shapes = sizes, [(runs, *shape) for shape in weights]
        # Products into a view of all gradients would go matrix by matrix.
        self._products = [like.new_empty(shape) for shape in self._shapes]
        # Outputs times inputs, as the matrices have them, so that those of several runs stand one above the other.
        self._signals, self._deltas = (
            [like.new_empty(runs, after, batch) for after, _ in weights] for _ in range(2)
        )
        self._terms, self._loss = torch.empty_like(self._signals[-1]), like.new_empty(runs)
        self._groups, self._crossed = runs // shared, crossed
        self._above = like.new_empty(self._shapes[0] if shared > 1 else 0)

    def __call__(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients, (R, P), and losses, (R,).

        Args:
            weights: (R, P).
            inputs: (R / shared, B, components), or (B, components) if all runs share them.
            targets: (R, B, outputs), or (B, outputs).
        """
        own, into = (torch.split(t, self._split, 1) for t in (weights, self._gradient))
        W = [part.view(shape) for part, shape in zip(own[::2], self._shapes, strict=True)]
        if len(self._above):
            W[0] = self._above.copy_(W[0])
        x = inputs.expand(self._groups, *inputs.shape[-2:])
        entering = [x.mT, *self._signals[:-1]]
        leaving = [self._grouped(self._signals[0]), *self._signals[1:]]
        stacked = [self._grouped(W[0]), *W[1:]]
        for a, matrix, bias, f in zip(entering, stacked, own[1::2], leaving, strict=True):
            torch.baddbmm(bias.reshape(*f.shape[:2], 1), matrix, a, out=f)
            if f is not leaving[-1]:
                f.tanh_()
        outputs, y, terms, delta = self._signals[-1], targets.mT, self._terms, self._deltas[-1]
        if self._crossed:
            logs = torch.log_softmax(outputs, 1)
            torch.mul(logs, y, out=terms).mul_(-2.0)
            torch.sub(logs.exp_(), y, out=delta)
        else:
            torch.sub(outputs, y, out=delta)
            torch.mul(delta, delta, out=terms)
        torch.sum(terms, (1, 2), out=self._loss).mul_(0.5 / x.shape[1])
        delta.mul_(1 / x.shape[1])
        for l in reversed(range(len(W))):
            delta, a, product = self._deltas[l], entering[l], self._products[l]
            torch.sum(delta, 2, out=into[2 * l + 1])
            if l:
                torch.bmm(delta, a.mT, out=product)
                before = torch.bmm(W[l].mT, delta, out=self._deltas[l - 1])
                torch.ops.aten.tanh_backward.grad_input(before, a, grad_input=before)
            else:
                torch.bmm(self._grouped(delta), x, out=self._grouped(product))
            into[2 * l].view(product.shape).copy_(product)
        return self._gradient, self._loss

    def _grouped(self, tensor: Tensor) -> Tensor:
        """Those of runs with the same inputs one above the other."""
        return tensor.view(self._groups, -1, tensor.shape[-1]) if len(self._above) else tensor
