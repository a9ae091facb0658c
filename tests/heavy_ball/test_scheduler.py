"""ScaledMomentum: the rule by hand, in PyTorch's loops, beside PyTorch's schedulers, saved and loaded."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from flatter_lib.heavy_ball import ScaledMomentum

from ..refusals import refuses


def weight(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values or (1.0,), dtype=torch.float64))


def sgd(lr: float = 0.1, **options: Any) -> SGD:
    return SGD([weight()], lr=lr, momentum=0.9, **options)


def pull(optimizer: Optimizer, scale: float = 1.0) -> None:
    """Give every parameter the gradient of half its square, and take a step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = scale * parameter.detach().clone()
    optimizer.step()


def momenta(optimizer: Optimizer) -> list[float]:
    return [float(group["momentum"]) for group in optimizer.param_groups]


def rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


# --- by hand -----------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    optimizer = sgd(lr=0.125)
    halve = ExponentialLR(optimizer, gamma=1 / 8)
    scheduler = ScaledMomentum(
        optimizer, prefactor=2.0
    )  # 1 - 2 (1/8)^(2/3) = 1/2, then 1 - 2/16, ...
    seen = [*momenta(optimizer)]
    for _ in range(2):
        pull(optimizer)
        halve.step()
        scheduler.step()
        seen += momenta(optimizer)
        assert scheduler.get_last_momentum() == momenta(optimizer)
        scheduler.get_last_momentum().clear()  # the caller's own
        assert scheduler.get_last_momentum() == momenta(optimizer)
    assert seen == pytest.approx([1 / 2, 7 / 8, 31 / 32], rel=1e-15)


def test_the_weights_are_those_of_the_recursion_by_hand() -> None:
    parameter = weight(1.0, -2.0)
    optimizer = SGD([parameter], lr=0.2, momentum=0.9)
    cosine = CosineAnnealingLR(optimizer, T_max=9)
    scheduler = ScaledMomentum(optimizer, 0.7, 0.5)
    w, v = np.array([1.0, -2.0]), np.zeros(2)
    for k in range(9):
        lr = 0.1 * (1 + math.cos(math.pi * k / 9))
        v = (1 - 0.7 * math.sqrt(lr)) * v + w
        w = w - lr * v
        pull(optimizer)
        cosine.step()
        scheduler.step()
        np.testing.assert_allclose(parameter.detach().numpy(), w, rtol=1e-13)


def test_it_never_changes_a_learning_rate() -> None:
    optimizer = sgd(lr=0.3)
    scheduler = ScaledMomentum(optimizer)
    for lr in (0.3, 0.7, 0.0, 1e-9):
        optimizer.param_groups[0]["lr"] = lr
        pull(optimizer)
        scheduler.step()
        assert rates(optimizer) == [lr]
        assert scheduler.get_last_lr() == [lr]


# --- the bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(0.0, 0.98), (1e-9, 0.98), (-1e-18, 0.98), (0.125, 0.75), (0.9, 0.5), (50.0, 0.5)],
)
def test_the_momentum_stays_in_its_range(lr: float, expected: float) -> None:
    optimizer = sgd()
    optimizer.param_groups[0]["lr"] = lr
    scheduler = ScaledMomentum(optimizer, min_momentum=0.5, max_momentum=0.98)
    assert scheduler.get_last_momentum() == pytest.approx([expected], rel=1e-15)
    assert momenta(optimizer) == scheduler.get_last_momentum()


def test_a_linear_decay_may_end_a_rounding_error_below_zero() -> None:
    optimizer = sgd(lr=0.1)
    decay = LinearLR(optimizer, start_factor=0.7, end_factor=0.0, total_iters=3)
    scheduler = ScaledMomentum(optimizer)
    for _ in range(3):
        pull(optimizer)
        decay.step()
        scheduler.step()
    assert -1e-16 < rates(optimizer)[0] <= 0
    assert momenta(optimizer) == [0.999]


@pytest.mark.parametrize("nesterov", [False, True])
def test_plain_sgd_where_the_rule_says_no_momentum_and_no_stale_buffer_after_it(
    nesterov: bool,
) -> None:
    parameter = weight()
    optimizer = SGD([parameter], lr=0.001, momentum=0.9, nesterov=nesterov)
    scheduler = ScaledMomentum(optimizer)
    w, v, lr = 1.0, 0.0, 0.001
    for gradient, next_lr in ((1e3, 2.0), (1.0, 2.0), (-1.0, 0.001), (1.0, 0.001), (1.0, 0.001)):
        beta = max(0.0, 1 - lr ** (2 / 3))
        v = beta * v + gradient
        w -= lr * (gradient + beta * v if nesterov else v)
        assert scheduler.get_last_momentum() == pytest.approx([beta], rel=1e-15)
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        assert parameter.item() == pytest.approx(w, rel=1e-12)
        optimizer.param_groups[0]["lr"] = lr = next_lr
        scheduler.step()


# --- groups and optimizers ---------------------------------------------------------------------------------------


