"""The slow equation against finite differences of the end of gradient flow, closed forms, and heavy ball itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from flatter_lib.valleys.diagonal import DiagonalNetwork
from flatter_lib.valleys.sensing import MatrixSensing
from flatter_lib.valleys.slow import (
    drift,
    fluctuation,
    isotropic_noise,
    label_noise,
    limit,
    simulate,
)
from tests.refusals import refuses
from tests.seeding import seeded

DIAGONAL = DiagonalNetwork(inputs=5, sparsity=1, measurements=2, seed=1)
SENSING = MatrixSensing(rows=2, columns=3, rank=1, measurements=3, width=2, seed=2)
PROBLEMS = {"diagonal": DIAGONAL, "sensing": SENSING}


def hyperbola(w: Tensor) -> Tensor:
    """The residual of the scalar valley."""
    return w[:1] * w[1:] - 1


def imbalance(w: Tensor) -> Tensor:
    return w[..., 0] ** 2 - w[..., 1] ** 2


def on_floor(u: float) -> Tensor:
    return torch.tensor([u, 1 / u], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("diagonal", "one direction"), ("sensing", "one direction"), ("diagonal", "label")],
)
def test_the_drift_is_the_second_derivative_of_the_end_of_gradient_flow(
    name: str, kind: str
) -> None:
    problem = PROBLEMS[name]

    def residuals(w: Tensor) -> Tensor:
        return problem.residuals(w).flatten()

    w = problem.start_on_manifold(np.random.default_rng(1))
    direction = torch.randn(len(w), 1, dtype=torch.float64, generator=seeded(3))
    noise = {
        "one direction": lambda J: direction.expand(len(J), -1, -1),
        "label": label_noise(0.7),
    }[kind]
    J = torch.func.jacrev(residuals)(w)
    across = torch.linalg.pinv(J) @ J
    step, change = 0.03, torch.zeros_like(w)
    for column in noise(J[None])[0].T:
        length = column.norm()
        d = step * column / length
        ends = [limit(residuals, w + s * d, until=20.0) - w for s in (1.0, -1.0, 2.0, -2.0)]
        # Of fourth order in the step.
        second = (4 / 3 * (ends[0] + ends[1]) - (ends[2] + ends[3]) / 12) / step**2
        change += length**2 * second / 2
    along = change - across @ change
    assert torch.allclose(
        drift(residuals, w[None], noise)[0], along, atol=3e-4 * float(along.norm())
    )


@pytest.mark.parametrize("inertia", [0.0, 0.8])
@pytest.mark.parametrize("u", [1.0, 1.7, 0.4])
def test_closed_forms_in_the_scalar_valley(u: float, inertia: float) -> None:
    w = on_floor(u)
    h, D = float(w.square().sum()), float(imbalance(w))
    tangent = torch.stack([w[0], -w[1]]) / h**0.5
    one = torch.tensor([[1.0], [0.0]], dtype=torch.float64)

    def along(noise: object) -> float:
        return float(tangent @ drift(hyperbola, w[None], noise, inertia)[0])  # type: ignore[arg-type]

    assert along(label_noise(0.5)) == pytest.approx(-0.25 / 4 * 2 * D / h**0.5)
    assert along(isotropic_noise(0.5)) == pytest.approx(-0.25 / 4 * 2 * D / h**1.5)
    # Of u^2 - v^2, with Ito's term for the part of the noise that lies along the floor.
    rate = 2 * h**0.5 * along(lambda J: one.expand(len(J), -1, -1)) + D * float(w[0]) ** 2 / h**2
    assert rate == pytest.approx((D**2 + 4 / (1 + inertia * h / 2)) / h**2)


def test_the_fluctuation_is_that_of_heavy_ball_at_a_small_step() -> None:
    generator = np.random.default_rng(0)
    h, F = np.array([1.0, 0.3]), generator.standard_normal((3, 2))
    step, inertia = 1e-4, 2.0
    memory = step / (inertia + step)
    H, beta, lr = np.diag([*h, 0.05]), 1 - memory, step * memory
    # The third direction is nearly flat here, for the law to be stationary.
    A = np.block([[np.eye(3) - lr * H, -lr * beta * np.eye(3)], [H, beta * np.eye(3)]])
    G = np.concatenate([-lr * F, F])
    law = solve_discrete_lyapunov(A, G @ G.T)[:3, :3] / step
    J = torch.diag(torch.tensor([*h, 0.05], dtype=torch.float64).sqrt() * 3**0.5)
    S = fluctuation(J, torch.from_numpy(F), inertia).numpy()
    assert np.allclose(S, law, rtol=2e-3)
    flat = fluctuation(J[:2] * (2 / 3) ** 0.5, torch.from_numpy(F), inertia).numpy()
    assert flat[:2, :2] == pytest.approx(S[:2, :2])
    assert flat[2, 2] == 0
    assert flat[2, :2] == pytest.approx(F[2] @ F[:2].T / (h + inertia / 2 * h**2))


def test_paths_under_label_noise_are_one_path_down_the_trace() -> None:
    path = simulate(
        hyperbola, on_floor(1.6), label_noise(0.5), time=4.0, steps=100, paths=2, generator=seeded()
    )
    assert path.shape == (101, 2, 2)
    assert torch.allclose(path[:, 0], path[:, 1], rtol=1e-12)
    D = imbalance(path[:, 0])
    expected = D[0] * torch.exp(-0.25 * torch.linspace(0, 4, 101, dtype=torch.float64))
    assert torch.allclose(D, expected, rtol=1.5e-2)


def test_paths_under_isotropic_noise_against_kicks_that_flow_back() -> None:
    time, steps, paths, start = 0.5, 25, 1000, on_floor(1.6)
    path = simulate(
        hyperbola,
        start,
        isotropic_noise(1.0),
        time=time,
        steps=steps,
        paths=paths,
        generator=seeded(),
    )
    residual = path[..., 0] * path[..., 1] - 1
    assert float(residual.abs().max()) < 1e-4
    D = imbalance(path)
    # The imbalance is a martingale, with the variance 4 h a unit of time.
    h = (D**2 + 4).sqrt().mean(1)
    spread = 4 * float(torch.trapezoid(h, dx=time / steps))
    assert abs(float(D[-1].mean() - D[0, 0])) < 4 * (spread / paths) ** 0.5
    assert float(D[-1].var()) == pytest.approx(spread, rel=0.2)
    # No formula at all: kick, and let gradient flow, which keeps the imbalance, bring the point back.
    w, generator = start.expand(paths, 2), seeded(1)
    for _ in range(steps):
        kicked = w + (time / steps) ** 0.5 * torch.randn(
            paths, 2, dtype=w.dtype, generator=generator
        )
        half = imbalance(kicked) / 2
        u = (half + (half**2 + 1).sqrt()).sqrt()
        w = torch.stack([u, 1 / u], -1)
    place, twin = path[-1, :, 0].log(), w[:, 0].log()
    error = float((place.var() + twin.var()) / paths) ** 0.5
    assert abs(float(place.mean() - twin.mean())) < 4 * error
    assert float(place.std() / twin.std()) == pytest.approx(1, abs=0.1)


def test_heavy_ball_at_the_border_drifts_as_the_equation_says() -> None:
    generator, runs, step, strength = np.random.default_rng(1), 4096, 0.04, 0.5
    rates = []
    for memory in (1.0, step):
        beta, lr, steps = 1 - memory, step * memory, 500
        w, b = np.ones((2, runs)), np.zeros((2, runs))
        for _ in range(steps):
            b = beta * b + (w[0] * w[1] - 1) * w[::-1]
            b[0] += strength * generator.standard_normal(runs)
            w = w - lr * b
        rates.append((w[0] ** 2 - w[1] ** 2) / (steps * (step * strength) ** 2))
    for rate, inertia in zip(rates, (0.0, 1 - step), strict=True):
        assert abs(rate.mean() - 1 / (1 + inertia)) < 0.05 + 4 * rate.std() / runs**0.5
    assert rates[0].mean() - rates[1].mean() > 0.25


def test_what_is_refused() -> None:
    start = on_floor(1.6)
    good = {
        "residuals": hyperbola,
        "start": start,
        "noise": label_noise(1.0),
        "time": 1.0,
        "steps": 1,
        "paths": 1,
        "generator": seeded(),
    }
    refuses(simulate, good, time=0.0, steps=0, paths=0, inertia=-1.0)
    refuses(label_noise, {}, strength=-1.0)
    refuses(isotropic_noise, {}, strength=float("nan"))
    refuses(limit, {"residuals": hyperbola, "w": start}, until=0.0)
    refuses(drift, {"residuals": hyperbola, "noise": label_noise(1.0)}, w=start)
    with pytest.raises(RuntimeError, match="has not ended"):
        limit(hyperbola, start + 1, until=0.1)
