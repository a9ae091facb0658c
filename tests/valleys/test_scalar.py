import numba
import numpy as np
import pytest

from flatter_lib.stats import first_passage, settling_time
from flatter_lib.valleys import ScalarValley, label_draws, simulate, trajectory

from ..refusals import refuses

VALLEY = ScalarValley(target=1.3, start=1.9)
SETTINGS = [(0.02, 0.0, 0.1), (0.05, 0.9, 0.2), (0.3, 0.5, 0.4)]


def naive(valley, lr, momentum, label_noise, draws):
    u, v = valley.start, valley.target / valley.start
    buffer = [0.0, 0.0]
    path = [(u, v)]
    for draw in draws:
        residual = u * v - valley.target - label_noise * draw
        buffer = [momentum * buffer[0] + residual * v, momentum * buffer[1] + residual * u]
        u, v = u - lr * buffer[0], v - lr * buffer[1]
        path.append((u, v))
    return np.array(path)


@pytest.mark.parametrize(("lr", "momentum", "label_noise"), SETTINGS)
def test_every_step_is_that_of_torch_sgd(lr, momentum, label_noise):
    import torch

    draws = np.random.default_rng(2).standard_normal(2000)
    u, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in VALLEY.initial)
    optimizer = torch.optim.SGD([u, v], lr=lr, momentum=momentum)
    path = [VALLEY.initial]
    for draw in draws:
        optimizer.zero_grad()
        (0.5 * (u * v - VALLEY.target - label_noise * float(draw)) ** 2).backward()
        optimizer.step()
        path.append(np.array([u.item(), v.item()]))
    w = trajectory(VALLEY, lr=lr, momentum=momentum, label_noise=label_noise, draws=draws)
    assert w == pytest.approx(np.array(path), abs=1e-10)


def test_derivatives_are_those_of_the_loss():
    import torch

    w = torch.tensor([0.7, -1.1], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda w: (w[0] * w[1] - 1.3) ** 2 / 2, w)
    assert VALLEY.trace_hessian(w.numpy()) == pytest.approx(hessian.trace().item())
    assert VALLEY.loss(w.numpy()) == pytest.approx((0.7 * -1.1 - 1.3) ** 2 / 2)
    floor = VALLEY.initial
    assert VALLEY.residual(floor) == pytest.approx(0.0, abs=1e-15)
    assert VALLEY.trace_hessian(floor) ** 2 == pytest.approx(
        VALLEY.initial_imbalance**2 + 4 * VALLEY.target**2
    )


def test_a_run_of_an_ensemble_is_the_trajectory_on_its_own_draws():
    lr, momentum, label_noise = (np.array(column) for column in zip(*SETTINGS, strict=True))
    steps = np.array([5000, 4097, 600])
    at = np.array([[0, 7, 2048, 5000], [0, 0, 2049, 4097], [1, 1, 1, 600]])
    runs = simulate(
        VALLEY, lr=lr, momentum=momentum, label_noise=label_noise, steps=steps, seeds=[5, 2], at=at
    )
    for i, (own_lr, own_momentum, own_noise) in enumerate(SETTINGS):
        for j, seed in enumerate([5, 2]):
            w = trajectory(
                VALLEY,
                lr=own_lr,
                momentum=own_momentum,
                label_noise=own_noise,
                draws=label_draws(seed, i, steps[i]),
            )
            assert np.array_equal(runs.w[i, j], w[at[i]])


def test_times_are_those_of_the_whole_trajectory():
    levels = [0.7, 0.2, 0.05]
    settings = {"lr": 0.05, "momentum": [0.9, 0.99], "label_noise": 0.1}
    every = np.arange(801)
    runs = simulate(VALLEY, **settings, steps=800, seeds=40, levels=levels, at=every)
    relative = VALLEY.imbalance(runs.w) / VALLEY.initial_imbalance
    for k, level in enumerate(levels):
        passage = first_passage(every, relative, level)
        settling = settling_time(every, relative, level)
        assert np.array_equal(runs.first_passage[..., k], passage, equal_nan=True)
        assert np.array_equal(runs.settling[..., k], settling, equal_nan=True)
    assert np.isnan(runs.settling).any()
    assert np.isfinite(runs.settling).any()
    assert (runs.settling[1] > runs.first_passage[1]).any()