def two_groups() -> SGD:
    return SGD(
        [{"params": [weight()], "lr": 0.1}, {"params": [weight()], "lr": 0.01}], momentum=0.9
    )


@pytest.mark.parametrize(
    ("prefactor", "exponent"),
    [(1.0, 2 / 3), ([1.0, 0.5], 2 / 3), (1.0, (0.5, 1.0)), (np.float64(0.5), [0.5, 1])],
)
def test_two_groups(prefactor: float | Sequence[float], exponent: float | Sequence[float]) -> None:
    optimizer = two_groups()
    decay = ExponentialLR(optimizer, gamma=0.5)
    scheduler = ScaledMomentum(optimizer, prefactor, exponent)
    c, g = np.broadcast_to(prefactor, 2), np.broadcast_to(exponent, 2)
    for k in range(4):
        lr = np.array([0.1, 0.01]) / 2**k
        assert momenta(optimizer) == pytest.approx(np.minimum(1 - c * lr**g, 0.999))
        pull(optimizer)
        decay.step()
        scheduler.step()


def test_a_group_that_is_added_later() -> None:
    optimizer = sgd(lr=0.1)
    scheduler = ScaledMomentum(optimizer, 0.5)
    optimizer.add_param_group({"params": [weight()], "lr": 0.01})
    assert momenta(optimizer)[1] == 0.9
    pull(optimizer)
    scheduler.step()
    assert momenta(optimizer) == pytest.approx(1 - 0.5 * np.array([0.1, 0.01]) ** (2 / 3))


def test_a_group_that_is_added_later_needs_a_prefactor_of_its_own_if_the_others_have_one() -> None:
    optimizer = two_groups()
    scheduler = ScaledMomentum(optimizer, [1.0, 2.0])
    before = momenta(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 0.01})
    pull(optimizer)
    with pytest.raises(ValueError, match=r"^prefactor: .* each of the 3 parameter groups, got 2"):
        scheduler.step()
    assert momenta(optimizer) == [*before, 0.9]


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam(kind: type[Adam]) -> None:
    optimizer = kind([weight()], lr=0.01, betas=(0.9, 0.95))
    decay = ExponentialLR(optimizer, gamma=0.1)
    scheduler = ScaledMomentum(optimizer, 2.0)
    for k in range(3):
        beta1, beta2 = optimizer.param_groups[0]["betas"]
        assert beta1 == pytest.approx(1 - 2 * (0.01 * 0.1**k) ** (2 / 3))
        assert beta2 == 0.95
        pull(optimizer)
        decay.step()
        scheduler.step()


def test_rmsprop_that_was_built_without_momentum() -> None:
    optimizer = RMSprop([weight()], lr=2.0)
    scheduler = ScaledMomentum(optimizer)
    assert scheduler.get_last_momentum() == [0.0]
    pull(optimizer)
    optimizer.param_groups[0]["lr"] = 0.001
    scheduler.step()
    pull(optimizer)
    assert momenta(optimizer) == pytest.approx([0.99])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learning_rate_in_a_tensor_stays_in_its_tensor(dtype: torch.dtype) -> None:
    lr = torch.tensor(0.125, dtype=dtype)
    optimizer = SGD([weight()], lr=lr, momentum=0.9)
    decay = ExponentialLR(optimizer, gamma=1 / 8)
    scheduler = ScaledMomentum(optimizer)
    pull(optimizer)
    decay.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == 1 / 64
    [copy] = scheduler.get_lr()
    assert isinstance(copy, torch.Tensor)
    assert copy is not lr
    assert momenta(optimizer) == pytest.approx([15 / 16], rel=1e-15)


def test_a_momentum_in_a_tensor_stays_in_its_tensor() -> None:
    beta1 = torch.tensor(0.9)
    optimizer = Adam([weight()], lr=torch.tensor(0.125), betas=(beta1, torch.tensor(0.99)))
    ScaledMomentum(optimizer)
    assert optimizer.param_groups[0]["betas"][0] is beta1
    assert float(beta1) == 0.75


# --- beside PyTorch's schedulers ---------------------------------------------------------------------------------


def warmup_and_cosine(optimizer: Optimizer) -> LRScheduler:
    return SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.01, total_iters=5), CosineAnnealingLR(optimizer, T_max=15)],
        milestones=[5],
    )


def one_cycle(optimizer: Optimizer) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=0.5, total_steps=21, cycle_momentum=False)


def one_cycle_with_its_own_momentum(optimizer: Optimizer) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=0.5, total_steps=21)


def two_chained(optimizer: Optimizer) -> LRScheduler:
    return ChainedScheduler([ConstantLR(optimizer, 0.1, 3), ExponentialLR(optimizer, 0.9)])


