from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import grad, jacrev

from flatter_lib.ensemble import noise_stream
from flatter_lib.experiments.teacher_student import (
    ACTIVATIONS,
    ERROR_LEVEL,
    GAMMAS,
    LAW_STEPS,
    LEVELS,
    PROFILES,
    REST,
    SCAN_STEPS,
    TUNED_STEPS,
    TUNED_STRENGTHS,
    Configuration,
    cell,
    cost,
    flow,
    flow_of,
    law,
    resting,
    run,
    scan,
    tuned,
)

from .paths import times

SMALL = Configuration("erf", (0.3, 0.24), (0.15, 0.4), 0.6, 400, 3, 7, rests=True)


def outputs(w, x, activation):
    """The student as torch.nn would write it."""
    W, a = w[:-10].view(10, 5), w[-10:]
    z = x @ W.T
    return (torch.relu(z) if activation == "relu" else torch.erf(z / 2**0.5)) @ a


def trace(w, x, activation):
    J = jacrev(lambda v: outputs(v, x, activation))(w)
    return float(J.square().sum()) / len(x)


def path_of(c, i, j):
    """Tr H and test error at every step with noise on, and at the last one at rest, by torch.optim.SGD."""
    problem, start = c.problem, flow_of(c.activation, c.teacher).start
    x, y = problem.x, problem.targets.squeeze(1)
    w = torch.from_numpy(start.copy()).requires_grad_()
    draws = c.strength * noise_stream(c.seed + j).standard_normal((c.steps, len(x)))
    seen = []
    for steps, noisy in (
        (c.steps, True),
        (int(np.ceil((REST / c.lr[i] + 20 / c.memory[i] ** 2) * c.memory[i])), False),
    ):
        optimizer = torch.optim.SGD([w], lr=c.lr[i], momentum=1 - c.memory[i])
        for k in range(steps):
            if noisy:
                seen.append(
                    (trace(w.detach(), x, c.activation), float(problem.test_error(w.detach())))
                )
            optimizer.zero_grad()
            target = y + torch.from_numpy(draws[k]) if noisy else y
            ((outputs(w, x, c.activation) - target).square().sum() / (2 * len(x))).backward()
            optimizer.step()
        if noisy:
            seen.append((trace(w.detach(), x, c.activation), float(problem.test_error(w.detach()))))
    rest = (trace(w.detach(), x, c.activation), float(problem.test_error(w.detach())))
    return np.array(seen).T, rest


def test_a_cell_holds_the_times_of_its_runs_whole_paths():
    measured = run(SMALL)
    ends = flow_of("erf", 0)
    reached = 0
    for i in range(2):
        for j in range(2):
            (traces, errors), rest = path_of(SMALL, i, j)
            x = (traces - ends.trace[-1]) / (traces[0] - ends.trace[-1])
            e = (errors - ends.error[-1]) / (errors[0] - ends.error[-1])
            for n, level in enumerate(LEVELS):
                first, settled = times(x, level)
                np.testing.assert_equal(measured["first_passage"][i][n][j], first)
                np.testing.assert_equal(measured["settling"][i][n][j], settled)
                reached += np.isfinite(first)
            first, settled = times(e, ERROR_LEVEL)
            np.testing.assert_equal(measured["error_first_passage"][i][j], first)
            np.testing.assert_equal(measured["error_settling"][i][j], settled)
            assert measured["late_excess"][i][j] == pytest.approx(x[301:].mean(), rel=2e-3)
            assert measured["late_error"][i][j] == pytest.approx(errors[301:].mean(), rel=2e-3)
            assert measured["rest_trace"][i][j] == pytest.approx(rest[0], rel=2e-3)
            assert measured["rest_error"][i][j] == pytest.approx(rest[1], rel=2e-3)
    assert reached > 2
    assert measured["diverged"] == [0, 0]


