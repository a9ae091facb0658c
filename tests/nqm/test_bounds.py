"""The paper's bounds against its formulas, its own sums, and the exact risk; the optimal estimates against data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatter_lib.nqm import NoisyQuadratic, bayes_risk, information_bound, risk, risk_bound
from flatter_lib.nqm.reference import second_moment


@pytest.mark.parametrize(
    ("lr", "momentum", "averaging"),
    [(0.4, 0.0, 0.0), (0.4, 0.7, 0.0), (2.5, 0.7, 0.0), (0.4, 0.0, 0.9), (1.6, 0.0, 0.9)],
)
def test_bound_is_the_papers_formula(lr: float, momentum: float, averaging: float) -> None:
    h, c, start, batch = 0.8, 0.3, 2.0, 5.0
    for steps in (0, 1, 2, 9):
        x = lr * h
        if averaging:
            # Equation (12), with r_1 and r_2 as printed.
            r1, r2 = 1 - x, averaging
            steady = lr * c / (2 * batch * (2 - x))
            steady *= (1 - averaging) * (1 + (1 - x) * averaging)
            steady /= (1 + averaging) * (1 - (1 - x) * averaging)
        else:
            # Equation (6).
            r1, r2 = np.roots([1, -(1 - x + momentum), momentum]).astype(complex)
            steady = (1 + momentum) * lr * c / (2 * batch * (2 * momentum + 2 - x) * (1 - momentum))
        fraction = (r1 ** (steps + 1) - r2 ** (steps + 1) - r1 * r2 * (r1**steps - r2**steps)) / (
            r1 - r2
        )
        wanted = float(np.real(fraction) ** 2) * h * start / 2 + steady
        model = NoisyQuadratic([h], [c], 1, start)
        found = risk_bound(model, steps, lr, batch, momentum, averaging)
        assert found == pytest.approx(wanted, rel=1e-12)


@given(
    step=st.floats(0.001, 0.999),
    coefficient=st.floats(0.0, 0.999),
    averaged=st.booleans(),
    steps=st.integers(0, 200),
    power=st.floats(0.0, 1.0),
)
@settings(max_examples=80, deadline=None)
def test_bound_is_above_the_risk_and_tight_in_the_end(
    step: float, coefficient: float, averaged: bool, steps: int, power: float
) -> None:
    model = NoisyQuadratic([1.0, 0.3], [2.0, 0.1], [1, 4])
    momentum, averaging = (0.0, coefficient) if averaged else (coefficient, 0.0)
    setting = (step * 2 * (1 + momentum), 3.0, momentum, averaging, power)
    assert risk(model, steps, *setting) <= risk_bound(model, steps, *setting) * (1 + 1e-12)
    np.testing.assert_allclose(
        risk_bound(model, 2**50, *setting), risk(model, 2**50, *setting), rtol=1e-10
    )


def test_bound_of_what_never_settles() -> None:
    model = NoisyQuadratic([1.0, 0.0], [1.0, 1.0])
    np.testing.assert_array_equal(risk_bound(model, 3, [2.0, 3.0, 1e9], 1.0), np.inf)
    # Neither no step nor no noise has anything to settle.
    assert risk_bound(model, 3, 0.0, 1.0) == 0.5
    assert risk_bound(model, 3, 0.5, np.inf) == risk(model, 3, 0.5, np.inf)
    calm = NoisyQuadratic([1.0], [0.0])
    assert risk_bound(calm, 3, 3.0, 1.0) == risk(calm, 3, 3.0, 1.0)


def test_bound_broadcasts_and_refuses_what_the_paper_has_not() -> None:
    model = NoisyQuadratic.power_law(dimension=5)
    steps, batch = np.array([0, 4])[:, None], np.array([1.0, 2.0, 4.0])
    found = risk_bound(model, steps, 0.3, batch, [0.0, 0.5, 0.0], [0.5, 0.0, 0.0])
    assert found.shape == (2, 3)
    assert found[1, 1] == risk_bound(model, 4, 0.3, 2.0, 0.5)
    with pytest.raises(ValueError, match="averaging: must be 0 wherever momentum"):
        risk_bound(model, 1, 0.1, 1.0, momentum=[0.0, 0.5], averaging=0.5)


def test_stationary_sums_are_those_of_the_recursion() -> None:
    model = NoisyQuadratic([0.7], [0.3], 1, 0.0)
    for momentum, averaging in ((0.0, 0.0), (0.8, 0.0), (0.0, 0.8)):
        wanted = 0.35 * second_moment(0.7, 0.1, 0.0, 3000, 0.5, momentum, averaging)
        found = risk_bound(model, 0, 0.5, 3.0, momentum, averaging)
        assert found == pytest.approx(wanted, rel=1e-11)


def test_information_bound_is_half_the_dimension_over_the_queries() -> None:
    model = NoisyQuadratic.power_law(dimension=40)
    found = information_bound(model, np.array([1, 10]), np.array([[1.0], [8.0]]))
    np.testing.assert_allclose(found, np.array([[20.0, 2.0], [2.5, 0.25]]))
    assert np.isinf(information_bound(model, 0, 8.0))
    assert information_bound(model, 3, np.inf) == 0.0
    # Where the noise is not the curvature the estimate's variance c / h^2 N does not cancel.
    assert information_bound(NoisyQuadratic([2.0, 0.0], [3.0, 1.0]), 1, 5.0) == pytest.approx(0.15)
    assert information_bound(NoisyQuadratic([2.0], [0.0]), 0, 5.0) == 0.0


def test_bayes_risk_is_that_of_the_posterior_mean() -> None:
    model = NoisyQuadratic([2.0, 0.5], [1.0, 3.0], [1, 2], [0.7, 2.0])
    steps, batch, runs = 3, 2, 40_000
    generator = np.random.default_rng(0)
    minimum = np.sqrt(model.initial) * generator.standard_normal((runs, 2))
    # Gradients h (w - minimum) + noise at points w that follow from the gradients before; the estimate is the posterior
    # mean, by conjugacy.
    weight, told = np.zeros((runs, 2)), np.zeros((runs, 2))
    for _ in range(steps):
        noise = np.sqrt(model.noise / batch) * generator.standard_normal((runs, 2))
        gradient = model.curvature * (weight - minimum) + noise
        told += weight - gradient / model.curvature
        weight = weight - 0.3 * gradient
    precision = model.curvature**2 * batch / model.noise
    estimate = precision * told / (1 / model.initial + steps * precision)
    losses = 0.5 * (estimate - minimum) ** 2 @ (model.multiplicity * model.curvature)
    wanted = bayes_risk(model, steps, batch)
    error = losses.std() / np.sqrt(runs)
    assert abs(losses.mean() - wanted) < 4 * error
    assert error < 0.01 * wanted


def test_bayes_risk_starts_at_the_start_and_ends_at_the_information_bound() -> None:
    model = NoisyQuadratic.power_law(dimension=100)
    assert bayes_risk(model, 0, 4.0) == pytest.approx(risk(model, 0, 0.1, 4.0))
    queries = np.array([1, 100, 10_000, 10**8])
    ratio = bayes_risk(model, queries, 1.0) / information_bound(model, queries, 1.0)
    assert (np.diff(ratio) > 0).all()
    assert ratio[0] < 0.1
    assert ratio[-1] == pytest.approx(1.0, abs=1e-5)


def test_bayes_risk_at_its_edges() -> None:
    model = NoisyQuadratic([1.0, 1.0, 0.0], [0.0, 1.0, 1.0], 1, [1.0, 0.0, 1.0])
    np.testing.assert_allclose(bayes_risk(model, [0, 1], 2.0), [0.5, 0.0])
    assert bayes_risk(NoisyQuadratic([1.0], [1.0]), 1, np.inf) == 0.0
    assert bayes_risk(NoisyQuadratic([1.0], [1.0]), 0, np.inf) == 0.5


@given(
    lr=st.floats(0.001, 1.9),
    momentum=st.floats(0.0, 0.99),
    averaging=st.floats(0.0, 0.99),
    power=st.sampled_from([0.0, 0.5, 1.0]),
    steps=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_no_optimizer_beats_the_bayes_risk(
    lr: float, momentum: float, averaging: float, power: float, steps: int
) -> None:
    model = NoisyQuadratic.power_law(dimension=12)
    found = risk(model, steps, lr, 4.0, momentum, averaging, power)
    assert found >= bayes_risk(model, steps, 4.0) * (1 - 1e-12)