SCHEDULES = [warmup_and_cosine, one_cycle, one_cycle_with_its_own_momentum, two_chained]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_beside_a_schedule(schedule: Callable[[Optimizer], LRScheduler]) -> None:
    alone, together = sgd(), sgd()
    reference, scheduled = schedule(alone), schedule(together)
    scheduler = ScaledMomentum(together, max_momentum=0.99)
    seen = []
    for _ in range(20):
        assert rates(together) == rates(alone)
        rule = 1 - np.array(rates(together)) ** (2 / 3)
        assert momenta(together) == pytest.approx(np.minimum(rule, 0.99))
        seen += momenta(together)
        for optimizer in (alone, together):
            pull(optimizer)
        reference.step()
        scheduled.step()
        scheduler.step()
    assert np.ptp(seen) > 0.04, "the schedule must move the momentum for this to mean anything"


# --- saved and loaded --------------------------------------------------------------------------------------------


def through_a_file(state: Any) -> Any:
    """Saved and loaded without unpickling anything but tensors and plain Python."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Run:
    """A network in training, all of whose state can be saved."""

    def __init__(self, optimizer: Callable[[Any], Optimizer], prefactor: Any) -> None:
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        generator = torch.Generator().manual_seed(0)
        for p in self.model.parameters():
            nn.init.uniform_(p, -0.5, 0.5, generator=generator)
        self.optimizer = optimizer(self.model)
        self.schedule = warmup_and_cosine(self.optimizer)
        self.scheduler = ScaledMomentum(self.optimizer, prefactor)

    def parts(self) -> list[Any]:
        return [self.model, self.optimizer, self.schedule, self.scheduler]

    def train(self, first: int, last: int) -> list[list[float]]:
        seen = []
        for k in range(first, last):
            x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
            self.optimizer.zero_grad()
            (self.model(x) - x.prod(dim=1, keepdim=True)).square().mean().backward()
            self.optimizer.step()
            self.schedule.step()
            self.scheduler.step()
            seen.append(self.scheduler.get_last_momentum())
        return seen


def by_layers(model: nn.Sequential) -> SGD:
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "lr": 0.2},
        {"params": model[2].parameters()},
    ]
    return SGD(groups, lr=0.05, momentum=0.9, nesterov=True)


def by_adam(model: nn.Sequential) -> Adam:
    return Adam(model.parameters(), lr=torch.tensor(0.05), betas=(0.9, 0.99))


@pytest.mark.parametrize(
    ("optimizer", "prefactor"),
    [(by_layers, [0.5, np.float64(1.0)]), (by_layers, np.float64(0.5)), (by_adam, 0.5)],
)
def test_a_run_that_was_saved_and_loaded_is_the_uninterrupted_one(
    optimizer: Callable[[Any], Optimizer], prefactor: Any
) -> None:
    whole = Run(optimizer, prefactor)
    expected = whole.train(0, 18)

    first = Run(optimizer, prefactor)
    seen = first.train(0, 8)
    saved = through_a_file([part.state_dict() for part in first.parts()])
    second = Run(optimizer, 7.0)  # what was saved wins over what it was built with
    for part, state in zip(second.parts(), saved, strict=True):
        part.load_state_dict(state)
    assert second.scheduler.get_last_momentum() == seen[-1]
    seen += second.train(8, 18)

    assert seen == expected
    for mine, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_that_was_saved_does_not_move_on() -> None:
    optimizer = sgd()
    scheduler = ScaledMomentum(optimizer)
    before = scheduler.state_dict()
    kept = list(before["_last_momentum"])
    optimizer.param_groups[0]["lr"] = 0.01
    pull(optimizer)
    scheduler.step()
    assert before["_last_momentum"] == kept != scheduler.get_last_momentum()


# --- what is refused ---------------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    good = {"optimizer": two_groups()}
    refuses(ScaledMomentum, good, prefactor=0.0, exponent=-0.5, min_momentum=-0.1, max_momentum=1.0)
    refuses(ScaledMomentum, good, prefactor=[1.0], exponent=[1.0, 1.0, 1.0])
    refuses(ScaledMomentum, good, prefactor=[[1.0, 2.0]])
    refuses(ScaledMomentum, good | {"max_momentum": 0.5}, min_momentum=0.9)
    assert momenta(good["optimizer"]) == [0.9, 0.9]


@pytest.mark.parametrize("kind", [torch.optim.Adagrad, torch.optim.Adadelta])
def test_an_optimizer_without_momentum_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^optimizer: must have `momentum` or `betas`"):
        ScaledMomentum(kind([weight()]))


def test_rmsprop_that_has_taken_steps_without_momentum_is_refused() -> None:
    optimizer = RMSprop([weight()])
    pull(optimizer)
    with pytest.raises(ValueError, match=r"^optimizer: RMSprop has taken steps with momentum 0"):
        ScaledMomentum(optimizer)
    assert momenta(optimizer) == [0.0]


def test_rmsprop_with_a_momentum_is_taken_on_after_steps() -> None:
    optimizer = RMSprop([weight()], momentum=0.5)
    pull(optimizer)
    scaled = ScaledMomentum(optimizer)
    pull(optimizer)
    assert momenta(optimizer) == scaled.get_last_momentum()
    assert momenta(optimizer) != [0.0]


def test_dampening_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^optimizer: dampening must be 0, got 0.9"):
        ScaledMomentum(sgd(dampening=0.9))
