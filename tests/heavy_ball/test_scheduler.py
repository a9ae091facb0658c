"""ScaledMomentum: the rule by hand, in PyTorch's loops, beside PyTorch's schedulers, saved and loaded."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
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
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from flatter_lib.heavy_ball import ScaledMomentum, calibrate, effective_lr, scaled_momentum

from ..refusals import refuses
from ..seeding import seeded


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
    scheduler = ScaledMomentum(optimizer, 0.5)
    for lr in (0.3, 0.7, 0.0, 1e-9):
        optimizer.param_groups[0]["lr"] = lr
        pull(optimizer)
        scheduler.step()
        assert rates(optimizer) == [lr]
        assert scheduler.get_last_lr() == [lr]


# --- the prefactor of each group's own pair ----------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("lr", [1e-4, 0.1, 3.0])
def test_without_a_prefactor_the_momentum_stays_at_its_own_rate(lr: float, momentum: float) -> None:
    optimizer = SGD([weight()], lr=lr, momentum=momentum)
    scheduler = ScaledMomentum(optimizer)
    assert momenta(optimizer) == scheduler.get_last_momentum() == [momentum]
    optimizer.param_groups[0]["lr"] = lr / 8
    pull(optimizer)
    assert momenta(optimizer) == pytest.approx([scaled_momentum(lr / 8, calibrate(lr, momentum))])


def test_each_group_keeps_its_own_pair() -> None:
    pairs = [(0.1, 0.9), (0.01, 0.8), (1.0, 0.95)]
    optimizer = SGD([{"params": [weight()], "lr": lr, "momentum": m} for lr, m in pairs])
    decay = ExponentialLR(optimizer, gamma=1 / 8)
    scheduler = ScaledMomentum(optimizer, exponent=[2 / 3, 1 / 3, 1.0])
    assert momenta(optimizer) == [m for _, m in pairs]
    pull(optimizer)
    decay.step()
    scheduler.step()
    assert momenta(optimizer) == pytest.approx([1 - 0.1 / 4, 1 - 0.2 / 2, 1 - 0.05 / 8], rel=1e-14)


def test_built_again_on_an_optimizer_that_was_saved_in_the_middle_it_keeps_the_first_pair() -> None:
    optimizer = sgd(lr=0.1)
    decay = ExponentialLR(optimizer, gamma=1 / 8)
    scheduler = ScaledMomentum(optimizer)
    pull(optimizer)
    decay.step()
    scheduler.step()
    again = sgd(lr=0.1)
    again.load_state_dict(through_a_file(optimizer.state_dict()))
    ScaledMomentum(again)
    assert momenta(again) == pytest.approx([0.975], rel=1e-15)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"momentum": 0.9995}, {"momentum": 1.5}])
def test_a_pair_that_the_rule_cannot_keep_is_refused(change: dict[str, float]) -> None:
    pair: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, **change}
    optimizer = SGD([weight()], **pair)
    with pytest.raises(ValueError, match=r"^optimizer: its .* must be in"):
        ScaledMomentum(optimizer)
    assert momenta(optimizer) == [change.get("momentum", 0.9)]
    ScaledMomentum(optimizer, 0.5)


# --- the bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(0.0, 0.98), (1e-9, 0.98), (-1e-18, 0.98), (0.125, 0.75), (0.9, 0.5), (50.0, 0.5)],
)
def test_the_momentum_stays_in_its_range(lr: float, expected: float) -> None:
    optimizer = sgd()
    optimizer.param_groups[0]["lr"] = lr
    scheduler = ScaledMomentum(optimizer, 1.0, min_momentum=0.5, max_momentum=0.98)
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
    scheduler = ScaledMomentum(optimizer, 1.0)
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


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def two_groups() -> SGD:
    return SGD(
        [{"params": [weight()], "lr": 0.1}, {"params": [weight()], "lr": 0.01}], momentum=0.9
    )


@pytest.mark.parametrize(
    ("prefactor", "exponent"),
    [
        (1.0, 2 / 3),
        ([1.0, 0.5], 2 / 3),
        (1.0, (0.5, 1.0)),
        (np.float64(0.5), [0.5, 1]),
        (np.array([1.0, 0.5]), torch.tensor([0.5, 1.0])),
        ((torch.tensor(1.0), torch.tensor(0.5)), torch.tensor(0.5)),
        (torch.tensor([1.0, 0.5], requires_grad=True), np.array(2 / 3)),
        (torch.tensor([1.0, 0.5], dtype=torch.bfloat16), 2 / 3),
    ],
)
def test_two_groups(prefactor: Any, exponent: Any) -> None:
    optimizer = two_groups()
    decay = ExponentialLR(optimizer, gamma=0.5)
    scheduler = ScaledMomentum(optimizer, prefactor, exponent)
    c, g = (np.broadcast_to(np.array(plain(of)), 2) for of in (prefactor, exponent))
    for k in range(4):
        lr = np.array([0.1, 0.01]) / 2**k
        assert momenta(optimizer) == pytest.approx(np.minimum(1 - c * lr**g, 0.999))
        pull(optimizer)
        decay.step()
        scheduler.step()


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_calibrate_takes_pairs_in_any_kind_of_row_and_the_scheduler_what_it_gives(
    kind: Any,
) -> None:
    pairs = calibrate(kind([0.1, 0.01]), kind([0.9, 0.8]), kind([0.5, 1.0]))
    assert pairs == pytest.approx([0.1 / 0.1**0.5, 0.2 / 0.01], rel=1e-6)
    optimizer = two_groups()
    ScaledMomentum(optimizer, pairs, kind([0.5, 1.0]))
    assert momenta(optimizer) == pytest.approx([0.9, 0.8], rel=1e-6)


def test_calibrate_takes_what_a_group_holds() -> None:
    lr = torch.tensor(0.1, dtype=torch.bfloat16, requires_grad=True)
    assert calibrate(lr, torch.tensor(0.5)) == pytest.approx(0.5 / 0.1 ** (2 / 3), rel=1e-3)
    refuses(calibrate, {"lr": 0.1, "momentum": 0.9}, lr=torch.tensor([0.0]), momentum=[0.5, 1.0])


@pytest.mark.parametrize("prefactor", [None, 0.5])
def test_a_group_that_is_added_later_has_its_momentum_from_its_first_step_on(
    prefactor: float | None,
) -> None:
    optimizer = sgd(lr=0.1)
    scheduler = ScaledMomentum(optimizer, prefactor)
    optimizer.add_param_group({"params": [weight()], "lr": 0.01, "momentum": 0.8})
    pull(optimizer)
    expected = [0.9, 0.8] if prefactor is None else 1 - 0.5 * np.array([0.1, 0.01]) ** (2 / 3)
    assert momenta(optimizer) == pytest.approx(expected, rel=1e-15)
    optimizer.param_groups[1]["lr"] = 0.01 / 8
    scheduler.step()
    assert 1 - momenta(optimizer)[1] == pytest.approx((1 - expected[1]) / 4)


def test_a_group_that_is_added_later_needs_a_prefactor_of_its_own_if_the_others_have_one() -> None:
    optimizer = two_groups()
    scheduler = ScaledMomentum(optimizer, [1.0, 2.0])
    before = momenta(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 0.01})
    for step in (optimizer.step, scheduler.step):
        with pytest.raises(ValueError, match=r"^prefactor: .* each of the 3 parameter groups, got"):
            step()
    assert momenta(optimizer) == [*before, 0.9]


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam(kind: type[Adam]) -> None:
    optimizer = kind([weight()], lr=0.01, betas=(0.9, 0.95))
    decay = ExponentialLR(optimizer, gamma=0.1)
    scheduler = ScaledMomentum(optimizer, exponent=0.5)
    for k in range(3):
        beta1, beta2 = optimizer.param_groups[0]["betas"]
        assert beta1 == pytest.approx(1 - 0.1 * 0.1 ** (k / 2))
        assert beta2 == 0.95
        pull(optimizer)
        decay.step()
        scheduler.step()


def test_an_optimizer_that_averages_has_no_exponent_by_default() -> None:
    optimizer = Adam([weight()], lr=0.01)
    with pytest.raises(ValueError, match=r"^exponent: must be given for an optimizer with `betas`"):
        ScaledMomentum(optimizer, 2.0)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("lr", [1e-3, 0.02, 0.1])
def test_for_an_averaged_gradient_the_rule_has_the_exponent_two(lr: float) -> None:
    momentum = float(scaled_momentum(lr, 0.7))
    average_step = effective_lr(lr, momentum)
    assert scaled_momentum(average_step, 0.7**3, 2.0) == pytest.approx(momentum, rel=1e-12)
    w = torch.tensor(1.0, dtype=torch.float64)
    v = m = torch.zeros_like(w)
    a = b = w
    for k in range(30):  # SGD, and the same with an averaged gradient
        v, m = momentum * v + a + k, momentum * m + (1 - momentum) * (b + k)
        a, b = a - lr * v, b - average_step * m
    assert float(a) == pytest.approx(float(b), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learning_rate_in_a_tensor_stays_in_its_tensor(dtype: torch.dtype) -> None:
    lr = torch.tensor(0.125, dtype=dtype)
    optimizer = SGD([weight()], lr=lr, momentum=0.9)
    decay = ExponentialLR(optimizer, gamma=1 / 8)
    scheduler = ScaledMomentum(optimizer, 1.0)
    pull(optimizer)
    decay.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == 1 / 64
    [copy] = scheduler.get_lr()
    assert isinstance(copy, torch.Tensor)
    assert copy is not lr
    assert momenta(optimizer) == pytest.approx([15 / 16], rel=1e-15)


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"capturable": True}])
def test_a_momentum_in_a_tensor_stays_in_its_tensor(options: dict[str, bool]) -> None:
    beta1 = torch.tensor(0.9)
    optimizer = Adam(
        [weight()], lr=torch.tensor(0.125), betas=(beta1, torch.tensor(0.99)), **options
    )
    scheduler = ScaledMomentum(optimizer, 1.0, 2 / 3)
    assert optimizer.param_groups[0]["betas"][0] is beta1
    assert float(beta1) == 0.75
    if "capturable" not in options:  # PyTorch takes such steps on an accelerator only
        pull(optimizer)
        assert float(beta1) == 0.75
        scheduler.step()


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}])
def test_a_step_in_one_kernel_is_the_step_of_a_loop(options: dict[str, bool]) -> None:
    weights = []
    for way in ({"foreach": False}, options):
        parameter = weight(1.0, -2.0)
        optimizer = SGD([parameter], lr=torch.tensor(0.1), momentum=0.9, **way)
        decay = ExponentialLR(optimizer, gamma=0.5)
        scheduler = ScaledMomentum(optimizer)
        for _ in range(4):
            pull(optimizer)
            decay.step()
            scheduler.step()
        weights.append(parameter.detach())
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-12, atol=0)


def tied_to_beta2(beta: torch.Tensor) -> list[dict[str, Any]]:
    return [{"lr": 0.1, "betas": (beta, beta)}]


def one_for_all_groups(beta: torch.Tensor) -> list[dict[str, Any]]:
    return [{"lr": lr, "betas": (beta, torch.tensor(0.99))} for lr in (0.1, 0.01)]


def views_of_one_place(beta: torch.Tensor) -> list[dict[str, Any]]:
    return [{"lr": lr, "betas": (beta.view(()), torch.tensor(0.99))} for lr in (0.1, 0.01)]


@pytest.mark.parametrize("groups", [tied_to_beta2, one_for_all_groups, views_of_one_place])
def test_a_tensor_that_is_shared_passes_no_momentum_on(groups: Any) -> None:
    beta = torch.tensor(0.9, dtype=torch.float64)
    options = groups(beta)
    optimizer = Adam([{"params": [weight()], **group} for group in options])
    second = [float(group["betas"][1]) for group in options]
    ScaledMomentum(optimizer, 0.5, 1.0)
    found = [[float(b) for b in group["betas"]] for group in optimizer.param_groups]
    assert found == [
        pytest.approx([1 - 0.5 * group["lr"], b]) for group, b in zip(options, second, strict=True)
    ]
    assert float(beta) == 0.9


def test_groups_that_share_the_default_of_the_optimizer() -> None:
    betas = (torch.tensor(0.9), torch.tensor(0.99))
    groups: list[dict[str, Any]] = [
        {"params": [weight()], "lr": torch.tensor(lr)} for lr in (0.1, 0.01)
    ]
    optimizer = Adam(groups, betas=betas)
    ScaledMomentum(optimizer, 0.5, 1.0)
    assert [float(g["betas"][0]) for g in optimizer.param_groups] == pytest.approx([0.95, 0.995])


# --- what the momentum means -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_constant_gradient_moves_by_the_effective_step(nesterov: bool) -> None:
    parameter = weight()
    optimizer = SGD([parameter], lr=0.1, momentum=0.9, nesterov=nesterov)
    scheduler = ScaledMomentum(optimizer)
    optimizer.param_groups[0]["lr"] = 0.1 / 8
    for _ in range(2000):
        before = parameter.item()
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert scheduler.get_last_momentum() == pytest.approx([0.975])
    assert before - parameter.item() == pytest.approx(1.0 / 2, rel=1e-9)  # 0.1/(1 - 0.9), halved


def rest(momentum: float, decoupled: bool) -> tuple[float, float]:
    """Where weight decay leaves w in the loss (w - 1)^2 / 2, and how fast: at the effective step 0.005, decay 0.5."""
    parameter, lr, decay = weight(3.0), 0.005 * (1 - momentum), 0.5
    optimizer = SGD([parameter], lr=lr, momentum=momentum, weight_decay=0 if decoupled else decay)
    path = []
    for _ in range(4500):
        parameter.grad = parameter.detach() - 1
        if decoupled:
            parameter.data.mul_(1 - lr * decay)
        optimizer.step()
        path.append(parameter.item())
    away = np.abs(np.array(path[200:400]) - path[-1])
    return path[-1], float(np.log(away[0] / away[-1]) / 199)


def test_the_equivalence_at_equal_effective_step_survives_coupled_weight_decay_only() -> None:
    (plain_at, plain_speed), (at, speed) = rest(0.0, False), rest(0.9, False)
    assert at == pytest.approx(plain_at, rel=1e-9)
    assert at == pytest.approx(1 / 1.5, rel=1e-9)  # the minimum of the loss with its L2 term
    assert speed == pytest.approx(plain_speed, rel=0.1)
    assert rest(0.0, True)[0] == pytest.approx(1 / 1.5, rel=0.02)
    assert rest(0.9, True)[0] == pytest.approx(1 / 1.05, rel=0.02)  # decay weaker by 1 - 0.9


# --- another hand on the momentum --------------------------------------------------------------------------------


def warned() -> Any:
    return pytest.warns(UserWarning, match=r"^optimizer: something else writes the momentum too")


def test_a_cycle_of_momenta_is_overwritten_with_a_warning() -> None:
    optimizer = sgd()
    scheduler = ScaledMomentum(optimizer, 0.5)
    cycle = OneCycleLR(optimizer, max_lr=0.5, total_steps=10)
    with warned():
        pull(optimizer)
    assert momenta(optimizer) == pytest.approx([1 - 0.5 * rates(optimizer)[0] ** (2 / 3)])
    cycle.step()
    with warned():
        scheduler.step()
    assert momenta(optimizer) == pytest.approx([1 - 0.5 * rates(optimizer)[0] ** (2 / 3)])


def test_another_hand_is_overwritten_with_a_warning_and_a_schedule_alone_is_none() -> None:
    optimizer = sgd()
    scheduler = ScaledMomentum(optimizer)
    pull(optimizer)
    optimizer.param_groups[0]["lr"] = 0.01
    scheduler.step()
    pull(optimizer)
    optimizer.param_groups[0]["momentum"] = 0.5
    with warned():
        pull(optimizer)
    assert momenta(optimizer) == scheduler.get_last_momentum()


def test_a_second_rule_on_one_optimizer_is_another_hand_and_one_that_is_gone_is_none() -> None:
    optimizer = sgd()
    first = ScaledMomentum(optimizer)
    second = ScaledMomentum(optimizer, 0.3)
    with warned():
        pull(optimizer)
    del first
    second.step()
    pull(optimizer)
    assert momenta(optimizer) == second.get_last_momentum()
    del second
    optimizer.param_groups[0]["momentum"] = 0.5
    pull(optimizer)
    assert momenta(optimizer) == [0.5]


@pytest.mark.parametrize("cycle_momentum", [False, True])
@pytest.mark.parametrize("kind", [OneCycleLR, CyclicLR])
def test_where_a_cycle_has_replaced_the_pair_a_prefactor_must_be_given(
    kind: Any, cycle_momentum: bool
) -> None:
    optimizer = sgd()
    if kind is OneCycleLR:
        OneCycleLR(optimizer, max_lr=0.5, total_steps=10, cycle_momentum=cycle_momentum)
    else:
        CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, cycle_momentum=cycle_momentum)
    if kind is CyclicLR and not cycle_momentum:
        ScaledMomentum(optimizer)
        assert momenta(optimizer) == [0.9]
        return
    with pytest.raises(ValueError, match=r"^prefactor: must be given where OneCycleLR"):
        ScaledMomentum(optimizer)
    ScaledMomentum(optimizer, calibrate(0.5, 0.9))


def test_plain_sgd_gets_a_momentum_with_a_warning() -> None:
    optimizer = SGD([weight()], lr=0.125)
    with pytest.warns(UserWarning, match=r"^optimizer: a group has momentum 0"):
        ScaledMomentum(optimizer, 2.0)
    assert momenta(optimizer) == [0.5]
    optimizer = SGD([weight()], lr=0.125)
    with pytest.warns(UserWarning, match=r"^optimizer: a group has momentum 0"):
        ScaledMomentum(optimizer)
    assert momenta(optimizer) == pytest.approx([0.0])


# --- beside PyTorch's schedulers

# --- beside PyTorch's schedulers ---------------------------------------------------------------------------------


def warmup_and_cosine(optimizer: Optimizer) -> LRScheduler:
    return SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.01, total_iters=5), CosineAnnealingLR(optimizer, T_max=15)],
        milestones=[5],
    )


def one_cycle(optimizer: Optimizer) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=0.5, total_steps=21, cycle_momentum=False)


def a_warmup_by_hand(optimizer: Optimizer) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: min(1.0, 0.01 + step / 10))


def two_chained(optimizer: Optimizer) -> LRScheduler:
    return ChainedScheduler([ConstantLR(optimizer, 0.1, 3), ExponentialLR(optimizer, 0.9)])


SCHEDULES = [warmup_and_cosine, one_cycle, a_warmup_by_hand, two_chained]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prefactor", [None, 1.0])
@pytest.mark.parametrize("built_first", [False, True])
@pytest.mark.parametrize("stepped_first", [False, True])
def test_beside_a_schedule_built_and_stepped_in_any_order(
    schedule: Callable[[Optimizer], LRScheduler],
    prefactor: float | None,
    built_first: bool,
    stepped_first: bool,
) -> None:
    if schedule is one_cycle and not built_first and prefactor is None:
        return  # refused: see above
    alone, together = sgd(), sgd()
    used: list[list[float]] = []
    together.register_step_post_hook(lambda *_: used.append(rates(together) + momenta(together)))

    def built(order: Sequence[bool]) -> Iterator[LRScheduler]:
        for rule in order:
            yield (
                ScaledMomentum(together, prefactor, max_momentum=0.99)
                if rule
                else schedule(together)
            )

    schedulers = list(built([True, False] if built_first else [False, True]))
    schedulers.sort(key=lambda s: isinstance(s, ScaledMomentum) != stepped_first)
    reference = schedule(alone)
    expected = []
    for _ in range(20):
        expected += rates(alone)
        for optimizer in (alone, together):
            pull(optimizer)
        reference.step()
        for scheduler in schedulers:
            scheduler.step()
    lr, momentum = np.array(used).T
    assert lr == pytest.approx(np.array(expected), rel=1e-15)
    c = calibrate(0.1, 0.9) if prefactor is None else prefactor
    assert momentum == pytest.approx(np.minimum(1 - c * lr ** (2 / 3), 0.99), rel=1e-12)
    assert np.ptp(momentum) > 0.03, "the schedule must move the momentum for this to mean anything"


def test_while_a_graph_is_captured_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = sgd()
    scheduler = ScaledMomentum(optimizer)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    optimizer.param_groups[0]["lr"] = 0.1 / 8
    pull(optimizer)
    assert momenta(optimizer) == [0.9]
    scheduler.step()
    assert momenta(optimizer) == pytest.approx([0.975])


def test_a_compiled_step_follows_before_it_is_stepped_too() -> None:
    parameters = weight(1.0, -2.0), weight(1.0, -2.0)
    optimizers = [SGD([p], lr=0.1, momentum=0.9) for p in parameters]
    rules = [ScaledMomentum(o) for o in optimizers]
    warmups = [LinearLR(o, 0.01, total_iters=4) for o in optimizers]
    compiled = torch.compile(optimizers[1].step, backend="eager")
    for _ in range(5):
        for parameter, step, warmup in zip(
            parameters, [optimizers[0].step, compiled], warmups, strict=True
        ):
            parameter.grad = parameter.detach().clone()
            step()
            warmup.step()
    assert rules[1].get_last_momentum() == rules[0].get_last_momentum() == [0.9]
    torch.testing.assert_close(*parameters, rtol=1e-14, atol=0)


# --- saved and loaded --------------------------------------------------------------------------------------------


def through_a_file(state: Any) -> Any:
    """Saved and loaded without unpickling anything but tensors and plain Python."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Run:
    """A network in training, all of whose state can be saved."""

    def __init__(self, optimizer: Callable[[Any], Optimizer], *rule: Any) -> None:
        layers = [nn.Linear(*size, device="meta", dtype=torch.float64) for size in ((3, 4), (4, 1))]
        self.model = nn.Sequential(layers[0], nn.Tanh(), layers[1]).to_empty(device="cpu")
        generator = seeded()
        for p in self.model.parameters():
            nn.init.uniform_(p, -0.5, 0.5, generator=generator)
        self.optimizer = optimizer(self.model)
        self.schedule = warmup_and_cosine(self.optimizer)
        self.scheduler = ScaledMomentum(self.optimizer, *rule)

    def parts(self) -> list[Any]:
        return [self.model, self.optimizer, self.schedule, self.scheduler]

    def train(self, first: int, last: int) -> list[list[float]]:
        seen = []
        for k in range(first, last):
            x = torch.randn(8, 3, dtype=torch.float64, generator=seeded(k))
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
    ("optimizer", "rule"),
    [
        (by_layers, ([0.5, np.float64(1.0)],)),
        (by_layers, (np.float64(0.5),)),
        (by_layers, ()),
        (by_adam, (0.5, 2 / 3)),
        (by_adam, (None, torch.tensor(0.5))),
    ],
)
def test_a_run_that_was_saved_and_loaded_is_the_uninterrupted_one(
    optimizer: Callable[[Any], Optimizer], rule: tuple[Any, ...]
) -> None:
    whole = Run(optimizer, *rule)
    expected = whole.train(0, 18)

    first = Run(optimizer, *rule)
    seen = first.train(0, 8)
    saved = through_a_file([part.state_dict() for part in first.parts()])
    second = Run(optimizer, 7.0, 0.9)  # what was saved wins over what it was built with
    for part, state in zip(second.parts(), saved, strict=True):
        part.load_state_dict(state)
    assert second.scheduler.get_last_momentum() == seen[-1]
    assert second.scheduler.state_dict() == first.scheduler.state_dict()
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


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_momentum_of_another_meaning_is_refused(momentum: float) -> None:
    optimizer = RMSprop([weight()], momentum=momentum)
    with pytest.raises(ValueError, match=r"^optimizer: must be SGD or have `betas`, got RMSprop"):
        ScaledMomentum(optimizer, 0.5)
    assert momenta(optimizer) == [momentum]


def test_an_optimizer_from_elsewhere_is_taken_at_its_word() -> None:
    optimizer = Optimizer([weight()], {"lr": 0.125, "momentum": 0.9})
    optimizer.__class__ = type("Elsewhere", (Optimizer,), {})
    ScaledMomentum(optimizer, 2.0)
    assert momenta(optimizer) == [0.5]


def test_dampening_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^optimizer: dampening must be 0, got 0.9"):
        ScaledMomentum(sgd(dampening=0.9))
