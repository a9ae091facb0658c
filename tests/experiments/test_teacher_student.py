from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.ensemble import noise_stream
from flatter_lib.experiments.teacher_student import (
    ACTIVATIONS,
    ERROR_LEVEL,
    LEVELS,
    REST,
    SLOW,
    Configuration,
    flow_of,
    run_many,
)

from .paths import times

SMALL = Configuration("erf", 0.3, 0.15, 0.6, 400, 3, 7, rests=True)


def outputs(w, x, activation):
    """The student as torch.nn would write it."""
    W, a = w[:-10].view(10, 5), w[-10:]
    z = x @ W.T
    return (torch.relu(z) if activation == "relu" else torch.erf(z / 2**0.5)) @ a


def looked(path, problem):
    """Tr H, from the derivatives of a network with one hidden layer, and test error at all points of a path."""
    w = torch.stack(path)
    W, a = w[:, :-10].view(-1, 10, 5), w[:, -10:]
    z = (problem.x @ W.mT).requires_grad_()
    unit = torch.relu(z) if problem.activation == "relu" else torch.erf(z / 2**0.5)
    (slope,) = torch.autograd.grad(unit.sum(), z)
    of_input = (a[:, None] * slope).square().sum(2) * problem.x.square().sum(1)
    of_output = unit.detach().square().sum(2)
    return (of_input + of_output).mean(1).numpy(), problem.test_error(w).numpy()


def path_of(c, j):
    """Tr H and test error at every step with noise on, and at the last one at rest, by torch.optim.SGD."""
    problem, start = c.problem, flow_of(c.problem).start
    x, y = problem.x, problem.targets.squeeze(1)
    w = torch.from_numpy(start.copy()).requires_grad_()
    draws = c.strength * noise_stream(c.seed + j).standard_normal((c.steps, len(x)))
    rest = int(np.ceil((REST / c.lr + 20 / c.memory**2) * c.memory))
    found = []
    for steps, noise in ((c.steps, draws), (rest, np.zeros((rest, len(x))))):
        optimizer, path = torch.optim.SGD([w], lr=c.lr, momentum=1 - c.memory), []
        for k in range(steps):
            path.append(w.detach().clone())
            optimizer.zero_grad()
            target = y + torch.from_numpy(noise[k])
            ((outputs(w, x, c.activation) - target).square().sum() / (2 * len(x))).backward()
            optimizer.step()
        found.append(looked([*path, w.detach().clone()], problem))
    noisy, calm = found
    return noisy, [values[-1] for values in calm]


def test_a_cell_holds_the_times_of_its_runs_whole_paths():
    cells = [SMALL, replace(SMALL, lr=0.24, memory=0.4)]
    ends = flow_of(SMALL.problem)
    reached = 0
    for c, measured in zip(cells, run_many(cells), strict=True):
        assert measured["diverged"] == 0
        for j in range(c.runs):
            (traces, errors), rest = path_of(c, j)
            x = (traces - ends.trace[-1]) / (traces[0] - ends.trace[-1])
            e = (errors - ends.error[-1]) / (errors[0] - ends.error[-1])
            for n, level in enumerate(LEVELS):
                first, settled = times(x, level)
                np.testing.assert_equal(measured["first_passage"][n][j], first)
                np.testing.assert_equal(measured["settling"][n][j], settled)
                reached += np.isfinite(first)
            first, settled = times(e, ERROR_LEVEL)
            np.testing.assert_equal(measured["error_first_passage"][j], first)
            np.testing.assert_equal(measured["error_settling"][j], settled)
            assert measured["late_excess"][j] == pytest.approx(x[301:].mean(), rel=2e-3)
            assert measured["late_error"][j] == pytest.approx(errors[301:].mean(), rel=2e-3)
            assert measured["rest_trace"][j] == pytest.approx(rest[0], rel=2e-3)
            assert measured["rest_error"][j] == pytest.approx(rest[1], rel=2e-3)
    assert reached > 2


def test_the_curve_is_the_median_over_runs():
    one, three = (run_many([replace(SMALL, runs=runs, rests=False)])[0] for runs in (1, 3))
    steps, middle, _ = np.array(three["curve"])
    alone, single, _ = np.array(one["curve"])
    np.testing.assert_array_equal(steps, alone)
    assert np.any(middle != single)
    (traces, errors), _ = path_of(SMALL, 0)
    np.testing.assert_allclose(single, traces[steps.astype(int)], rtol=1e-3)
    np.testing.assert_allclose(one["curve"][2], errors[steps.astype(int)], rtol=1e-3)


def test_runs_that_diverge_never_arrive():
    measured = run_many(
        [replace(SMALL, activation="relu", lr=3.0, memory=1.0, steps=50, rests=False)]
    )[0]
    assert measured["diverged"] == 3
    assert np.isnan(measured["settling"]).all()
    assert np.isnan(measured["late_error"]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_flow_ends_where_nothing_moves(activation):
    path = flow_of(replace(SMALL, activation=activation).problem)
    late = path.excess(path.trace)[path.time > 0.75 * path.time[-1]]
    assert late.max() < 0.02
    slow = path.time[np.argmax(path.excess(path.trace) <= np.exp(-1))]
    assert slow == pytest.approx(SLOW[activation], rel=0.1)
    assert path.error[-1] < path.error[0] / 3
