r"""Curvature: Tr H of any loss by Hutchinson, and for networks the exact trace and the top eigenvalue of G.

For the squared loss :math:`L = \frac{1}{2n} \sum_i |f(x_i) - y_i|^2` with residuals :math:`r = f - y` the Hessian is

.. math:: H = G + \frac1n \sum_{i,k} r_{ik} \nabla^2 f_{ik}, \qquad
    G = \frac1n \sum_{i,k} \nabla f_{ik} \nabla f_{ik}^\top,

where i runs over the n inputs and k over the outputs. G, the Gauss-Newton matrix, needs no labels. Where every residual
vanishes :math:`H = G`; and where the activations are piecewise linear :math:`\operatorname{Tr} H = \operatorname{Tr} G`
with any residuals, since f is then piecewise linear in each single weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp, vmap
from torch.nn.functional import linear
from torch.nn.utils import parameters_to_vector


class TraceEstimate(NamedTuple):
    """An estimate of a trace.

    Attributes:
        value: the mean over probes, unbiased.
        error: its standard error, from the scatter of the probes; the mean is normal to good accuracy from some tens
            of probes on.
    """

    value: float
    error: float


def hutchinson_trace(
    loss: Callable[[Tensor], Tensor],
    w: Tensor,
    *,
    probes: int,
    generator: np.random.Generator,
    chunk: int = 32,
) -> TraceEstimate:
    r"""Tr H of any twice differentiable loss, by products of H with random signs.

    For z with independent entries :math:`\pm 1`, :math:`E\, z^\top H z = \operatorname{Tr} H`, with variance
    :math:`2 \sum_{i \ne j} H_{ij}^2` (Hutchinson 1989). A product costs two gradients and no memory for H.

    Args:
        loss: maps parameters of shape (P,) to a scalar, for instance the ``loss`` of a problem of
            `flatter_lib.valleys`.
        w: where, shape (P,).
        probes: how many z, at least 2.
        generator: of the signs.
        chunk: products made together.

    Returns:
        The estimate with its standard error.

    Raises:
        ValueError: for fewer than 2 probes.

    Examples:
        For a diagonal H every probe is exact:

        >>> w = torch.ones(3, dtype=torch.float64)
        >>> hutchinson_trace(lambda w: (w**4).sum(), w, probes=4, generator=np.random.default_rng(0))
        TraceEstimate(value=36.0, error=0.0)
    """
    if probes < 2:
        raise ValueError(f"probes: at least 2, for an error, got {probes}")
    signs = 2.0 * generator.integers(2, size=(probes, w.numel())) - 1.0

    def quadratic(z: Tensor) -> Tensor:
        # Reverse mode twice: not every operation has a forward one.
        product: Tensor = grad(lambda x: grad(loss)(x) @ z)(w)
        return z @ product

    values = vmap(quadratic, chunk_size=chunk)(torch.from_numpy(signs).to(w)).double()
    return TraceEstimate(float(values.mean()), float(values.std()) / probes**0.5)


def gauss_newton_trace(
    network: nn.Sequential, parameters: Mapping[str, Tensor], inputs: Tensor
) -> Tensor:
    r"""Exact :math:`\operatorname{Tr} G`, by one forward pass and one backward pass for each output.

    The gradient of an output with respect to the weights of layer l is an outer product of what enters the layer,
    :math:`a_{l-1}`, and the derivative :math:`\delta_l` of the output with respect to what leaves it. No Jacobian is
    formed:

    .. math:: \operatorname{Tr} G = \frac1n \sum_i \sum_l \bigl(|a_{l-1,i}|^2 + 1\bigr) \sum_k |\delta_{l,ik}|^2,

    with the 1 for a bias. The result is differentiable in the parameters.

    Args:
        network: a chain of `torch.nn.Linear` and of modules without parameters that act on each input by itself.
        parameters: the named parameters at which the trace is taken.
        inputs: shape (n, components).

    Returns:
        A scalar of the inputs' dtype.

    Raises:
        ValueError: if a module other than a linear one has parameters.

    Examples:
        For the product of two weights, :math:`f = u v x`, the trace is :math:`(u^2 + v^2) x^2`:

        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> weights = {"0.weight": torch.tensor([[2.0]]), "1.weight": torch.tensor([[3.0]])}
        >>> gauss_newton_trace(network, weights, torch.tensor([[1.0]])).item()
        13.0
    """
    widths = []
    for name, module in network.named_children():
        if isinstance(module, nn.Linear):
            widths.append(module.out_features)
        elif any(True for _ in module.parameters()):
            raise ValueError(
                f"network: module {name} ({type(module).__name__}) has parameters and is not nn.Linear"
            )

    def outputs(shifts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        signal, remaining, squares = inputs, iter(shifts), []
        for name, module in network.named_children():
            if isinstance(module, nn.Linear):
                bias = parameters.get(f"{name}.bias")
                squares.append((signal * signal).sum(-1) + (0.0 if bias is None else 1.0))
                signal = linear(signal, parameters[f"{name}.weight"], bias) + next(remaining)
            else:
                signal = module(signal)
        return signal, squares

    # The derivative with respect to a zero added to what leaves a layer is delta.
    count = inputs.shape[0]
    shifts = [inputs.new_zeros(count, width) for width in widths]
    linearised: Any = vjp(outputs, shifts, has_aux=True)
    value, pullback, squares = linearised
    basis = torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
    (deltas,) = vmap(pullback)(basis.unsqueeze(1).expand(-1, count, -1))
    terms = [square @ (d * d).sum(2).sum(0) for square, d in zip(squares, deltas, strict=True)]
    return torch.stack(terms).sum() / count


def gauss_newton_trace_estimate(
    network: nn.Module,
    inputs: Tensor,
    *,
    probes: int,
    generator: np.random.Generator,
    chunk: int = 256,
) -> TraceEstimate:
    r"""An estimate of :math:`\operatorname{Tr} G` of any network, for one backward pass a probe.

    For independent random signs :math:`z_{ik}`, one for each output of each input,

    .. math:: \frac1n E\, \Bigl| \sum_{i,k} z_{ik} \nabla f_{ik} \Bigr|^2 = \operatorname{Tr} G,

    which is Hutchinson's estimate for the n K x n K matrix of products of the gradients (Hutchinson 1989). The same
    state of the generator gives the same signs: estimates along a run then err together, and their ratios err less.

    Args:
        network: any module whose outputs for one input do not depend on the others; a network with batch normalisation
            must be in evaluation mode.
        inputs: shape (n, ...).
        probes: how many z, at least 2.
        generator: of the signs.
        chunk: inputs that pass through the network together; another number draws other signs.

    Returns:
        The estimate with its standard error.

    Raises:
        ValueError: for fewer than 2 probes.

    Examples:
        With a single output of a single input every probe is exact:

        >>> network = nn.Linear(2, 1)
        >>> x = torch.tensor([[2.0, 3.0]])
        >>> gauss_newton_trace_estimate(network, x, probes=2, generator=np.random.default_rng(0))
        TraceEstimate(value=14.0, error=0.0)
    """
    if probes < 2:
        raise ValueError(f"probes: at least 2, for an error, got {probes}")
    leaves = [p for p in network.parameters() if p.requires_grad]
    totals = [torch.zeros_like(parameters_to_vector(leaves).detach()) for _ in range(probes)]
    for part in torch.split(inputs, chunk):
        outputs = network(part)
        drawn = generator.integers(2, size=(probes, *outputs.shape), dtype=np.int8)
        signs = torch.from_numpy(2 * drawn - 1).to(outputs)
        for k in range(probes):
            gradient = torch.autograd.grad(outputs, leaves, signs[k], retain_graph=k + 1 < probes)
            # Reshaped, because gradients of convolutions may lie in memory channels last.
            totals[k] += torch.cat([g.reshape(-1) for g in gradient])
    values = torch.stack([(t.double() ** 2).sum() for t in totals]) / len(inputs)
    return TraceEstimate(float(values.mean()), float(values.std()) / probes**0.5)


def gauss_newton_top_eigenvalue(
    network: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor, *, seed: int = 0
) -> float:
    """The largest eigenvalue of G, by Lanczos on products with G (one forward and one backward pass each).

    Plain gradient descent is stable where the step size is below 2 over it.

    Args:
        network: any module whose outputs for one input do not depend on the others; its filters must be
            contiguous, not channels last.
        parameters: the named parameters at which it is taken.
        inputs: shape (n, components).
        seed: of the vector that Lanczos starts from.

    Returns:
        The eigenvalue, to a relative accuracy of 1e-6.

    Examples:
        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> weights = {"0.weight": torch.tensor([[2.0]]), "1.weight": torch.tensor([[3.0]])}
        >>> round(gauss_newton_top_eigenvalue(network, weights, torch.tensor([[1.0]])), 4)
        13.0
    """
    values = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    leaves = tuple(values.values())
    # The squared loss for the network's own outputs as targets has the Hessian G at this point.
    value = functional_call(network, values, (inputs,))
    residual = value - value.detach()
    loss = 0.5 * (residual * residual).sum() / inputs.shape[0]
    gradient = parameters_to_vector(torch.autograd.grad(loss, leaves, create_graph=True))

    def product(vector: NDArray[Any]) -> NDArray[Any]:
        direction = torch.as_tensor(vector).reshape(-1).to(gradient)
        image = torch.autograd.grad(gradient, leaves, direction, retain_graph=True)
        return np.asarray(parameters_to_vector(image).double().cpu())

    start = np.random.default_rng(seed).standard_normal(gradient.numel())
    operator = LinearOperator((len(start), len(start)), matvec=product, dtype=np.float64)
    top = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)
    return float(top[0])
