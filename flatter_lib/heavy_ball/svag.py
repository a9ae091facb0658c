r"""SVAG: stochastic gradients whose noise is amplified while the step shrinks, on the way to the limit of small steps.

.. math:: \hat g = \frac{1 + \sqrt{2l-1}}{2}\, g_1 + \frac{1 - \sqrt{2l-1}}{2}\, g_2

of two independent minibatches has the mean of one gradient and l times its covariance, since the coefficients add up to
1 and their squares to l. With the step :math:`\eta/l` and l times as many steps, SGD diffuses as far in the same time
for every l, and goes to its stochastic differential equation as l grows (Li, Malladi & Arora, arXiv 2102.12470).
A difference that remains is no matter of the step's size; one that fades was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import sqrt
from typing import Any, TypeAlias, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from flatter_lib import checks

#: A number, an array or a tensor.
Gradient: TypeAlias = Any
Batch = TypeVar("Batch")


def coefficients(l: float) -> tuple[float, float]:
    """The factors of the two gradients.

    Args:
        l: how many times the covariance, at least 1; 1 is SGD on the first minibatch.

    Raises:
        ValueError: if l is below 1 or not finite.

    Examples:
        >>> coefficients(1), coefficients(5)
        ((1.0, 0.0), (2.0, -1.0))
    """
    root = sqrt(2 * checks.number("l", l, "[1, inf)") - 1)
    return (1 + root) / 2, (1 - root) / 2


def svag(gradient_1: Gradient, gradient_2: Gradient, l: float) -> Gradient:
    """The gradient of a step of SVAG, from those of two independent minibatches.

    Args:
        gradient_1: a number, an array or a tensor.
        gradient_2: likewise.
        l: see `coefficients`.

    Returns:
        Of the same kind and shape.

    Raises:
        ValueError: if l is below 1 or not finite.

    Examples:
        >>> svag(3.0, 1.0, l=5)
        5.0
    """
    first, second = coefficients(l)
    return first * gradient_1 + second * gradient_2


def svag_step(
    optimizer: Optimizer, loss: Callable[[Batch], Tensor], pair: tuple[Batch, Batch], l: float
) -> float:
    r"""One step of any optimizer on the SVAG gradient of any module.

    The gradient is linear in the loss, so that the losses are weighted and the module is none the wiser. The optimizer
    must have the step :math:`\eta/l`. Its momentum is left alone: with :math:`\beta` kept its memory becomes l times
    shorter beside the training, with :math:`1-\beta` divided by l it stays as long.

    Args:
        optimizer: of the module's parameters.
        loss: maps a minibatch to the module's mean loss on it; called twice.
        pair: two minibatches, independent; see `pairs`.
        l: see `coefficients`.

    Returns:
        The mean of the two losses, before the step.

    Raises:
        ValueError: if l is below 1 or not finite.

    Examples:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor(1.0))
        >>> loss = svag_step(torch.optim.SGD([w], lr=0.1), lambda x: x * w, (torch.tensor(3.0), torch.tensor(1.0)), l=5)
        >>> print(loss, w.item())
        2.0 0.5
    """
    factors = coefficients(l)
    optimizer.zero_grad()
    values = []
    for factor, batch in zip(factors, pair, strict=True):
        value = loss(batch)
        (factor * value).backward()  # type: ignore[no-untyped-call]
        values.append(value.item())
    optimizer.step()
    return float(sum(values) / 2)


def pairs(loader: Iterable[Batch]) -> Iterator[tuple[Batch, Batch]]:
    r"""The minibatches of any loader, two by two; an odd one out is dropped.

    A loader that shuffles gives disjoint minibatches. These are not quite independent: with B of N examples each, the
    covariance is l times that of a minibatch and :math:`(l-1)\,B/(N-B)` of it more.

    Args:
        loader: of minibatches.

    Examples:
        >>> list(pairs(range(5)))
        [(0, 1), (2, 3)]
    """
    batches = iter(loader)
    return zip(batches, batches, strict=False)
