r"""The scaling rule in a training loop: a PyTorch scheduler that sets the momentum from the learning rate."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any
from warnings import warn

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from flatter_lib import checks
from flatter_lib.heavy_ball.rule import plain

#: Stands for a momentum of 0. At an exact 0 ``torch.optim.SGD`` neither updates nor forgets its buffer, and a stale one
#: would come back with the momentum; times this number a buffer vanishes beside any gradient.
ZERO = 1e-20

#: Momenta that differ by less are one momentum, perhaps kept in float32.
SAME = 1e-6

OTHER_WRITER = (
    "optimizer: something else writes the momentum too (OneCycleLR or CyclicLR without cycle_momentum=False, a hand, a "
    "state that was loaded); ScaledMomentum overwrites it before each step"
)


class ScaledMomentum(LRScheduler):
    r"""Keeps :math:`1 - \beta = C \eta^\gamma` in every parameter group, whatever schedules the learning rate.

    A ``torch.optim.lr_scheduler`` that reads the learning rate :math:`\eta` and sets the momentum :math:`\beta`; it
    never changes a learning rate:

    .. code-block:: python

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        cosine = CosineAnnealingLR(optimizer, T_max=steps)
        momentum = ScaledMomentum(optimizer)
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            cosine.step()
            momentum.step()

    **The prefactor.** Without one, each group's own pair gives it: the momentum stays what it is at the group's
    ``initial_lr``, the rate before any schedule, and follows from there (:func:`calibrate`). The pair is kept in the
    group as ``initial_pair``, is saved with the optimizer, and is not taken again. Beside
    ``OneCycleLR`` or a cycle of momenta that was built earlier the pair is gone, and a prefactor must be given. For
    ``CyclicLR`` the ``initial_lr`` is the base of the cycle.

    **When it acts.** At :meth:`step`, and once more before each step of the optimizer, as long as the scheduler lives.
    So it does not matter whether it is built or stepped before or after the schedulers of the learning rate, and a
    parameter group that is added later has its momentum from its first step on. Only a step that is replayed from a
    captured CUDA graph has :meth:`step` alone: there build and step it after the others, with the momentum in a
    tensor. Every way to schedule a learning rate composes with it. Whatever else writes the momentum is overwritten,
    with a warning.

    **Which optimizers.** The rule (Cowsik et al. 2022, section 1.1) is that of SGD, where the momentum also sets the
    effective step :math:`\eta / (1 - \beta)`. Plain SGD becomes SGD with momentum, with a buffer as large as its
    weights, and a warning says so. Nesterov's momentum has the same effective step. ``dampening`` would have to follow
    the momentum and is refused. ``RMSprop`` and ``Muon`` are refused: their momentum moves gradients that have been
    divided by their size, which the rule has nothing to say about. An optimizer from elsewhere with an entry
    ``momentum`` is taken to mean what SGD means.

    In the Adam family the first of ``betas`` is set, and the exponent must be given. Adam *averages*: its step does not
    contain :math:`1/(1-\beta)`. SGD with step :math:`\eta` averages with the step :math:`s = \eta/(1-\beta)`, in which
    the rule reads :math:`1 - \beta = C^3 s^2`: an averaged gradient has the exponent 2. Adam also divides by the
    gradient's size, which makes the noise independent of its strength, so not even this is derived for it. Its bias
    correction :math:`1 - \beta_1^k` assumes a constant :math:`\beta_1`: when that rises within the first
    :math:`1/(1-\beta_1)` steps, steps are too long for a while.

    **Weight decay.** In ``torch.optim.SGD`` it is part of the gradient, and the rule's equivalences hold with it: at
    equal effective step any momentum comes to the same weights at the same speed, that of the loss with
    :math:`\lambda |w|^2 / 2`. A schedule that the rule follows decays weights by the effective step, as its cube root.
    *Decoupled* decay (AdamW) multiplies by :math:`1 - \eta\lambda` in each step, without the momentum: at equal
    effective step it is weaker by :math:`1 - \beta`, so that the momentum moves the weights at which the run ends.

    **What becomes of the buffer.** It is left alone. ``torch.optim.SGD`` keeps :math:`v_{k+1} = \beta v_k + g_k` and
    moves by :math:`\eta v_{k+1}`: a new learning rate acts at once, a new momentum over the following
    :math:`1/(1-\beta)` steps. A schedule that is slow on that scale is followed closely. After a sudden drop of the
    learning rate the steps are too short for that time, by up to the :math:`\gamma`-th power of the drop; after a
    sudden rise they are too long by as much, which is one more reason to warm up.

    **What a schedule does.** The effective step is :math:`\eta^{1-\gamma} / C`, for :math:`\gamma = 2/3` the *cube
    root* of the learning rate: a warm-up begins nearer to full strength and a decay anneals less than the learning rate
    alone would say, down to where ``max_momentum`` holds the momentum and the effective step falls as :math:`\eta`. In
    a decay to 0 that can cost accuracy; the momentum of the peak as ``max_momentum`` holds it there.

    Args:
        optimizer: the optimizer whose momentum is set.
        prefactor: :math:`C > 0`, one number, or one for each parameter group in a list, tuple, array or tensor; without
            one, that of each group's own pair.
        exponent: :math:`\gamma \ge 0`, as many; 0 is a fixed momentum. Without one 2/3, for SGD.
        min_momentum: the momentum is never below; a 0 is set as 1e-20, so that SGD keeps its buffer up to date.
        max_momentum: the momentum is never above, also at a learning rate of 0, where the rule says 1.
        last_epoch: as in every scheduler of PyTorch; leave it alone unless you resume by it.

    Raises:
        ValueError: if a number is out of its range, there is not one for each parameter group, the optimizer has no
            momentum that the rule is for, or a group has no pair to take the prefactor from. The message names the
            argument.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        >>> decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1 / 8)
        >>> momentum = ScaledMomentum(optimizer)
        >>> for _ in range(3):
        ...     print([f"{beta:.5f}" for beta in momentum.get_last_momentum()])
        ...     optimizer.step()
        ...     decay.step()
        ...     momentum.step()
        ['0.90000']
        ['0.97500']
        ['0.99375']
    """

    def __init__(
        self,
        optimizer: Optimizer,
        prefactor: ArrayLike | Tensor | None = None,
        exponent: ArrayLike | Tensor | None = None,
        *,
        min_momentum: float = 0.0,
        max_momentum: float = 0.999,
        last_epoch: int = -1,
    ) -> None:
        self.prefactor = _numbers("prefactor", prefactor, "(0, inf)")
        self.exponent = _numbers("exponent", exponent, "[0, inf)")
        self.max_momentum = checks.number("max_momentum", max_momentum, "[0, 1)")
        self.min_momentum = checks.number("min_momentum", min_momentum, f"[0, {self.max_momentum}]")
        self._last_momentum: list[float] = []
        super().__init__(optimizer, last_epoch)
        _before_each_step(self)

    def get_lr(self) -> list[float | Tensor]:
        """Set each group's momentum, and return the learning rates as they are.

        Called by :meth:`step`. As with ``CyclicLR`` of PyTorch the momentum is set on the side.

        Raises:
            ValueError: for a group that has been added and that the constructor would refuse.
        """
        self._apply()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]

    def get_last_momentum(self) -> list[float]:
        """The momentum of each parameter group, as the rule and its bounds gave it last."""
        return list(self._last_momentum)

    def _apply(self) -> None:
        groups = self.optimizer.param_groups
        prefactors = _each("prefactor", self.prefactor, len(groups))
        exponents = _each("exponent", self.exponent, len(groups))
        for group in groups:
            self._check(group)
        if any("initial_pair" not in group for group in groups):
            self._adopt(groups)
        momenta = [self._momentum(*of) for of in zip(groups, prefactors, exponents, strict=True)]
        found = [float(_momentum_of(group)) for group in groups]
        for now, last, rule in zip(found, self._last_momentum, momenta, strict=False):
            if abs(now - last) > SAME and abs(now - rule) > SAME:
                warn(OTHER_WRITER, stacklevel=2)
        for group, momentum in zip(groups, momenta, strict=True):
            _set(group, max(momentum, ZERO))
        self._last_momentum = momenta

    def _momentum(
        self, group: dict[str, Any], prefactor: float | None, exponent: float | None
    ) -> float:
        if prefactor is None:
            rate, momentum = group["initial_pair"]
            rest = 1.0 - momentum
        else:
            rest, rate = prefactor, 1.0
        # A schedule that ends at 0 may end a rounding error below it, where a power is not real.
        step = max(float(group["lr"]), 0.0) / rate
        scaled: float = 1.0 - rest * step ** (2 / 3 if exponent is None else exponent)
        return min(max(scaled, self.min_momentum), self.max_momentum)

    def _check(self, group: dict[str, Any]) -> None:
        kind = type(self.optimizer)
        if "momentum" not in group and "betas" not in group:
            raise ValueError(
                "optimizer: must have `momentum` or `betas` in its parameter groups; this one has neither"
            )
        if group.get("dampening", 0) != 0:
            raise ValueError(
                f"optimizer: dampening must be 0, got {group['dampening']:g}: it would stay while the momentum moves"
            )
        if (
            "momentum" in group
            and kind.__module__.startswith("torch.")
            and not issubclass(kind, SGD)
        ):
            raise ValueError(
                f"optimizer: must be SGD or have `betas`, got {kind.__name__}, whose momentum moves gradients that "
                "have been divided by their size"
            )
        if "momentum" not in group and self.exponent is None:
            raise ValueError(
                "exponent: must be given for an optimizer with `betas`, got None: Adam averages the gradient, its step "
                "does not contain 1/(1 - beta), and 2/3 is not its exponent"
            )
        if self.prefactor is None and "initial_pair" not in group:
            self._check_pair(*_pair(group), cycled="max_lr" in group or "base_momentum" in group)

    def _check_pair(self, rate: float, momentum: float, cycled: bool) -> None:
        """Whether the momentum of a group can be kept at its own rate."""
        if cycled:
            raise ValueError(
                "prefactor: must be given where OneCycleLR or a cycle of momenta has replaced the optimizer's own "
                "learning rate or momentum: calibrate(max_lr, momentum), or build ScaledMomentum first"
            )
        if not 0.0 < rate < float("inf"):
            raise ValueError(
                f"optimizer: its learning rate must be in (0, inf), got {rate:g}, or a prefactor given"
            )
        if not self.min_momentum <= momentum <= self.max_momentum:
            raise ValueError(
                f"optimizer: its momentum must be in [{self.min_momentum:g}, {self.max_momentum:g}], got "
                f"{momentum:g}; move min_momentum or max_momentum, or give a prefactor"
            )

    @staticmethod
    def _adopt(groups: list[dict[str, Any]]) -> None:
        """Keep the pairs that the groups come with, and give each a momentum of its own to write."""
        places = [entry.data_ptr() for group in groups for entry in _tensors(group)]
        for group in groups:
            momentum = _momentum_of(group)
            if isinstance(momentum, Tensor) and places.count(momentum.data_ptr()) > 1:
                _replace(group, momentum.clone())
            if "initial_pair" not in group and momentum == 0 and "momentum" in group:
                warn(
                    "optimizer: a group has momentum 0; under ScaledMomentum plain SGD becomes SGD with momentum, and "
                    "keeps a buffer as large as its weights",
                    stacklevel=2,
                )
            group.setdefault("initial_pair", _pair(group))


def _before_each_step(scheduler: ScaledMomentum) -> None:
    """Have the rule applied before each step of the optimizer, until the scheduler is gone."""
    alive = weakref.ref(scheduler)

    def apply(*_: Any) -> None:
        started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        if started and torch.cuda.is_current_stream_capturing():
            return
        if (rule := alive()) is not None:
            rule._apply()

    weakref.finalize(scheduler, scheduler.optimizer.register_step_pre_hook(apply).remove)


def _momentum_of(group: dict[str, Any]) -> float | Tensor:
    momentum: float | Tensor = group["momentum"] if "momentum" in group else group["betas"][0]
    return momentum


def _pair(group: dict[str, Any]) -> tuple[float, float]:
    """Learning rate and momentum that a group comes with, before any schedule."""
    return float(group.get("initial_lr", group["lr"])), float(_momentum_of(group))


def _replace(group: dict[str, Any], momentum: float | Tensor) -> None:
    if "momentum" in group:
        group["momentum"] = momentum
    else:
        group["betas"] = (momentum, *group["betas"][1:])


def _set(group: dict[str, Any], momentum: float) -> None:
    """Set the momentum of a group; a tensor keeps its identity, as captured graphs need it."""
    old = _momentum_of(group)
    _replace(group, old.fill_(momentum) if isinstance(old, Tensor) else momentum)


def _tensors(group: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors among the options of a group, as often as they stand there."""
    for name, entry in group.items():
        for option in entry if isinstance(entry, list | tuple) and name != "params" else [entry]:
            if isinstance(option, Tensor):
                yield option


def _numbers(name: str, value: ArrayLike | Tensor | None, interval: str) -> Any:
    """None, one Python number or a list of them, which a state dict can hold without pickling."""
    if value is None:
        return None
    array = checks.numbers(name, plain(value), interval)
    return [checks.number(name, row) for row in array] if array.ndim else float(array)


def _each(name: str, value: Any, groups: int) -> list[float | None]:
    if not isinstance(value, list):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name}: must be one number, or one for each of the {groups} parameter groups, got {len(value)}"
        )
    return value
