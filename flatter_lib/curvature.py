r"""Curvature of networks: the trace of G, exact or estimated, its top eigenvalue, and the sharpness of minibatches.

For the squared loss :math:`L = \frac{1}{2n} \sum_i |f(x_i) - y_i|^2` with residuals :math:`r = f - y` the Hessian is

.. math:: H = G + \frac1n \sum_{i,k} r_{ik} \nabla^2 f_{ik}, \qquad
    G = \frac1n \sum_{i,k} \nabla f_{ik} \nabla f_{ik}^\top,

where i runs over the n inputs and k over the outputs. G, the Gauss-Newton matrix, needs no labels. Where every residual
vanishes :math:`H = G`; and where the activations are piecewise linear :math:`\operatorname{Tr} H = \operatorname{Tr} G`
with any residuals, since f is then piecewise linear in each single weight.

For the cross-entropy of the softmax :math:`\pi` of f the curvature in the outputs is no longer 1 but
:math:`A = \operatorname{diag}(\pi) - \pi\pi^\top`, so that :math:`G = \frac1n \sum_i J_i^\top A_i J_i`, and
:math:`H = G` where :math:`\pi` is the target. With :math:`s = \sqrt\pi` it is :math:`A = B B^\top` for
:math:`B = \operatorname{diag}(s) - \pi s^\top`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vjp, vmap
from torch.nn.functional import linear
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from flatter_lib import checks


class TraceEstimate(NamedTuple):
    """An estimate of a trace.

    Attributes:
        value: the mean over probes, unbiased.
        error: its standard error, from the scatter of the probes; the mean is normal to good accuracy from some tens
            of probes on.
    """

    value: float
    error: float


def gauss_newton_trace(
    network: nn.Sequential,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    crossed: bool = False,
) -> Tensor:
    r"""Exact :math:`\operatorname{Tr} G`, by one forward pass and one backward pass for each output.

    The gradient of an output with respect to the weights of layer l is an outer product of what enters the layer,
    :math:`a_{l-1}`, and the derivative :math:`\delta_l` of the output with respect to what leaves it. No Jacobian is
    formed:

    .. math:: \operatorname{Tr} G = \frac1n \sum_i \sum_l \bigl(|a_{l-1,i}|^2 + 1\bigr) \sum_k |\delta_{l,ik}|^2,

    with the 1 for a bias. For the cross-entropy k counts the columns of B, combinations of outputs. The result is
    differentiable in the parameters.

    Args:
        network: a chain of `torch.nn.Linear` and of modules without parameters that act on each input by itself.
        parameters: the named parameters at which the trace is taken.
        inputs: shape (n, components).
        crossed: whether the loss is the cross-entropy.

    Returns:
        A scalar of the inputs' dtype.

    Raises:
        ValueError: if a module other than a linear one has parameters, ``parameters`` are not those of the network, or
            there are no inputs.

    Examples:
        For the product of two weights, :math:`f = u v x`, the trace is :math:`(u^2 + v^2) x^2`:

        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> weights = {"0.weight": torch.tensor([[2.0]]), "1.weight": torch.tensor([[3.0]])}
        >>> gauss_newton_trace(network, weights, torch.tensor([[1.0]])).item()
        13.0
    """
    # A module may stand at two places, and named_children would give it once.
    modules = [(name, network.get_submodule(name)) for name in network._modules]
    widths, wanted = [], set()
    for name, module in modules:
        if isinstance(module, nn.Linear):
            widths.append(module.out_features)
            wanted |= {f"{name}.{own}" for own, _ in module.named_parameters()}
        elif any(True for _ in module.parameters()):
            raise ValueError(
                f"network: module {name} ({type(module).__name__}) has parameters and is not nn.Linear"
            )
    if wanted != set(parameters):
        raise ValueError(
            f"parameters: must be {', '.join(sorted(wanted))}, got {', '.join(sorted(parameters))}"
        )
    count = checks.count("inputs", len(inputs))

    def outputs(shifts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        signal, remaining, squares = inputs, iter(shifts), []
        for name, module in modules:
            if isinstance(module, nn.Linear):
                bias = parameters.get(f"{name}.bias")
                squares.append((signal * signal).sum(-1) + (0.0 if bias is None else 1.0))
                signal = linear(signal, parameters[f"{name}.weight"], bias) + next(remaining)
            else:
                signal = module(signal)
        return signal, squares

    # The derivative with respect to a zero added to what leaves a layer is delta.
    shifts = [inputs.new_zeros(count, width) for width in widths]
    linearised: Any = vjp(outputs, shifts, has_aux=True)
    value, pullback, squares = linearised
    basis = torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
    columns = basis.unsqueeze(1).expand(-1, count, -1)
    if crossed:
        likely = value.softmax(-1)
        roots = likely.sqrt()
        columns = columns * roots - roots.mT.unsqueeze(-1) * likely
    (deltas,) = vmap(pullback)(columns)
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
            must be in evaluation mode. G is that of the parameters that require a gradient.
        inputs: shape (n, ...).
        probes: how many z, at least 2.
        generator: of the signs.
        chunk: inputs that pass through the network together; another number draws other signs.

    Returns:
        The estimate with its standard error.

    Raises:
        ValueError: for fewer than 2 probes, no inputs, no parameters, or a network that is not in evaluation mode and
            would have to be.

    Examples:
        With a single output of a single input every probe is exact:

        >>> network = nn.Linear(2, 1)
        >>> x = torch.tensor([[2.0, 3.0]])
        >>> gauss_newton_trace_estimate(network, x, probes=2, generator=np.random.default_rng(0))
        TraceEstimate(value=14.0, error=0.0)
    """
    checks.count("probes", probes, 2)
    checks.count("chunk", chunk)
    checks.count("inputs", len(inputs))
    _each_by_itself(network)
    leaves = [p for p in network.parameters() if p.requires_grad]
    checks.count("parameters that require a gradient", len(leaves))
    totals = [torch.zeros_like(_flat(leaves).detach()) for _ in range(probes)]
    for part in torch.split(inputs, chunk):
        outputs = network(part)
        drawn = generator.integers(2, size=(probes, *outputs.shape), dtype=np.int8)
        signs = torch.from_numpy(2 * drawn - 1).to(outputs)
        for k in range(probes):
            gradient = torch.autograd.grad(outputs, leaves, signs[k], retain_graph=k + 1 < probes)
            totals[k] += _flat(gradient)
    values = torch.stack([(t.double() ** 2).sum() for t in totals]) / len(inputs)
    return TraceEstimate(float(values.mean()), float(values.std()) / probes**0.5)


