r"""The best constant step size, momentum or averaging: as few steps to a target as any setting needs.

The least number of steps is :math:`t^* = \min \{t : \min_x R_t(x) \le \text{target}\}`, :math:`x` being the
hyperparameters and :math:`R_t` the exact risk after t steps. At fixed t the risk is a polynomial in the
hyperparameters, so the inner minimum is found by Newton's method and not on a grid
(:mod:`flatter_lib.nqm.descent`); the outer one by interpolation in :math:`\log t`, down to neighbouring whole numbers
of which one suffices and the next ones below do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from flatter_lib import checks
from flatter_lib.nqm.descent import Place, fewest_steps
from flatter_lib.nqm.exact import RANGES, Modes
from flatter_lib.nqm.search_space import SearchSpace, coarse_guesses, first_guess
from flatter_lib.nqm.spectrum import NoisyQuadratic

OPTIMIZERS = ("sgd", "momentum", "ema")


@dataclass(frozen=True)
class Tuned:
    """The fewest steps to a target, and a setting that needs no more.

    Where many settings need as few steps, this one has the least risk after them.

    Attributes:
        steps: the number of steps.
        lr: step size of the update, before any division by 1 - momentum.
        momentum: 0 without momentum.
        averaging: 0 without averaging.
    """

    steps: int
    lr: float
    momentum: float = 0.0
    averaging: float = 0.0

    @property
    def effective_lr(self) -> float:
        r"""The step size over :math:`1 - \beta`, as in Figure 14 of Zhang et al. (2019)."""
        return self.lr / (1.0 - self.momentum)


def tune(
    model: NoisyQuadratic,
    target: float,
    batch_size: float,
    optimizer: str = "sgd",
    preconditioning: float = 0.0,
    *,
    momentum: float | None = None,
) -> Tuned:
    r"""The constant hyperparameters that reach a target in the fewest steps, not confined to any grid.

    ``"sgd"`` tunes the step size; ``"momentum"`` the step size and the momentum, jointly; ``"ema"`` the step size and
    the averaging coefficient of equation (11) of Zhang et al. (2019), jointly. No momentum and no averaging are among
    the choices. Figures 3a, 4 and 14 of the paper search for these on grids.

    For step size alone and with averaging the risk has one minimum as far as brute force has found; with momentum the
    oscillations of the stiff modes cut it into many small dips around that of their mean, and the deepest is looked
    for among a few hundred places there.

    Args:
        model: the model.
        target: the risk to reach, positive.
        batch_size: :math:`B > 0`; inf leaves no noise.
        optimizer: "sgd", "momentum" or "ema".
        preconditioning: :math:`p \in [0, 1]`.
        momentum: hold the momentum at this value and tune the step size alone; for ``"momentum"`` only.

    Returns:
        The optimum.

    Raises:
        ValueError: if an argument is out of its range, or the optimizer unknown.

    Examples:
        >>> model = NoisyQuadratic.power_law(dimension=100)
        >>> print(tune(model, target=0.01, batch_size=64).steps)
        536
        >>> print(tune(model, target=0.01, batch_size=64, optimizer="ema").steps)
        145
    """
    goal = checks.number("target", target, RANGES["target"])
    batch = checks.number("batch_size", batch_size, RANGES["batch_size"])
    checks.one_of("optimizer", optimizer, OPTIMIZERS)
    held = None
    if momentum is not None:
        held = checks.number("momentum", momentum, RANGES["momentum"])
        if optimizer != "momentum":
            raise ValueError(
                f'momentum: is held for the optimizer "momentum" only; got {optimizer!r}'
            )
    modes = Modes(model.preconditioned(preconditioning))
    if modes.weight.sum() <= goal:
        return Tuned(0, 0.0, held or 0.0)
    alone = SearchSpace(modes, goal, batch, momentum=held or 0.0)
    best = fewest_steps(alone, [first_guess(alone)])
    if optimizer == "sgd" or held is not None:
        return _tuned(alone, best)
    both = SearchSpace(modes, goal, batch, second=optimizer)
    other = fewest_steps(both, coarse_guesses(both, best))
    if (other.steps, other.excess) < (best.steps, best.excess):
        return _tuned(both, other)
    return _tuned(alone, best)


def _tuned(settings: SearchSpace, place: Place) -> Tuned:
    lr, momentum, averaging = (float(value[0]) for value in settings.at(place.x[None]))
    return Tuned(place.steps, lr, momentum, averaging)