def test_a_run_at_its_level_has_arrived_and_settled():
    step = {"lr": 0.1, "momentum": 0.0, "label_noise": 0.3, "steps": 1}
    w = simulate(VALLEY, **step, seeds=[0], at=[1]).w[0, 0, 0]
    level = VALLEY.imbalance(w) / VALLEY.initial_imbalance
    runs = simulate(VALLEY, **step, seeds=[0], levels=[level])
    assert (runs.first_passage, runs.settling) == (1, 1)


def test_a_run_depends_neither_on_company_nor_on_threads(monkeypatch):
    settings = {"lr": [0.05, 0.1], "momentum": 0.9, "label_noise": 0.2, "levels": [0.1]}
    both = []
    for threads in (1, 2):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        both.append(simulate(VALLEY, **settings, steps=3000, seeds=70, at=[3000]))
    alone = simulate(VALLEY, **settings, steps=3000, seeds=[69], at=[3000])
    assert np.array_equal(both[0].w, both[1].w)
    assert np.array_equal(both[0].settling, both[1].settling, equal_nan=True)
    assert np.array_equal(both[0].w[:, 69:], alone.w)
    assert np.array_equal(both[0].settling[:, 69:], alone.settling, equal_nan=True)


def test_draws_are_standard_normal_and_independent_between_runs_and_settings():
    assert label_draws(0, 0, 0).shape == (0,)
    draws = np.array([label_draws(seed, k, 50_000) for seed in range(6) for k in range(3)])
    n = draws.size
    assert abs(draws.mean()) < 4 / n**0.5
    assert abs((draws**2).mean() - 1) < 4 * (2 / n) ** 0.5
    assert abs((draws**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((draws**4).mean() - 3) < 4 * (96 / n) ** 0.5
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 4.5 / 50_000**0.5
    lagged = (draws[:, 1:] * draws[:, :-1]).mean()
    assert abs(lagged) < 4 / n**0.5


def test_imbalance_obeys_its_exact_law_without_momentum():
    draws = np.random.default_rng(3).standard_normal(4000)
    w = trajectory(VALLEY, lr=0.2, momentum=0.0, label_noise=0.3, draws=draws)
    noisy = VALLEY.residual(w[:-1]) - 0.3 * draws
    exact = VALLEY.imbalance(w[:-1]) * (1 - 0.2**2 * noisy**2)
    assert VALLEY.imbalance(w[1:]) == pytest.approx(exact, abs=1e-13)


def test_an_unstable_run_is_reported_with_the_step_at_which_it_left():
    settings = {"momentum": 0.0, "label_noise": 0.1, "steps": 400}
    runs = simulate(VALLEY, lr=[1.5, 0.05], **settings, seeds=5, levels=[0.5], at=range(401))
    assert np.isfinite(runs.left[0]).all()
    assert np.isnan(runs.left[1]).all()
    assert np.isnan(runs.settling[0]).all()
    trace = VALLEY.trace_hessian(runs.w[0])
    for row, left in zip(trace, runs.left[0].astype(int), strict=True):
        assert (row[:left] < 1e8).all()
        assert np.isnan(row[left:]).all()
    with np.errstate(over="ignore", invalid="ignore"):
        path = naive(VALLEY, 1.5, 0.0, 0.1, label_draws(0, 0, int(runs.left[0, 0])))
        assert not VALLEY.trace_hessian(path[-1]) < 1e8


def test_overflow_within_one_step_counts_as_leaving():
    runs = simulate(VALLEY, lr=1e200, momentum=0.9, label_noise=1e200, steps=3, seeds=1)
    assert runs.left[0, 0] == 1


@pytest.mark.parametrize("start", [1.9, 0.6])
@pytest.mark.parametrize("residual", [0.7, -0.9])
def test_a_displaced_start_is_carried_to_the_start_by_gradient_flow(start, residual):
    valley = ScalarValley(target=1.3, start=start)
    w = valley.displaced(residual)
    assert (w > 0).all()
    assert valley.residual(w) == pytest.approx(residual)
    steps = np.zeros(8000)
    path = trajectory(
        valley, lr=0.005, momentum=0.0, label_noise=0.0, draws=steps, start_residual=residual
    )
    assert np.array_equal(path[0], w)
    assert path[-1] == pytest.approx(valley.initial, abs=0.005)
    runs = simulate(
        valley,
        lr=0.005,
        momentum=0.0,
        label_noise=0.0,
        steps=8000,
        seeds=2,
        start_residual=[residual, 0.0],
        at=[0, 8000],
    )
    assert np.array_equal(runs.w[0, 1], path[[0, -1]])
    assert np.array_equal(runs.w[1, 1, 0], valley.initial)


def test_sign_noise_is_the_sign_of_the_draw():
    settings = {"lr": 0.05, "momentum": 0.9, "label_noise": 0.2}
    signs = np.sign(label_draws(4, 0, 5000))
    runs = simulate(VALLEY, **settings, steps=5000, seeds=[4], at=[3, 5000], noise="sign")
    assert np.array_equal(runs.w[0, 0], trajectory(VALLEY, **settings, draws=signs)[[3, 5000]])


def test_isotropic_noise_is_added_to_the_gradient_of_the_clean_loss():
    lr, momentum, strength = 0.05, 0.9, 0.2
    kicks = label_draws(4, 0, 10_000).reshape(-1, 2)
    w, buffer = VALLEY.displaced(0.3), np.zeros(2)
    for kick in kicks:
        buffer = momentum * buffer + VALLEY.residual(w) * w[::-1] + strength * kick
        w = w - lr * buffer
    runs = simulate(
        VALLEY,
        lr=lr,
        momentum=momentum,
        label_noise=strength,
        steps=5000,
        seeds=[4],
        at=[5000],
        noise="gaussian",
        start_residual=0.3,
    )
    assert runs.w[0, 0, 0] == pytest.approx(w, abs=1e-12)


def test_bad_arguments():
    good = {"valley": VALLEY, "lr": 0.1, "momentum": 0.5, "label_noise": 0.1}
    many = {**good, "steps": 10, "seeds": 2}
    refuses(simulate, many, lr=[0.1, np.inf], momentum=1.0, label_noise=-1.0, steps=0, seeds=[])
    refuses(simulate, many, levels=[1.0], at=[11], noise="pink", start_residual=-1.3)
    refuses(simulate, many, levels=[[0.5]], at=[[1], [2]])
    refuses(trajectory, {**good, "draws": [0.0]}, lr=[0.1, 0.2], draws=[], start_residual=np.nan)
    refuses(label_draws, {"seed": 0, "setting": 0, "steps": 1}, seed=None, setting=-1, steps=1.5)
    refuses(VALLEY.displaced, {}, residual=np.inf)
    refuses(ScalarValley, {}, start=0.0, target=-1.0)
    with pytest.raises(ValueError, match="do not broadcast"):
        simulate(**{**many, "lr": [0.1, 0.2], "momentum": [0.0, 0.1, 0.2]})
    with pytest.raises(ValueError, match="at: must not decrease"):
        simulate(**many, at=[5, 4])
    with pytest.raises(ValueError, match="the last axis must hold u and v"):
        VALLEY.loss([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="runs start at the flat point"):
        simulate(**{**many, "valley": ScalarValley(start=1.0)}, levels=[0.5])
