from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.ensemble import noise_stream
from flatter_lib.evidence.record import plain
from flatter_lib.experiments.teacher_student import (
    ACTIVATIONS,
    ERROR_LEVEL,
    LEVELS,
    NOISES_MEMORIES,
    PROFILES,
    PROTOCOL_LEVELS,
    PROTOCOL_LRS,
    PROTOCOL_MEMORIES,
    REST,
    SHARPEST,
    SLOW,
    TUNED_STRENGTHS,
    WEAKER,
    WEAKER_MEMORIES,
    WEAKEST_MEMORIES,
    Configuration,
    flow_of,
    run_many,
    tuned,
)

from .paths import times

#: A cell of the protocol, of a size that a test can wait for.
WIDE = Configuration("relu", 0.05, 0.1, 0.8, 900, 3, 11, 1, False, 6, 2, 12, 24)
SMALL = Configuration("erf", 0.3, 0.15, 0.6, 400, 3, 7, rests=True)


def outputs(w, x, activation):
    """The student as torch.nn would write it."""
    h = len(w) // (x.shape[1] + 1)
    W, a = w[:-h].view(h, -1), w[-h:]
    z = x @ W.T
    return (torch.relu(z) if activation == "relu" else torch.erf(z / 2**0.5)) @ a


def looked(path, problem):
    """Tr H, from the derivatives of a network with one hidden layer, and test error at all points of a path."""
    w = torch.stack(path)
    h = w.shape[1] // (problem.inputs + 1)
    W, a = w[:, :-h].view(len(w), h, -1), w[:, -h:]
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


def test_a_cell_of_the_protocol_holds_the_times_of_its_runs_whole_paths():
    path = flow_of(WIDE.problem)
    (measured,) = run_many([WIDE])
    ends, reached = path.trace[[0, -1]], 0
    for j in range(WIDE.runs):
        (traces, errors), _ = path_of(WIDE, j)
        x = (traces - ends[1]) / (ends[0] - ends[1])
        seen = x[::2]  # a look every second step
        for n, level in enumerate(PROTOCOL_LEVELS):
            first, settled = times(seen, level)
            np.testing.assert_equal(measured["first_passage"][n][j], 2 * first)
            np.testing.assert_equal(measured["settling"][n][j], 2 * settled)
            reached += np.isfinite(settled)
        assert measured["late_excess"][j] == pytest.approx(seen[338:].mean(), rel=2e-3)
        assert measured["last_error"][j] == pytest.approx(errors[-1], rel=2e-3)
    assert reached > 2
    drift = (path.trace - ends[1]) / (ends[0] - ends[1])
    for level, s in zip(PROTOCOL_LEVELS, measured["flow"], strict=True):
        late = np.flatnonzero(drift <= level)[0]
        assert path.time[late - 1] < s <= path.time[late]


def test_a_cell_of_the_protocol_alone_is_what_it_is_in_company():
    cells = [replace(WIDE, steps=60, lr=lr, student_width=70, samples=60) for lr in (0.01, 0.02)]
    assert plain(run_many(cells)) == plain([run_many([c])[0] for c in cells])


def test_the_protocol_has_one_grid_of_momenta_for_all_step_sizes_and_steps_that_are_stable():
    cells = [c for c in PROFILES["laptop"] if c.wide]
    grids = {}
    for c in cells:
        if c.memory < 1:
            grids.setdefault((c.teacher, c.lr, c.strength, c.steps), []).append(c.memory)
    assert set(map(tuple, grids.values())) == {
        PROTOCOL_MEMORIES,
        NOISES_MEMORIES,
        WEAKER_MEMORIES,
        WEAKEST_MEMORIES,
    }
    octaves = 2 * np.log2(np.concatenate(list(grids.values())) / PROTOCOL_MEMORIES[0])
    np.testing.assert_allclose(octaves, np.rint(octaves), atol=2e-3)  # one lattice
    assert {lr for _, lr, eps, _ in grids if eps == WEAKER} == set(list(PROTOCOL_LRS)[::2])
    assert {tuple(g) for (_, _, eps, _), g in grids.items() if eps == 2.0} == {PROTOCOL_MEMORIES}
    lrs = sorted({c.lr for c in cells})
    np.testing.assert_allclose(np.divide(lrs[1:], lrs[:-1]), 2.0, rtol=1e-3)
    assert len(lrs) == len(PROTOCOL_LRS) == 5
    problems = {c.teacher: c.problem for c in cells}
    assert len(problems) == 16
    assert {c.teacher for c in cells if c.strength != 2.0} == {*range(1, 9)}
    strengths = sorted({eps for teacher, lr, eps, _ in grids if teacher == 1 and lr == lrs[-1]})
    np.testing.assert_allclose(strengths, 2.0 ** np.arange(-0.5, 3.1, 0.5), rtol=1e-3)
    for teacher, problem in problems.items():
        start = problem.start_on_manifold(np.random.default_rng(teacher))
        _, kernel = problem.jacobian(start)
        assert 0.5 < lrs[-1] * float(torch.linalg.eigvalsh(kernel)[-1]) / problem.samples <= 1
    seeds = {(c.teacher, c.lr, c.strength, c.memory == 1): c.seed for c in cells}
    assert len(set(seeds.values())) == len(seeds)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_tuned_settings_are_given_as_multiples_of_the_steepest_wall(activation):
    problem = replace(SMALL, activation=activation).problem
    J = torch.func.jacrev(lambda w: problem.outputs(w).ravel())(
        torch.from_numpy(flow_of(problem).start)
    )
    steepest = float(torch.linalg.matrix_norm(J, 2)) ** 2 / problem.samples
    assert steepest == pytest.approx(SHARPEST[activation], rel=1e-3)
    for strength in TUNED_STRENGTHS[activation]:
        one, heavy = tuned(activation, strength)
        steps = sorted({c.lr * steepest for c in heavy})
        assert [c.lr * steepest for c in one] == pytest.approx(
            [1, 1.5, 1.9, 2.5, 3.2, 4, 5, 6.5, 8], rel=1e-3
        )
        assert steps == pytest.approx([0.5, 1, 1.5, 1.9, 2.75, 3.5], rel=1e-3)
        assert one[0].lr * steepest <= 1
        assert steps[1] <= 1
