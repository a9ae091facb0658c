"""Least squares: moments beside sampled regressions, contraction beside the dense matrix of the recursion."""

from __future__ import annotations

import numpy as np
import pytest

from flatter_lib.checks import Floats
from flatter_lib.least_squares import contraction, fastest, risk

SPECTRUM = np.array([1.0, 0.5, 0.3, 0.1])


def sampled(
    steps: int, eta: float, batch: int, beta: float, plain: float, sigma: float, runs: int
) -> Floats:
    """Losses of independent runs of the update itself, on fresh Gaussian inputs."""
    generator = np.random.default_rng(3)
    theta = np.ones((runs, SPECTRUM.size))
    buffer = np.zeros_like(theta)
    for _ in range(steps):
        x = generator.standard_normal((runs, batch, SPECTRUM.size)) * np.sqrt(SPECTRUM)
        error = (x @ theta[:, :, None])[..., 0] - sigma * generator.standard_normal((runs, batch))
        gradient = (error[..., None] * x).mean(axis=1)
        buffer = beta * buffer + gradient
        theta = theta - eta * buffer - plain * gradient
    losses: Floats = 0.5 * (SPECTRUM * theta**2).sum(axis=1)
    return losses


@pytest.mark.parametrize(
    ("eta", "batch", "beta", "plain", "sigma"),
    [
        (0.1, 1, 0.0, 0.0, 0.0),
        (0.1, 2, 0.7, 0.0, 0.0),
        (0.05, 2, 0.9, 0.1, 0.0),
        (0.2, 4, 0.5, 0.0, 1.0),
    ],
)
def test_the_risk_is_the_mean_loss_of_sampled_runs(
    eta: float, batch: int, beta: float, plain: float, sigma: float
) -> None:
    losses = sampled(12, eta, batch, beta, plain, sigma, 40_000)
    exact = risk(SPECTRUM, 1.0, [12], eta, batch, beta, plain, sigma)[0]
    assert abs(losses.mean() - exact) < 4 * losses.std() / np.sqrt(losses.size)


def dense(h: Floats, eta: float, batch: float, beta: float) -> Floats:
    """The matrix of the recursion of all moments, column by column from the definition of one step."""
    n = h.size
    columns = []
    for unit in np.eye(3 * n):
        x, c, q = unit.reshape(3, n)
        gg = h**2 * x + (h**2 * x + h * (h @ x)) / batch
        qq = beta**2 * q + 2 * beta * h * c + gg
        xp = beta * c + h * x
        columns.append(np.concatenate([x - 2 * eta * xp + eta**2 * qq, xp - eta * qq, qq]))
    return np.array(columns).T


@pytest.mark.parametrize(
    ("eta", "batch", "beta"),
    [
        (0.1, 1, 0.5),
        (0.3, 32, 0.9),
        (0.3, 1000, 0.99),
        (1.9, 1e6, 0.0),
        (2.5, 4, 0.0),
        (3.0, 50, 0.7),
    ],
)
def test_contraction_is_that_of_the_dense_matrix(eta: float, batch: float, beta: float) -> None:
    radius = np.abs(np.linalg.eigvals(dense(SPECTRUM, eta, batch, beta))).max()
    assert contraction(SPECTRUM, eta, batch, beta) == pytest.approx(1 - radius, abs=1e-10)


def test_the_loss_falls_as_the_contraction_says_in_the_long_run() -> None:
    losses = risk(SPECTRUM, 1.0, [2000, 2001], lr=0.2, batch_size=3, momentum=0.6)
    assert 1 - losses[1] / losses[0] == pytest.approx(contraction(SPECTRUM, 0.2, 3, 0.6), rel=1e-9)


def test_modes_may_be_counted() -> None:
    each = np.repeat([1.0, 0.25], [2, 3])
    assert contraction([1.0, 0.25], 0.2, 2, 0.5, multiplicity=[2, 3]) == pytest.approx(
        contraction(each, 0.2, 2, 0.5), rel=1e-12
    )
    assert risk([1.0, 0.25], 1.0, 9, 0.2, 2, 0.5, multiplicity=[2, 3]) == pytest.approx(
        risk(each, 1.0, 9, 0.2, 2, 0.5), rel=1e-12
    )


def test_the_fastest_of_equal_curvatures_has_a_closed_form_and_no_momentum() -> None:
    # x' = (1 - 2 eta + eta^2 (1 + (d + 1) / B)) x, smallest at eta = 1 / (1 + (d + 1) / B).
    for batch in (1, 8, 512):
        best = fastest(np.ones(30), batch)
        assert best.contraction == pytest.approx(1 / (1 + 31 / batch), rel=1e-9)
        assert best.momentum < 1e-4


def test_nothing_on_a_fine_grid_is_faster() -> None:
    h = np.arange(1, 13.0) ** -1.5
    for batch in (1.0, 30.0):
        best = fastest(h, batch)
        grid = [
            contraction(h, lr, batch, beta)
            for lr in best.lr * np.geomspace(0.3, 3, 41)
            for beta in 1 - (1 - best.momentum) * np.geomspace(0.3, 0.999 / (1 - best.momentum), 41)
        ]
        assert max(grid) <= best.contraction * (1 + 1e-9)
        assert max(grid) > best.contraction * 0.98


def test_polyak_without_noise() -> None:
    ratio = (1 - np.sqrt(0.01)) / (1 + np.sqrt(0.01))
    best = fastest([1.0, 0.01], np.inf)
    assert best.momentum == pytest.approx(ratio**2, rel=1e-3)
    assert best.contraction == pytest.approx(1 - ratio**2, rel=1e-3)


def test_a_loss_that_explodes_is_infinite() -> None:
    losses = risk([1.0], 1.0, [1, 10_000], lr=3.0, batch_size=1)
    assert np.isfinite(losses[0])
    assert losses[1] == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"curvature": [0.0]}, "curvature: must be in"),
        ({"batch_size": 0}, "batch_size: must be in"),
        ({"momentum": 1.0}, "momentum: must be in"),
        ({"steps": [3, 2]}, "steps: must be increasing"),
        ({"lr": [0.1]}, "lr: must be one number or one for each of 2 steps"),
        ({"multiplicity": 0}, "multiplicity: must be in"),
        ({"label_noise": -1}, "label_noise: must be in"),
    ],
)
def test_what_the_risk_refuses(arguments: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {
        "curvature": [1.0],
        "initial": 1.0,
        "steps": [1, 2],
        "lr": 0.1,
        "batch_size": 1,
    }
    with pytest.raises(ValueError, match=message):
        risk(**usual | arguments)  # type: ignore[arg-type]


def test_what_the_others_refuse() -> None:
    with pytest.raises(ValueError, match=r"curvature.*shape"):
        contraction([], 0.1, 1)
    with pytest.raises(ValueError, match="lr: must be in"):
        contraction([1.0], 0.0, 1)
    with pytest.raises(ValueError, match="batch_size: must be in"):
        fastest([1.0], -1)