def test_the_curve_is_the_median_over_runs():
    one, three = (run(replace(SMALL, runs=runs, rests=False)) for runs in (1, 3))
    steps, middle, _ = np.array(three["curve"][0])
    alone, single, _ = np.array(one["curve"][0])
    np.testing.assert_array_equal(steps, alone)
    assert np.any(middle != single)
    (traces, errors), _ = path_of(SMALL, 0, 0)
    np.testing.assert_allclose(single, traces[steps.astype(int)], rtol=1e-3)
    np.testing.assert_allclose(one["curve"][0][2], errors[steps.astype(int)], rtol=1e-3)


def test_runs_that_diverge_never_arrive():
    measured = run(
        replace(SMALL, activation="relu", lr=(3.0,), memory=(1.0,), steps=50, rests=False)
    )
    assert measured["diverged"] == [3]
    assert np.isnan(measured["settling"]).all()
    assert np.isnan(measured["late_error"]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_flow_solves_its_equation(activation):
    problem = Configuration(activation, (), (), 0.0, 1, 1, 0).problem
    start = problem.start_on_manifold(np.random.default_rng(0))
    length = 0.02 * ACTIVATIONS[activation].slow
    path = flow(problem, start, length, steps=40)

    w, steps = start.clone(), 1000
    for _ in range(steps):
        J = jacrev(lambda v: outputs(v, problem.x, activation))(w)
        gradient = grad(problem.trace)(w)
        across = torch.linalg.pinv(J) @ (J @ gradient)
        w = w - length / steps * (gradient - across) / 4
    fallen = path.trace[0] - path.trace[-1]
    assert fallen > 0.005 * path.trace[0]
    assert path.trace[0] - trace(w, problem.x, activation) == pytest.approx(fallen, rel=0.02)
    assert path.time[-1] == length


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_flow_ends_where_nothing_moves(activation):
    path = flow_of(activation, 0)
    late = path.excess(path.trace)[path.time > 0.75 * path.time[-1]]
    assert late.max() < 0.02
    slow = path.time[np.argmax(path.excess(path.trace) <= np.exp(-1))]
    assert slow == pytest.approx(ACTIVATIONS[activation].slow, rel=0.1)
    assert path.error[-1] < path.error[0] / 3


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_law_has_its_exponent_and_its_kappa_in_the_middle(activation, gamma):
    cells = law(activation, gamma, 0.7)
    lr, memory = (np.array([getattr(c, name) for c in cells]) for name in ("lr", "memory"))
    np.testing.assert_allclose(lr / lr[0], LAW_STEPS, rtol=1e-3)
    assert np.polyfit(np.log(lr), np.log(memory), 1)[0] == pytest.approx(gamma, abs=1e-3)
    assert cells[len(cells) // 2].kappa == pytest.approx(0.7, rel=2e-3)


def test_plain_sgd_is_where_there_is_no_memory():
    assert cell("relu", 1.0, 50.0, 0.001).memory == 1.0


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_the_cells_that_the_chapter_reads(profile):
    cells = {
        (c.activation, lr, memory, c.strength)
        for c in PROFILES[profile]
        for lr, memory in zip(c.lr, c.memory, strict=True)
        if c.teacher == 0
    }
    if profile == "smoke":
        assert {c[0] for c in cells} == set(ACTIVATIONS)
        return
    wanted = []
    for name in ACTIVATIONS:
        wanted += [c for gamma in GAMMAS for c in law(name, gamma, 1.0)]
        wanted += [c for step in SCAN_STEPS for c in scan(name, step)] + resting(name)
        wanted += [c for s in TUNED_STRENGTHS[name] for part in tuned(name, s) for c in part]
        largest = max(TUNED_STEPS) * ACTIVATIONS[name].lr
        assert max(c[1] for c in cells if c[0] == name) == pytest.approx(largest)
    assert {tuple(c) for c in wanted} <= cells


def test_the_published_profile_stays_within_its_time():
    assert sum(map(cost, PROFILES["laptop"])) < 15 * 60
