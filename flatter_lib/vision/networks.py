r"""Networks of the book's image chapters, and their parameters as one vector.

Everything that moves in the book is a vector of weights: an ensemble of R runs of a network with P parameters is one
tensor of shape (R, P). :func:`flatten` and :func:`unflatten` are the way there and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from flatter_lib import checks
from flatter_lib.vision.checks import seeded


class MLP(nn.Sequential):
    r"""Fully connected network: ``layers`` affine maps with an elementwise activation between them.

    .. math:: a_0 = x, \qquad a_l = \phi(W_l a_{l-1} + b_l) \ (l < L), \qquad f(x) = W_L a_{L-1} + b_L.

    Cowsik et al. (2022, arXiv:2210.16400) name a "6-layer MLP" for Fashion-MNIST and nothing more of it that is known
    here: that the six layers are six affine maps, their width, the activation and the initialisation are this book's
    choices. Weights start normal with variance ``gain**2`` over the number of inputs of their layer, biases at zero.

    Args:
        inputs: components of one input.
        width: units of each hidden layer.
        outputs: components of one output.
        layers: number L of affine maps, at least 1.
        activation: makes the activation module; smooth, if the derivatives of the loss along the valley are meant.
        gain: scale of the initial weights.
        generator: source of the initial weights, on the CPU.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if a size is no integer from 1, the gain is negative, or there is no generator.

    Examples:
        >>> network = MLP(width=48, generator=torch.Generator().manual_seed(0))
        >>> sum(isinstance(module, nn.Linear) for module in network)
        6
        >>> flatten(network).shape, network(torch.zeros(3, 784, dtype=torch.float64)).shape
        (torch.Size([47578]), torch.Size([3, 10]))
    """

    def __init__(
        self,
        inputs: int = 784,
        width: int = 48,
        outputs: int = 10,
        layers: int = 6,
        activation: Callable[[], nn.Module] = nn.Tanh,
        *,
        gain: float = 1.0,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        named = {"inputs": inputs, "width": width, "outputs": outputs, "layers": layers}
        for name, size in named.items():
            checks.count(name, size)
        checks.number("gain", gain, "[0, inf)")
        seeded("generator", generator)
        sizes = [inputs, *[width] * (layers - 1), outputs]
        modules: list[nn.Module] = []
        for before, after in pairwise(sizes):
            linear = nn.Linear(before, after, device="meta", dtype=dtype)
            modules += [drawn(linear, gain / math.sqrt(before), generator, device), activation()]
        super().__init__(*modules[:-1])


def drawn(
    layer: nn.Module, std: float, generator: torch.Generator, device: torch.device | str
) -> nn.Module:
    """A layer made on the device ``meta``, where nothing is drawn from torch's global generator, with first weights.

    Args:
        layer: with a weight and perhaps a bias.
        std: standard deviation of the weights, normal with mean 0; biases are zero.
        generator: of the weights, on the CPU.
        device: where the layer is to be.
    """
    weight = layer.get_parameter("weight")
    first = torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * std
    layer.to_empty(device=device)
    with torch.no_grad():
        layer.get_parameter("weight").copy_(first)
        if isinstance(layer.bias, Tensor):
            layer.bias.zero_()
    return layer


def flatten(network: nn.Module) -> Tensor:
    """A copy of a network's parameters as one vector, in the order of ``network.named_parameters()``.

    Returns:
        Shape (P,), the parameters' dtype and device, without gradient.
    """
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def unflatten(network: nn.Module, weights: Tensor) -> dict[str, Tensor]:
    """A vector as the named parameters of a network, for `torch.func.functional_call`; views, not copies.

    Args:
        network: gives the names and shapes.
        weights: shape (P,).

    Returns:
        Name -> tensor, differentiable in ``weights``.

    Raises:
        ValueError: if the length is not the network's number of parameters.

    Examples:
        >>> network = MLP(2, 3, 1, 2, generator=torch.Generator().manual_seed(0))
        >>> {name: tuple(p.shape) for name, p in unflatten(network, flatten(network)).items()}
        {'0.weight': (3, 2), '0.bias': (3,), '2.weight': (1, 3), '2.bias': (1,)}
    """
    named = dict(network.named_parameters())
    sizes = [p.numel() for p in named.values()]
    if weights.shape != (sum(sizes),):
        raise ValueError(f"weights: must have shape ({sum(sizes)},), got {tuple(weights.shape)}")
    parts = torch.split(weights, sizes)
    return {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
