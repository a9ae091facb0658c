"""The model: what it refuses, what preconditioning leaves alone, and how good its quadrature is."""

import numpy as np
import pytest

from flatter_lib.nqm import NoisyQuadratic, risk, steps_to_target

from ..refusals import refuses


def test_fields_broadcast_to_one_axis_and_cannot_be_changed() -> None:
    curvature = np.array([1.0, 0.5])
    model = NoisyQuadratic(curvature, 0.25, multiplicity=[2, 3])
    curvature[0] = 7.0
    assert model.curvature[0] == 1.0
    np.testing.assert_array_equal(model.noise, [0.25, 0.25])
    np.testing.assert_array_equal(model.initial, [1.0, 1.0])
    assert model.dimension == 5.0
    with pytest.raises(ValueError, match="read-only"):
        model.curvature[0] = 2.0


def test_power_law_is_the_papers_spectrum() -> None:
    model = NoisyQuadratic.power_law(dimension=7, exponent=1.5)
    np.testing.assert_allclose(model.curvature, np.arange(1, 8) ** -1.5)
    np.testing.assert_array_equal(model.noise, model.curvature)
    assert NoisyQuadratic.power_law().dimension == 10_000
    every = NoisyQuadratic.power_law(dimension=7, exponent=1.5, nodes=7)
    np.testing.assert_array_equal(every.curvature, model.curvature)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_quadrature_sums_smooth_functions_of_the_index(exponent: float) -> None:
    exact = NoisyQuadratic.power_law(exponent=exponent)
    quick = NoisyQuadratic.power_law(exponent=exponent, nodes=100)
    full, few = exact.curvature, quick.curvature
    for ours, theirs in (
        (few, full),
        (few * np.exp(-3e3 * few), full * np.exp(-3e3 * full)),
        (few / (1 + 100 * few), full / (1 + 100 * full)),
        (few**0, full**0),
    ):
        np.testing.assert_allclose(quick.multiplicity @ ours, theirs.sum(), rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize(
    ("lr", "momentum", "averaging", "batch_size"),
    [
        (1e-2, 0.0, 0.0, 4.0),
        (1.0, 0.0, 0.0, 2.0**12),
        (1e-2, 0.9, 0.0, 2.0**6),
        (0.3, 0.95, 0.0, 2.0**16),
        (2.0, 0.97, 0.0, 2.0**20),
        (0.5, 0.0, 0.999, 2.0**8),
    ],
)
def test_steps_from_the_quadrature_are_those_of_the_spectrum_to_a_thousandth(
    power: float, lr: float, momentum: float, averaging: float, batch_size: float
) -> None:
    lr = lr if power == 0 else lr * 0.1
    exact = NoisyQuadratic.power_law()
    quick = NoisyQuadratic.power_law(nodes=200)
    # A target that this setting reaches: a little above its risk after long.
    target = 1.1 * risk(exact, 2**30, lr, batch_size, momentum, averaging, power)
    wanted = steps_to_target(exact, target, lr, batch_size, momentum, averaging, power)
    found = steps_to_target(quick, target, lr, batch_size, momentum, averaging, power)
    assert np.isfinite(wanted)
    assert abs(found - wanted) <= max(1e-3 * wanted, 1.0)


def test_preconditioning_is_another_model_with_the_same_risk() -> None:
    model = NoisyQuadratic([2.0, 0.5, 0.1], [1.0, 3.0, 0.2], [1, 2, 3], [1.0, 0.5, 4.0])
    steps = np.arange(20)
    np.testing.assert_allclose(
        risk(model, steps, 0.3, 4.0, 0.6, 0.3, preconditioning=0.75),
        risk(model.preconditioned(0.75), steps, 0.3, 4.0, 0.6, 0.3),
        rtol=1e-13,
    )


def test_flat_modes_carry_no_risk_whatever_the_preconditioning() -> None:
    with_flat = NoisyQuadratic([1.0, 0.0], [1.0, 5.0])
    without = NoisyQuadratic([1.0], [1.0])
    for power in (0.0, 0.5, 1.0):
        assert risk(with_flat, 9, 0.1, 2.0, preconditioning=power) == risk(
            without, 9, 0.1, 2.0, preconditioning=power
        )


def test_bad_arguments() -> None:
    good = {"curvature": [1.0], "noise": [1.0]}
    refuses(NoisyQuadratic, good, curvature=[-1.0], noise=[np.inf], multiplicity=-1, initial=np.nan)
    refuses(NoisyQuadratic.power_law, {}, dimension=2.5, exponent=-1.0, nodes=1)
    for shapes in ({"initial": [[1.0]]}, {"curvature": [], "noise": []}):
        with pytest.raises(ValueError, match="one axis"):
            NoisyQuadratic(**(good | shapes))
