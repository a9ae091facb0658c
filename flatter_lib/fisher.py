r"""Curvature and gradient noise of a network along the eigenvectors of its Kronecker-factored Fisher matrix.

For the cross-entropy of the softmax :math:`\pi` of the outputs f the Fisher matrix, with labels drawn from :math:`\pi`
itself, is the Gauss-Newton matrix,

.. math:: F = \frac1n \sum_i J_i^\top (\operatorname{diag}\pi_i - \pi_i \pi_i^\top) J_i
    = \frac1n \sum_{i,k} g_{ik} g_{ik}^\top, \qquad g_{ik} = J_i^\top b_{ik},

with :math:`b_{ik}` the columns of :math:`\operatorname{diag}(s_i) - \pi_i s_i^\top`, :math:`s = \sqrt\pi`. The sum over
k is the mean over labels: none is drawn here. In an affine layer with inputs a (and a 1 for the bias) at positions t,
of which a convolution has T and a linear layer one, :math:`g = \sum_t \delta_t a_t^\top` with :math:`\delta_t` the
derivative with respect to what leaves the layer. K-FAC (Martens and Grosse 2015, arXiv:1503.05671; for convolutions
Grosse and Martens 2016, arXiv:1602.01407) replaces the layer's block of F by

.. math:: A \otimes G, \qquad A = \frac1n \sum_{i,t} a_{it} a_{it}^\top, \qquad
    G = \frac{1}{n T} \sum_{i,k,t} \delta_{ikt} \delta_{ikt}^\top,

whose eigenvalues are all products of those of A and G, and whose eigenvectors are outer products of theirs. The block
is exact for a single input of a linear layer, and where a and :math:`\delta` are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from flatter_lib import checks
from flatter_lib.checks import Floats

#: Inputs that pass through the network together.
CHUNK = 128


class Block(NamedTuple):
    """One layer's part of the eigenbasis.

    Attributes:
        inputs: eigenvectors of A as columns, (a, a), a being the inputs of one unit and the bias.
        outputs: eigenvectors of G as columns, (g, g).
        eigenvalues: of the Kronecker product, (g, a).
    """

    inputs: Tensor
    outputs: Tensor
    eigenvalues: Tensor


Basis = dict[str, Block]


def kronecker_eigenbasis(network: nn.Module, inputs: Tensor) -> Basis:
    r"""Eigenvalues and eigenvectors of the K-FAC Fisher matrix of a network of linear and convolutional layers.

    Args:
        network: every parameter belongs to an `nn.Linear` or an `nn.Conv2d` that is used once; the outputs are logits,
            (n, K), and those of one input do not depend on the others.
        inputs: shape (n, ...).

    Returns:
        Name of the layer -> its block.

    Raises:
        ValueError: if there are no inputs or the network is of another kind.

    Examples:
        At zero weights the softmax is uniform whatever the input, and the block exact. The input's square is 4:

        >>> network = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> block = kronecker_eigenbasis(network, torch.tensor([[2.0]]))[""]
        >>> [round(h, 3) for h in block.eigenvalues.flatten().tolist()]
        [0.0, 2.0]
    """
    count = checks.count("inputs", len(inputs))
    layers = affine_layers(network)
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for part in torch.split(inputs, CHUNK):
        with _watched(layers) as seen:
            outputs = network(part)
        for k, column in enumerate(_columns(outputs)):
            for name, (a, d) in _outer(layers, seen, outputs, column).items():
                products = [torch.einsum("nti,ntj->ij", x, x) / count for x in (a, d)]
                if name not in sums:
                    sums[name] = torch.zeros_like(products[0]), torch.zeros_like(products[1])
                if k == 0:
                    sums[name][0].add_(products[0])
                sums[name][1].add_(products[1] / d.shape[1])
    basis = {}
    for name, (first, second) in sums.items():
        (a, of_inputs), (g, of_outputs) = torch.linalg.eigh(first), torch.linalg.eigh(second)
        basis[name] = Block(of_inputs, of_outputs, torch.outer(g.clamp(min=0), a.clamp(min=0)))
    return basis


def curvature_along(network: nn.Module, basis: Basis, inputs: Tensor) -> Floats:
    r"""The curvature :math:`v^\top F v` of the Fisher matrix itself, not of its approximation, along each eigenvector.

    Args:
        network: as for :func:`kronecker_eigenbasis`.
        basis: from there, perhaps of other inputs.
        inputs: shape (n, ...).

    Returns:
        Shape (d,), block after block, in each in the order of its eigenvalues, float64.

    Raises:
        ValueError: if there are no inputs, or the basis is of another network.
    """
    squares, _ = _along(network, basis, inputs, None)
    return squares


def gradient_along(
    network: nn.Module, basis: Basis, inputs: Tensor, labels: Tensor
) -> tuple[Floats, Floats]:
    r"""The mean gradient :math:`v^\top \bar g` of the cross-entropy along each eigenvector, and one example's variance.

    Args:
        network: as for :func:`kronecker_eigenbasis`.
        basis: from there, perhaps of other inputs.
        inputs: shape (n, ...).
        labels: classes, int64, (n,).

    Returns:
        Mean and variance, each of shape (d,), in the order of :func:`curvature_along`. The variance is the mean square
        deviation: that of one draw from these inputs.

    Raises:
        ValueError: if there are no inputs, not as many labels, or the basis is of another network.
    """
    if len(labels) != len(inputs):
        raise ValueError(f"labels: must be one for each of {len(inputs)} inputs, got {len(labels)}")
    squares, means = _along(network, basis, inputs, labels)
    return means, np.maximum(squares - means**2, 0.0)


def weights_along(network: nn.Module, basis: Basis, weights: Mapping[str, Tensor]) -> Floats:
    """A vector of weights along each eigenvector: where a network is, or how far it went.

    Args:
        network: whose layers these are.
        basis: of it.
        weights: named as the network's parameters.

    Returns:
        Shape (d,), in the order of :func:`curvature_along`.

    Raises:
        ValueError: if the basis is of another network.
    """
    found = []
    for name, layer in _known(network, basis).items():
        prefix = f"{name}." if name else ""
        matrix = weights[f"{prefix}weight"].detach().reshape(layer.weight.shape[0], -1)
        if layer.bias is not None:
            matrix = torch.cat([matrix, weights[f"{prefix}bias"].detach()[:, None]], 1)
        block = basis[name]
        found.append((block.outputs.T @ matrix.to(block.outputs) @ block.inputs).reshape(-1))
    return np.asarray(torch.cat(found).double().cpu())


def affine_layers(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of a network by name, if together they hold all of its parameters.

    Raises:
        ValueError: if they do not, or there are none, or a convolution has groups or is not padded with zeros.
    """
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, module in network.named_modules():
        kind = type(module).__name__
        if isinstance(module, nn.Linear | nn.Conv2d):
            plain = isinstance(module, nn.Linear) or (
                module.groups == 1
                and module.padding_mode == "zeros"
                and not isinstance(module.padding, str)
            )
            if not plain:
                raise ValueError(
                    f"network: must pad with so many zeros and have no groups, unlike {name} ({kind})"
                )
            found[name] = module
        elif any(True for _ in module.parameters(recurse=False)):
            raise ValueError(
                f"network: must have parameters in nn.Linear and nn.Conv2d only, and has some in {name} ({kind})"
            )
    if not found:
        raise ValueError("network: must have a layer with parameters, and has none")
    return found


