"""Tuned hyperparameters against brute force over grids, and against what algebra knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatter_lib.nqm import NoisyQuadratic, Tuned, risk, steps_to_target, tune

from ..refusals import refuses

OPTIMIZERS = ("sgd", "momentum", "ema")


def logarithmic(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


def steps_of(
    model: NoisyQuadratic, target: float, batch: float, best: Tuned, power: float
) -> float:
    return float(
        steps_to_target(model, target, best.lr, batch, best.momentum, best.averaging, power)
    )


def best_of_a_grid(
    model: NoisyQuadratic, target: float, batch: float, optimizer: str, power: float
) -> float:
    """The fewest steps over 80 step sizes and, where it is tuned, 20 momenta or averaging coefficients."""
    stiffest = model.preconditioned(power).curvature.max()
    lr = 2 / stiffest * np.exp(-np.linspace(1e-3, 10, 80))[:, None]
    second = np.concatenate([[0.0], 1 - np.exp(-np.linspace(0.05, 8, 19))])
    momentum = second if optimizer == "momentum" else 0.0
    averaging = second if optimizer == "ema" else 0.0
    steps = steps_to_target(model, target, lr * (1 + momentum), batch, momentum, averaging, power)
    return float(np.min(steps))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(
    curvature=st.lists(logarithmic(1e-3, 1.0), min_size=1, max_size=4),
    noise=logarithmic(1e-2, 10.0),
    ratio=logarithmic(1e-3, 0.5),
    batch=logarithmic(0.1, 1e4),
    power=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=12, deadline=None)
def test_no_grid_has_fewer_steps(
    optimizer: str,
    curvature: list[float],
    noise: float,
    ratio: float,
    batch: float,
    power: float,
) -> None:
    model = NoisyQuadratic(curvature, noise * np.array(curvature))
    target = ratio * float(risk(model, 0, 0.1, batch))
    best = tune(model, target, batch, optimizer, power)
    assert best.steps == steps_of(model, target, batch, best, power)
    assert best.steps <= best_of_a_grid(model, target, batch, optimizer, power)


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("batch", [1.0, 2.0**10, 2.0**20])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_papers_model_is_tuned_no_worse_than_by_a_grid(
    optimizer: str, batch: float, power: float
) -> None:
    model = NoisyQuadratic.power_law(nodes=40)
    best = tune(model, 0.01, batch, optimizer, power)
    assert best.steps == steps_of(model, 0.01, batch, best, power)
    assert best.steps <= best_of_a_grid(model, 0.01, batch, optimizer, power)


@pytest.mark.parametrize(
    ("model", "target", "batch", "steps"),
    [
        # The best of 800 x 200 settings, in dips that lie far from the smooth minimum.
        (
            NoisyQuadratic(
                [0.13437, 0.01084, 0.03003],
                [0.01103, 0.05944, 1.07777],
                [1.65634, 1.09182, 0.91371],
                [0.21987, 3.50947, 2.10987],
            ),
            2.086e-4,
            2348.25,
            131,
        ),
        (
            NoisyQuadratic(
                [0.02139, 0.00228], [0.02139, 0.00228], [2.56678, 1.22229], [0.57338, 0.69130]
            ),
            3.6685e-5,
            6397.0,
            58,
        ),
    ],
)
def test_dips_of_few_modes_are_found(
    model: NoisyQuadratic, target: float, batch: float, steps: int
) -> None:
    assert tune(model, target, batch, "momentum").steps <= steps


def test_nothing_nearby_reaches_the_target_a_step_earlier() -> None:
    model = NoisyQuadratic.power_law(dimension=100)
    generator = np.random.default_rng(0)
    near = np.exp(0.05 * generator.standard_normal((2, 3000)))
    for batch in (4.0, 256.0, 2.0**16):
        best = tune(model, 0.02, batch)
        assert (risk(model, best.steps - 1, best.lr * near[0], batch) > 0.02).all()
        best = tune(model, 0.02, batch, "ema")
        averaging = 1 - (1 - best.averaging) * np.minimum(near[1], 1 / (1 - best.averaging))
        values = risk(model, best.steps - 1, best.lr * near[0], batch, averaging=averaging)
        assert (values > 0.02).all()
        best = tune(model, 0.02, batch, "momentum")
        momentum = 1 - (1 - best.momentum) * np.minimum(near[1], 1 / (1 - best.momentum))
        values = risk(model, best.steps - 1, best.lr * near[0], batch, momentum)
        assert (values > 0.02).all()


def test_the_returned_setting_has_the_least_risk_after_so_many_steps() -> None:
    model = NoisyQuadratic.power_law(dimension=100)
    best = tune(model, 0.02, 64.0)
    factors = np.exp(np.linspace(-0.02, 0.02, 41))
    values = risk(model, best.steps, best.lr * factors, 64.0)
    assert values.argmin() == 20
    assert values.min() <= 0.02


@pytest.mark.parametrize("optimizer", ["momentum", "ema"])
def test_of_two_optima_with_as_few_steps_the_one_with_less_risk_is_returned(optimizer: str) -> None:
    model = NoisyQuadratic.power_law(dimension=5)
    target = 0.2 * float(risk(model, 0, 0.1, 64.0))
    plain, best = tune(model, target, 64.0), tune(model, target, 64.0, optimizer)
    assert best.steps == plain.steps == 2
    assert best.momentum + best.averaging > 0.01
    values = [
        risk(model, 2, tuned.lr, 64.0, tuned.momentum, tuned.averaging) for tuned in (best, plain)
    ]
    assert values[0] < 0.999 * values[1]


def test_averaging_that_makes_no_difference_is_left_out() -> None:
    best = tune(NoisyQuadratic([1.0], [0.0]), 0.1, 1.0, "ema")
    assert (best.steps, best.momentum, best.averaging) == (1, 0.0, 0.0)


def test_one_mode_without_noise_needs_one_step() -> None:
    model = NoisyQuadratic([0.25], [0.0])
    best = tune(model, 1e-12, 1.0)
    assert best.steps == 1
    assert best.lr == pytest.approx(4.0, rel=1e-4)


def test_two_modes_without_noise_take_the_step_size_between_them() -> None:
    # With (1 - lr) = -(1 - lr / 9) at lr = 2 / (1 + 1/9) both fall by 0.8 a step; weights are made equal.
    model = NoisyQuadratic([1.0, 1 / 9], 0.0, [1, 9])
    best = tune(model, 1e-6, 1.0)
    assert best.steps == int(np.ceil(np.log(1e-6) / (2 * np.log(0.8))))
    assert best.lr == pytest.approx(1.8, rel=0.02)
    # In the long run heavy ball falls by (3 - 1) / (3 + 1) a step, at momentum 1/4. To an end there are better ones.
    long_run = steps_to_target(model, 1e-6, (1 + 0.5) ** 2, 1.0, 0.25)
    assert tune(model, 1e-6, 1.0, "momentum").steps <= long_run < best.steps


def test_steps_scale_with_one_over_the_batch_and_rates_with_it_while_noise_rules() -> None:
    model = NoisyQuadratic.power_law(nodes=60)
    for optimizer in OPTIMIZERS:
        one, four = (tune(model, 0.01, batch, optimizer, 0.5) for batch in (1.0, 4.0))
        assert one.steps / four.steps == pytest.approx(4.0, rel=1e-3)
        assert four.effective_lr / one.effective_lr == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("batch", [1.0, 2.0**16])
def test_momentum_and_averaging_can_be_left_at_nothing(batch: float) -> None:
    model = NoisyQuadratic.power_law(dimension=30)
    plain = tune(model, 0.05, batch)
    assert (plain.momentum, plain.averaging) == (0.0, 0.0)
    assert plain.effective_lr == plain.lr
    for optimizer in ("momentum", "ema"):
        best = tune(model, 0.05, batch, optimizer)
        assert best.steps <= plain.steps
        assert (best.averaging if optimizer == "momentum" else best.momentum) == 0.0


def test_momentum_can_be_held() -> None:
    model = NoisyQuadratic.power_law(dimension=100)
    held = tune(model, 0.02, 64.0, "momentum", momentum=0.9)
    assert held.momentum == 0.9
    assert held.effective_lr == pytest.approx(10 * held.lr)
    assert held.steps == steps_of(model, 0.02, 64.0, held, 0.0)
    lr = held.lr * np.exp(np.linspace(-2, 2, 401))
    assert held.steps <= steps_to_target(model, 0.02, lr, 64.0, 0.9).min()
    assert tune(model, 0.02, 64.0, "momentum").steps <= held.steps
    assert tune(model, 0.02, 64.0, "momentum", momentum=0.0) == tune(model, 0.02, 64.0)


def test_a_start_at_the_target_needs_no_step() -> None:
    assert tune(NoisyQuadratic([1.0], [1.0]), 0.5, 1.0).steps == 0


def test_bad_arguments() -> None:
    good = {"model": NoisyQuadratic([1.0], [1.0]), "target": 0.1, "batch_size": 1.0}
    refuses(tune, good, optimizer="adam", target=0.0, batch_size=-1.0, preconditioning=2.0)
    refuses(tune, good, target=1e-30)  # out of the reach of 2**53 steps
    refuses(tune, good | {"optimizer": "momentum"}, momentum=1.0)
    with pytest.raises(ValueError, match="momentum: is held for"):
        tune(**good, optimizer="ema", momentum=0.5)
