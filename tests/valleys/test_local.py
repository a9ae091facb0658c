"""Local SGD: what is derived of it against loops over workers, and the runs against a loop written by hand."""

from itertools import islice

import numpy as np
import pytest
import torch

from flatter_lib.valleys import DiagonalNetwork, slow
from flatter_lib.valleys.local import label_noise, rounds, share


def mean_square(step: float, h: float, K: int, H: int) -> float:
    """Of a worker's displacement over the steps of a round, from the covariances of all workers, at rest."""
    C, rho, average = np.zeros((K, K)), 1 - step * h, np.full((K, K), 1 / K)
    while True:
        before, seen = C, []
        for _ in range(H):
            seen.append(C[0, 0])
            C = rho**2 * C + step**2 * h * np.eye(K)
        C = average @ C @ average
        if np.abs(C - before).max() <= 1e-16 * C.max():
            return float(np.mean(seen))


@pytest.mark.parametrize("h", [0.3, 5.0, 10.0, 17.0])
@pytest.mark.parametrize(("workers", "period"), [(1, 7), (2, 1), (3, 2), (8, 25)])
def test_the_share_is_that_of_all_workers_covariances(h: float, workers: int, period: int) -> None:
    step = 0.1
    derived = (1 + (workers - 1) * share(h, step, period)) * step / (2 - step * h) / workers
    assert derived == pytest.approx(mean_square(step, h, workers, period), rel=1e-12)


def test_small_steps_have_the_limit() -> None:
    h, x = 2.0, np.array([0.1, 1.0, 10.0])
    found = [float(share(h, t / (2 * h * 10**6), 10**6)) for t in x]
    assert found == pytest.approx((np.exp(-x) - 1 + x) / x, rel=1e-5)


def test_rounds_are_those_of_a_loop_over_workers() -> None:
    step, K, H, R = 0.1, 3, 4, 2
    seen = []

    def gradient(w: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        seen.append(generator.standard_normal(w.shape))
        return w**3 + seen[-1]

    start = np.array([[1.0, 2.0], [0.5, -1.0]])
    run = rounds(gradient, start, lr=step, workers=K, period=H, generator=np.random.default_rng(0))
    *_, found = islice(run, 5)
    by_hand = start.copy()
    for r in range(R):
        for n in range(5):
            ends = []
            for k in range(K):
                w = by_hand[r].copy()
                for j in range(H):
                    w -= step * (w**3 + seen[n * H + j][r, k])
                ends.append(w)
            by_hand[r] = sum(ends) / K
    assert found == pytest.approx(by_hand, rel=1e-12)


def test_the_noise_has_the_covariance_that_is_said() -> None:
    problem = DiagonalNetwork(inputs=8, sparsity=1, measurements=3)
    w = problem.start_on_manifold(np.random.default_rng(0))
    J = torch.func.jacrev(lambda x: problem.residuals(x).squeeze(-1))(w)
    step, K, H = 0.02, 4, 30
    F = label_noise(0.7, lr=step, workers=K, period=H)(J)
    h, U = np.linalg.eigh((J.T @ J / 3).numpy())
    h, U = h[-3:], U[:, -3:]
    gain = (1 + (K - 1) * share(h, step, H)) / (1 - step * h / 2) / K
    assert (F @ F.T).numpy() == pytest.approx(
        (U * (0.49 / 3 * h * gain)) @ U.T, rel=1e-9, abs=1e-12
    )
    alone = slow.label_noise(0.7)(J)
    one = label_noise(0.7, lr=1e-9, workers=1, period=5)(J)
    assert (one @ one.T).numpy() == pytest.approx((alone @ alone.T).numpy(), rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"lr": 0.0}, "lr"), ({"workers": 0}, "workers"), ({"period": 1.5}, "period")],
)
def test_what_means_nothing_is_refused_by_name(changed: dict, name: str) -> None:
    given = {"lr": 0.1, "workers": 2, "period": 3} | changed
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        next(rounds(lambda w, g: w, np.ones((1, 1)), generator=np.random.default_rng(0), **given))
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        label_noise(1.0, **given)


def test_curvatures_beyond_the_edge_and_starts_without_runs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^curvature: must be"):
        share(21.0, 0.1, 3)
    with pytest.raises(ValueError, match=r"^start: must have"):
        next(
            rounds(
                lambda w, g: w,
                np.ones(2),
                lr=0.1,
                workers=2,
                period=2,
                generator=np.random.default_rng(0),
            )
        )