def _along(
    network: nn.Module, basis: Basis, inputs: Tensor, labels: Tensor | None
) -> tuple[Floats, Floats]:
    """Mean squares of the gradients of single examples along each eigenvector, and their means.

    Without labels the squares are summed over the columns of the Fisher matrix.
    """
    count = checks.count("inputs", len(inputs))
    layers = _known(network, basis)
    squares = {
        name: torch.zeros_like(basis[name].eigenvalues, dtype=torch.float64) for name in layers
    }
    means = {name: torch.zeros_like(square) for name, square in squares.items()}
    classes = (None,) * count if labels is None else torch.split(labels, CHUNK)
    for part, own in zip(torch.split(inputs, CHUNK), classes, strict=False):
        with _watched(layers) as seen:
            outputs = network(part)
        for column in _columns(outputs, own):
            for name, (a, d) in _outer(layers, seen, outputs, column).items():
                turned, moved = a @ basis[name].inputs, d @ basis[name].outputs
                if a.shape[1] == 1:
                    squares[name] += moved[:, 0].square().T @ turned[:, 0].square() / count
                    means[name] += moved[:, 0].T @ turned[:, 0] / count
                else:
                    each = moved.mT @ turned
                    squares[name] += each.square().sum(0) / count
                    means[name] += each.sum(0) / count
    flat = [torch.cat([part.reshape(-1) for part in parts.values()]) for parts in (squares, means)]
    return np.asarray(flat[0].cpu()), np.asarray(flat[1].cpu())


def _known(network: nn.Module, basis: Basis) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers, if the basis is theirs."""
    layers = affine_layers(network)
    shapes = {
        name: (len(layer.weight), layer.weight[0].numel() + (layer.bias is not None))
        for name, layer in layers.items()
    }
    if {name: tuple(block.eigenvalues.shape) for name, block in basis.items()} != shapes:
        raise ValueError("basis: must be of this network, and has other layers")
    return layers


def _columns(outputs: Tensor, labels: Tensor | None = None) -> Iterator[Tensor]:
    """What is pulled back to the weights: the columns b, or with labels the derivative of the cross-entropy."""
    likely = outputs.detach().softmax(-1)
    if labels is not None:
        likely[torch.arange(len(labels)), labels] -= 1
        yield likely
        return
    roots = likely.sqrt()
    for k in range(outputs.shape[-1]):
        column = -likely * roots[:, k, None]
        column[:, k] += roots[:, k]
        yield column


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """What enters and what leaves each layer in one forward pass."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
            if name in seen:
                raise ValueError(f"network: must use {name} once, and uses it again")
            seen[name] = given[0].detach(), made
            # What follows may change its input in place.
            return made.clone()

        return layer.register_forward_hook(hook)

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _outer(
    layers: Mapping[str, nn.Linear | nn.Conv2d],
    seen: Mapping[str, tuple[Tensor, Tensor]],
    outputs: Tensor,
    column: Tensor,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each layer the inputs a, (n, T, a), and the derivatives, (n, T, g)."""
    if missing := set(layers) - set(seen):
        raise ValueError(f"network: must use {min(missing)} once, and does not")
    left = [seen[name][1] for name in layers]
    derivatives = torch.autograd.grad(outputs, left, column, retain_graph=True)
    found = {}
    for (name, layer), derivative in zip(layers.items(), derivatives, strict=True):
        a = seen[name][0]
        if isinstance(layer, nn.Conv2d):
            padding: Any = layer.padding
            a = unfold(a, layer.kernel_size, layer.dilation, padding, layer.stride).mT
            d = derivative.flatten(2).mT
        else:
            a, d = (x.reshape(len(x), -1, x.shape[-1]) for x in (a, derivative))
        if layer.bias is not None:
            a = torch.cat([a, a.new_ones(*a.shape[:-1], 1)], -1)
        found[name] = a, d
    return found
