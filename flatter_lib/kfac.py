r"""K-FAC: steps along the natural gradient, with the Fisher information of each layer as a Kronecker product.

A layer maps its inputs :math:`a` to :math:`s = W a`, with the bias as one more column of W and one more input, 1. With
labels drawn from the network's own outputs, and with the gradient :math:`g` in s of their loss, its Fisher matrix is
taken for

.. math:: F = \operatorname{E}[g g^\top \otimes a a^\top] \approx S \otimes A, \qquad
    S = \operatorname{E}[g g^\top], \quad A = \operatorname{E}[a a^\top]

(Zhang et al. 2019, arXiv:1907.04164, Eq. 13), so that :math:`F^{-1} \nabla_W L = S^{-1} (\nabla_W L) A^{-1}` (Eq.
14). In a convolution a is the patch that a filter sees; A is a mean over patches, and S a sum over them (Eq. 15, with
1/|I| in the other factor, which no product notices). Different layers are treated as independent.

Hooks see what enters a layer, and the gradient in zeros that are added to what leaves it is g. An embedding and a
normalisation with parameters have no such factors here, so a Transformer is refused: the paper's Eq. 16 for a matrix
that embedding and readout share is not enough for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, unfold

from flatter_lib import checks
from flatter_lib.vision.checks import seeded

Layer = nn.Linear | nn.Conv2d


class Factors(NamedTuple):
    """The Kronecker factors of a layer.

    Attributes:
        inputs: A, (columns, columns), of what enters; the last column is the bias's, if there is one.
        outputs: S, (rows, rows), of the gradient in what leaves.
    """

    inputs: Tensor
    outputs: Tensor


def layers(network: nn.Module) -> dict[str, Layer]:
    """The layers that hold a network's parameters, by name.

    Raises:
        ValueError: if a module has parameters and is no linear map and no plain convolution, or shares them with
            another; the message names it.

    Examples:
        >>> layers(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
        Traceback (most recent call last):
        ValueError: network: module 1 (LayerNorm) has parameters and is no nn.Linear or plain nn.Conv2d
    """
    found: dict[str, Layer] = {}
    owners: dict[Tensor, str] = {}
    for name, module in network.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        # What pads with anything but zeros, or splits its channels, sees other patches than `unfold` cuts.
        plain = isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d)
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )
        if not plain:
            raise ValueError(
                f"network: module {name} ({type(module).__name__}) has parameters and is no nn.Linear "
                "or plain nn.Conv2d"
            )
        for p in own:
            if owners.setdefault(p, name) != name:
                raise ValueError(f"network: module {name} shares parameters with {owners[p]}")
        found[name] = cast(Layer, module)
    if not found:
        raise ValueError("network: must have parameters, got none")
    return found


def kronecker_factors(
    network: nn.Module, inputs: Tensor, generator: torch.Generator
) -> dict[str, Factors]:
    r"""The Kronecker factors of each layer, from one minibatch, with one label drawn for each input.

    Args:
        network: gives the logits of classes, shape (n, classes); each layer is called once.
        inputs: shape (n, ...).
        generator: of the labels, on the CPU.

    Returns:
        Layer name -> factors, of the parameters' dtype and device. No ``.grad`` is touched.

    Raises:
        ValueError: if a module cannot be treated (see :func:`layers`) or is not called once, or the outputs are not
            finite numbers of shape (n, classes).

    Examples:
        At zero weights each of two classes has probability 1/2, and g is half of (1, -1) or of (-1, 1):

        >>> network = nn.Linear(1, 2, bias=False)
        >>> _ = network.weight.data.zero_()
        >>> kronecker_factors(network, torch.tensor([[1.0], [3.0]]), torch.Generator())[""]
        Factors(inputs=tensor([[5.]]), outputs=tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]]))
    """
    seeded("generator", generator)
    treated = layers(network)
    entering: dict[str, Tensor] = {}
    probes: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def seen(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in entering:
                raise ValueError(f"network: module {name} must be called once, and is called again")
            rows = _rows(cast(Layer, module), given[0].detach())
            entering[name] = rows.T @ rows / len(rows)
            probes[name] = torch.zeros_like(output, requires_grad=True)
            return output + probes[name]

        return seen

    handles = [module.register_forward_hook(hook(name)) for name, module in treated.items()]
    try:
        with torch.enable_grad():
            outputs = network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if missing := sorted(treated.keys() - entering.keys()):
        raise ValueError(f"network: module {missing[0]} must be called once, and is not called")
    if outputs.ndim != 2 or not bool(outputs.isfinite().all()):
        raise ValueError(
            "network: its outputs must be finite and of shape (n, classes), "
            f"got {'some that are not finite' if outputs.ndim == 2 else tuple(outputs.shape)}"
        )
    loss = cross_entropy(outputs, _drawn(outputs, generator), reduction="sum")
    gradients = torch.autograd.grad(loss, list(probes.values()))
    made = {}
    for name, gradient in zip(probes, gradients, strict=True):
        g = gradient.movedim(1, -1) if gradient.ndim == 4 else gradient
        g = g.flatten(0, -2)
        made[name] = Factors(entering[name], g.T @ g / len(outputs))
    return made


def _drawn(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """A class for each row of logits, drawn on the CPU."""
    shares = outputs.detach().softmax(1).cpu()
    return shares.multinomial(1, generator=generator)[:, 0].to(outputs.device)


def _rows(layer: Layer, x: Tensor) -> Tensor:
    """What enters a layer, one row for each input or patch, with a 1 at the end for a bias."""
    if isinstance(layer, nn.Conv2d):
        padding = cast(tuple[int, ...], layer.padding)
        patches = unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
        x = patches.transpose(1, 2)
    x = x.flatten(0, -2)
    return x if layer.bias is None else torch.cat([x, x.new_ones(len(x), 1)], 1)


def damped_inverses(factors: Factors, damping: float) -> Factors:
    r"""Inverses of the factors with factored Tikhonov damping (Martens and Grosse 2015, arXiv:1503.05671, Section 6.3).

    .. math:: \bigl(A + \pi \sqrt\lambda\bigr)^{-1}, \quad \bigl(S + \sqrt\lambda / \pi\bigr)^{-1}, \qquad
        \pi^2 = \frac{\operatorname{Tr} A / \dim A}{\operatorname{Tr} S / \dim S}.

    Where a trace is zero, :math:`\pi = 1`. They are computed in float64 and returned in the factors' dtype.

    Args:
        factors: A and S.
        damping: :math:`\lambda`, above 0.

    Raises:
        ValueError: if a damped factor is not positive definite to float64.

    Examples:
        >>> damped_inverses(Factors(torch.tensor([[4.0]]), torch.tensor([[1.0]])), 1.0)
        Factors(inputs=tensor([[0.1667]]), outputs=tensor([[0.6667]]))
    """
    means = [float(m.trace()) / len(m) for m in factors]
    ratio = (means[0] / means[1]) ** 0.5 if min(means) > 0 else 1.0
    inverses = []
    for matrix, scale in zip(factors, (ratio, 1 / ratio), strict=True):
        damped = matrix.double() + damping**0.5 * scale * torch.eye(
            len(matrix), dtype=torch.float64, device=matrix.device
        )
        root, failed = torch.linalg.cholesky_ex(damped)
        if int(failed):
            raise ValueError(f"damping: must be larger for these factors, got {damping:g}")
        inverses.append(torch.cholesky_inverse(root).to(matrix.dtype))
    return Factors(*inverses)


class KFAC(torch.optim.SGD):
    r"""Kronecker-factored natural gradient with momentum.

    .. math:: \Delta = P^{-1} \nabla L, \qquad
        \nu = \min\Bigl(1, \sqrt{c / (\eta^2\, \Delta^\top \nabla L)}\Bigr), \qquad
        m \leftarrow \beta m + \nu \Delta, \qquad \theta \leftarrow \theta - \eta m,

    where P holds the damped factors of each layer. The preconditioner comes before the momentum, as in Zhang et al.
    (2019, Section 4), and m moves as ``torch.optim.SGD``'s. The paper names damping and the "trust region constraint
    (also known as the KL clipping term)" as what it tuned, and prints neither: the damping is that of
    :func:`damped_inverses`; the clipping, with P for the Fisher matrix in the size of a step, follows Ba, Grosse and
    Martens (2017, Distributed second-order optimization using Kronecker-factored approximations). The k-th observed
    minibatch counts in the factors with weight :math:`1 - \min(1 - 1/k, \texttt{decay})` (Martens and Grosse,
    Section 5).

    Args:
        network: of linear maps and plain convolutions, each called once; it gives the logits of classes.
        lr: the step size :math:`\eta`, at least 0.
        momentum: :math:`\beta`, in [0, 1).
        damping: :math:`\lambda`, above 0.
        clip: c, above 0; infinite for none.
        decay: of the factors' moving averages, in [0, 1).
        generator: of the labels drawn, on the CPU.

    Raises:
        ValueError: if an argument is out of its range, or the network has a module that cannot be treated.

    Examples:
        >>> network = nn.Linear(3, 2)
        >>> _ = nn.init.zeros_(network.weight), nn.init.zeros_(network.bias)
        >>> optimizer = KFAC(network, lr=0.1, generator=torch.Generator().manual_seed(0))
        >>> inputs, labels = torch.eye(3), torch.tensor([0, 1, 1])
        >>> optimizer.observe(inputs)
        >>> loss = cross_entropy(network(inputs), labels)
        >>> loss.backward()
        >>> optimizer.step()
        >>> bool(cross_entropy(network(inputs), labels) < loss)
        True
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        momentum: float = 0.0,
        *,
        damping: float = 1e-3,
        clip: float = 1e-3,
        decay: float = 0.9,
        generator: torch.Generator,
    ) -> None:
        checks.number("lr", lr, "[0, inf)")
        checks.number("momentum", momentum, "[0, 1)")
        self._damping = checks.number("damping", damping, "(0, inf)")
        self._clip = checks.number("clip", clip, "(0, inf]")
        self._decay = checks.number("decay", decay, "[0, 1)")
        self._generator = seeded("generator", generator)
        self._network, self._layers = network, layers(network)
        self._observed = 0
        self.factors: dict[str, Factors] = {}
        self._inverses: dict[str, Factors] = {}
        super().__init__(network.parameters(), lr, momentum)

    def observe(self, inputs: Tensor) -> None:
        """Take a minibatch into the factors' moving averages, and renew their inverses.

        Args:
            inputs: shape (n, ...).

        Raises:
            ValueError: as :func:`kronecker_factors` and :func:`damped_inverses`; factors and inverses then stay.
        """
        new = kronecker_factors(self._network, inputs, self._generator)
        kept = min(1 - 1 / (self._observed + 1), self._decay)
        for name, old in self.factors.items():
            A, S = (kept * a + (1 - kept) * b for a, b in zip(old, new[name], strict=True))
            new[name] = Factors(A, S)
        inverses = {name: damped_inverses(f, self._damping) for name, f in new.items()}
        self.factors, self._inverses, self._observed = new, inverses, self._observed + 1

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the parameters' ``.grad``, which stays as it is.

        Raises:
            ValueError: if nothing was observed yet, a closure is given, or a parameter has no gradient; the parameters
                then stay.
        """
        if closure is not None:
            raise ValueError("closure: must be None")
        if not self._inverses:
            raise ValueError("network: its factors must be observed before the first step")
        gradients: dict[Tensor, Tensor] = {}
        steps: dict[Tensor, Tensor] = {}
        for name, layer in self._layers.items():
            for p in layer.parameters(recurse=False):
                if p.grad is None:
                    raise ValueError(f"network: module {name} has a parameter without gradient")
                gradients[p] = p.grad
            steps |= self._preconditioned(layer, self._inverses[name])
        size = sum(float((g * steps[p]).sum()) for p, g in gradients.items())
        rate: float = self.param_groups[0]["lr"]
        share = min(1.0, (self._clip / max(rate**2 * size, 1e-300)) ** 0.5)
        try:
            for parameter, taken in steps.items():
                parameter.grad = share * taken
            super().step()
        finally:
            for parameter, gradient in gradients.items():
                parameter.grad = gradient

    @staticmethod
    def _preconditioned(layer: Layer, inverses: Factors) -> dict[Tensor, Tensor]:
        """Inverse times gradient, for weight and bias."""
        columns = [
            cast(Tensor, p.grad).reshape(len(p), -1)
            for p in (layer.weight, layer.bias)
            if p is not None
        ]
        taken = inverses.outputs @ torch.cat(columns, 1) @ inverses.inputs
        if layer.bias is None:
            return {layer.weight: taken.view_as(layer.weight)}
        return {
            layer.weight: taken[:, :-1].reshape(layer.weight.shape),
            layer.bias: taken[:, -1].clone(),
        }