def gauss_newton_top_eigenvalue(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    seed: int = 0,
    crossed: bool = False,
) -> float:
    """The largest eigenvalue of G, by Lanczos on products with G (one forward and one backward pass each).

    Plain gradient descent is stable where the step size is below 2 over it.

    Args:
        network: any module whose outputs for one input do not depend on the others.
        parameters: the named parameters at which it is taken.
        inputs: shape (n, components).
        seed: of the vector that Lanczos starts from.
        crossed: whether the loss is the cross-entropy.

    Returns:
        The eigenvalue, to a relative accuracy of 1e-6.

    Raises:
        ValueError: if ``parameters`` are not those of the network, there are no inputs, or the network is not in
            evaluation mode and would have to be.

    Examples:
        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> weights = {"0.weight": torch.tensor([[2.0]]), "1.weight": torch.tensor([[3.0]])}
        >>> round(gauss_newton_top_eigenvalue(network, weights, torch.tensor([[1.0]])), 4)
        13.0
    """
    count = checks.count("inputs", len(inputs))
    _each_by_itself(network)
    if set(parameters) != {name for name, _ in network.named_parameters()}:
        raise ValueError("parameters: must be named as those of the network, and all of them")
    values = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    leaves = tuple(values.values())
    # The loss for the network's own outputs, or their softmax, as targets has the Hessian G at this point.
    value = functional_call(network, values, (inputs,))
    if crossed:
        loss = -(value.softmax(-1).detach() * value.log_softmax(-1)).sum() / count
    else:
        loss = 0.5 * (value - value.detach()).square().sum() / count
    gradient = _flat(torch.autograd.grad(loss, leaves, create_graph=True))

    def product(vector: NDArray[Any]) -> NDArray[Any]:
        direction = torch.as_tensor(vector).reshape(-1).to(gradient)
        image = torch.autograd.grad(gradient, leaves, direction, retain_graph=True)
        return np.asarray(_flat(image).double().cpu())

    start = np.random.default_rng(checks.count("seed", seed, 0)).standard_normal(gradient.numel())
    if len(start) == 1:
        return float(product(np.ones(1))[0])
    operator = LinearOperator((len(start), len(start)), matvec=product, dtype=np.float64)
    top = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)
    return float(top[0])


