r"""The scaling rule in a training loop: a PyTorch scheduler that sets the momentum from the learning rate."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor
from torch.optim import Optimizer, RMSprop
from torch.optim.lr_scheduler import LRScheduler

from flatter_lib import checks
from flatter_lib.heavy_ball.rule import calibrate

#: Stands for a momentum of 0. At an exact 0 ``torch.optim.SGD`` neither updates nor forgets its buffer, and a stale one
#: would come back with the momentum; times this number a buffer vanishes beside any gradient.
ZERO = 1e-20


class ScaledMomentum(LRScheduler):
    r"""Keeps :math:`1 - \beta = C \eta^\gamma` in every parameter group, whatever schedules the learning rate.

    A ``torch.optim.lr_scheduler`` that reads the learning rate :math:`\eta` and sets the momentum :math:`\beta`; it
    never changes a learning rate. Build it after the schedulers that do, and step it after them; stepped before them
    it follows one step late, and nothing says so:

    .. code-block:: python

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        cosine = CosineAnnealingLR(optimizer, T_max=steps)
        momentum = ScaledMomentum(optimizer, prefactor=calibrate(0.1, 0.9))
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            cosine.step()
            momentum.step()

    The rule has no memory of its own, so every way to schedule a learning rate composes with it: ``SequentialLR``,
    ``ReduceLROnPlateau``, one's own hand, ``ChainedScheduler([cosine, momentum])``. ``OneCycleLR`` and ``CyclicLR``
    want ``cycle_momentum=False``; what they do to the momentum is overwritten. A parameter group added later is set at
    the next step. A compiled ``optimizer.step`` is compiled once more when the momentum first changes, as PyTorch does
    with any number in a parameter group that turns out not to be constant.

    **Which optimizers.** Any with an entry ``momentum`` or ``betas`` in its parameter groups; of ``betas`` the first is
    set. The theory (Cowsik et al. 2022, section 1.1) is that of SGD, where the momentum also sets the effective step
    :math:`\eta / (1 - \beta)`. In the Adam family it does not, since Adam's average is normalised, and its bias
    correction :math:`1 - \beta_1^k` assumes a constant :math:`\beta_1`: when :math:`\beta_1` rises within its first
    :math:`1/(1-\beta_1)` steps, steps are too long for a while. Nesterov's momentum has the same effective step as
    heavy ball; ``dampening`` would have to follow the momentum and is refused. ``RMSprop`` makes room for a momentum
    at its first step or never, and is refused after steps without one.

    **What becomes of the buffer.** It is left alone. ``torch.optim.SGD`` keeps :math:`v_{k+1} = \beta v_k + g_k` and
    moves by :math:`\eta v_{k+1}`: a new learning rate acts at once, a new momentum over the following
    :math:`1/(1-\beta)` steps. A schedule that is slow on that scale is followed closely. After a sudden drop of the
    learning rate the steps are too short for that time, by up to the :math:`\gamma`-th power of the drop; after a
    sudden rise they are too long by as much, which is one more reason to warm up. Rescaling the buffer by the ratio of
    the :math:`1 - \beta` would let the effective step follow at once. It would also make another optimizer of SGD, the
    one with an averaged gradient, and a scheduler should not rewrite an optimizer's state.

    **What a schedule does.** The effective step is :math:`\eta^{1-\gamma} / C`, for :math:`\gamma = 2/3` the *cube
    root* of the learning rate: a warm-up begins nearer to full strength and a decay anneals less than the learning rate
    alone would say, down to where ``max_momentum`` holds the momentum and the effective step falls as :math:`\eta`. In
    a decay to 0 that can cost accuracy; the momentum of the peak as ``max_momentum`` holds it there.

    Args:
        optimizer: the optimizer whose momentum is set.
        prefactor: :math:`C > 0`, one number, or one for each parameter group; see :func:`calibrate`.
        exponent: :math:`\gamma \ge 0`, one number, or one for each parameter group; 0 is a fixed momentum.
        min_momentum: the momentum is never below; a 0 is set as 1e-20, so that SGD keeps its buffer up to date.
        max_momentum: the momentum is never above, also at a learning rate of 0, where the rule says 1.
        last_epoch: as in every scheduler of PyTorch; leave it alone unless you resume by it.

    Raises:
        ValueError: if a number is out of its range, there is not one for each parameter group, or the optimizer has no
            momentum to set, or no room for it. The message names the argument.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        >>> decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1 / 8)
        >>> momentum = ScaledMomentum(optimizer, calibrate(0.1, 0.9))
        >>> for _ in range(3):
        ...     print([f"{beta:.5f}" for beta in momentum.get_last_momentum()])
        ...     optimizer.step()
        ...     decay.step()
        ...     momentum.step()
        ['0.90000']
        ['0.97500']
        ['0.99375']
    """

    #: The prefactor that a known-good pair of learning rate and momentum implies.
    calibrate = staticmethod(calibrate)

    def __init__(
        self,
        optimizer: Optimizer,
        prefactor: ArrayLike = 1.0,
        exponent: ArrayLike = 2 / 3,
        *,
        min_momentum: float = 0.0,
        max_momentum: float = 0.999,
        last_epoch: int = -1,
    ) -> None:
        self.prefactor = _numbers("prefactor", prefactor, "(0, inf)")
        self.exponent = _numbers("exponent", exponent, "[0, inf)")
        self.max_momentum = checks.number("max_momentum", max_momentum, "[0, 1)")
        self.min_momentum = checks.number("min_momentum", min_momentum, f"[0, {self.max_momentum}]")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Set each group's momentum, and return the learning rates as they are.

        Called by :meth:`step`. As with ``CyclicLR`` of PyTorch the momentum is set on the side.

        Raises:
            ValueError: if there is not one prefactor and exponent for each parameter group, or no momentum to set.
        """
        groups = self.optimizer.param_groups
        prefactors = _each("prefactor", self.prefactor, len(groups))
        exponents = _each("exponent", self.exponent, len(groups))
        for group in groups:
            self._check_settable(group)
        self._last_momentum = [
            self._momentum(float(group["lr"]), prefactor, exponent)
            for group, prefactor, exponent in zip(groups, prefactors, exponents, strict=True)
        ]
        for group, momentum in zip(groups, self._last_momentum, strict=True):
            _set(group, max(momentum, ZERO))
        return [lr.clone() if isinstance(lr, Tensor) else lr for lr in (g["lr"] for g in groups)]

    def get_last_momentum(self) -> list[float]:
        """The momentum of each parameter group, as the rule and its bounds gave it at the last step."""
        return list(self._last_momentum)

    def _momentum(self, lr: float, prefactor: float, exponent: float) -> float:
        # A schedule that ends at 0 may end a rounding error below it, where a power is not real.
        momentum: float = 1.0 - prefactor * max(lr, 0.0) ** exponent
        return min(max(momentum, self.min_momentum), self.max_momentum)

    def _check_settable(self, group: dict[str, Any]) -> None:
        if "momentum" not in group and "betas" not in group:
            raise ValueError(
                "optimizer: must have `momentum` or `betas` in its parameter groups; this one has neither"
            )
        if group.get("dampening", 0) != 0:
            raise ValueError(
                f"optimizer: dampening must be 0, got {group['dampening']:g}: it would stay while the momentum moves"
            )
        states = filter(None, map(self.optimizer.state.get, group["params"]))
        if isinstance(self.optimizer, RMSprop) and any("momentum_buffer" not in s for s in states):
            raise ValueError(
                "optimizer: RMSprop has taken steps with momentum 0 and has no buffer for any other; "
                "build it with a momentum, or build the scheduler before its first step"
            )


def _set(group: dict[str, Any], momentum: float) -> None:
    """Set the momentum of a group; a tensor keeps its identity, as captured graphs need it."""
    if "momentum" in group:
        group["momentum"] = _like(group["momentum"], momentum)
    else:
        beta1, *others = group["betas"]
        group["betas"] = (_like(beta1, momentum), *others)


def _like(old: float | Tensor, new: float) -> float | Tensor:
    return old.fill_(new) if isinstance(old, Tensor) else new


def _numbers(name: str, value: ArrayLike, interval: str) -> float | list[float]:
    """One Python number or a list of them, which a state dict can hold without pickling."""
    array = checks.numbers(name, value, interval)
    return [checks.number(name, row) for row in array] if array.ndim else float(array)


def _each(name: str, value: float | list[float], groups: int) -> list[float]:
    if not isinstance(value, list):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name}: must be one number, or one for each of the {groups} parameter groups, got {len(value)}"
        )
    return value