def batch_sharpness(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    batch: int | None,
    draws: int = 1,
    generator: np.random.Generator,
) -> float:
    r"""The curvature that minibatches have along their own gradients, at weights that are held.

    .. math:: S_B = \frac{E_{\mathcal B}\, g' H g}{E_{\mathcal B}\, g' g},

    where g and H are gradient and Hessian of the squared loss of a minibatch :math:`\mathcal B` of B inputs, drawn
    with replacement, and the two means are over the same draws. A draw costs two backward passes and no Hessian. With
    all inputs and a gradient along the top eigenvector it is the largest eigenvalue (Andreyev and Beneventano 2024,
    arXiv:2412.20553).

    Args:
        network: any module whose outputs for one input do not depend on the others.
        parameters: the named parameters at which it is taken.
        inputs: shape (n, ...).
        targets: shape (n, outputs).
        batch: B, at least 1; None for all inputs, once each.
        draws: how many minibatches, at least 1; one is enough where ``batch`` is None, and no more are taken.
        generator: of the minibatches.

    Returns:
        The ratio of the two means over the draws: consistent, with a bias of the order of one over them; NaN where
        every gradient vanishes.

    Raises:
        ValueError: if there are no inputs or not as many targets, or ``batch`` or ``draws`` is no number from 1.

    Examples:
        For :math:`f = w x` the Hessian of an input is :math:`x^2`, and its gradient is :math:`(w x - y) x`:

        >>> network, weights = nn.Linear(1, 1, bias=False), {"weight": torch.tensor([[2.0]])}
        >>> x, y = torch.tensor([[3.0]]), torch.tensor([[1.0]])
        >>> batch_sharpness(network, weights, x, y, batch=None, generator=np.random.default_rng(0))
        9.0
    """
    count = checks.count("inputs", len(inputs))
    if len(targets) != count:
        raise ValueError(f"targets: must be one for each of the {count} inputs, got {len(targets)}")
    checks.count("draws", draws)
    if batch is None:
        rows = np.arange(count)[None]
    else:
        rows = generator.integers(count, size=(draws, checks.count("batch", batch)))
    _each_by_itself(network)
    point = {name: p.detach() for name, p in parameters.items()}

    def loss(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        residual: Tensor = functional_call(network, p, (x,)) - y
        return 0.5 * (residual * residual).sum() / len(x)

    def half_square(p: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        g: dict[str, Tensor] = grad(loss)(p, x, y)
        return 0.5 * torch.stack([part.square().sum() for part in g.values()]).sum(), g

    def curved(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # Half the square of the gradient has the gradient H g.
        image, (half, g) = grad_and_value(half_square, has_aux=True)(point, x, y)
        return torch.stack([(g[name] * image[name]).sum() for name in g]).sum(), 2 * half

    curvature, square = 0.0, 0.0
    at_once = max(1, _TOGETHER // rows.shape[1])
    for first in range(0, len(rows), at_once):
        some = torch.from_numpy(rows[first : first + at_once]).to(inputs.device)
        along, length = vmap(curved)(inputs[some], targets[some])
        curvature += float(along.double().sum())
        square += float(length.double().sum())
    return curvature / square if square else float("nan")


#: Inputs of minibatches that `batch_sharpness` holds at a time.
_TOGETHER = 512


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """As one vector; reshaped, because filters and their gradients may lie in memory channels last."""
    return torch.cat([t.reshape(-1) for t in tensors])


def _each_by_itself(network: nn.Module) -> None:
    """Refuse what is known to mix the inputs of a batch, or to draw."""
    for name, module in network.named_modules():
        batch = isinstance(module, _BatchNorm) and not (
            module.track_running_stats and not module.training
        )
        if batch or (isinstance(module, _DropoutNd) and module.training):
            raise ValueError(
                f"network: {name} ({type(module).__name__}) is in training mode, where one input's outputs are not "
                "its own; call network.eval() first"
            )
