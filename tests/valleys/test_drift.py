"""The drift of a student along its manifold against small steps of Euler's."""

import numpy as np
import pytest
import torch
from torch.func import grad, jacrev

from flatter_lib.valleys.drift import flow
from flatter_lib.valleys.teacher import TeacherStudent


@pytest.mark.parametrize(("activation", "length"), [("relu", 0.024), ("erf", 0.34)])
def test_the_flow_solves_its_equation(activation, length):
    problem = TeacherStudent(
        inputs=5, teacher_width=2, student_width=10, activation=activation, samples=20
    )
    start = problem.start_on_manifold(np.random.default_rng(0))
    path = flow(problem, start, length, steps=40)

    w, steps = start.clone(), 1000
    for _ in range(steps):
        J = jacrev(lambda v: problem.outputs(v).ravel())(w)
        gradient = grad(problem.trace)(w)
        across = torch.linalg.pinv(J) @ (J @ gradient)
        w = w - length / steps * (gradient - across) / 4
    fallen = path.trace[0] - path.trace[-1]
    assert fallen > 0.005 * path.trace[0]
    assert path.trace[0] - float(problem.trace(w)) == pytest.approx(fallen, rel=0.02)
    assert path.time[-1] == length


def test_the_flow_says_when_it_passes_a_level():
    problem = TeacherStudent(
        inputs=5, teacher_width=2, student_width=10, activation="relu", samples=20
    )
    start = problem.start_on_manifold(np.random.default_rng(0))
    path = flow(problem, start, 4.0, steps=50)
    ends = path.trace[0], path.trace[-1]
    for level in (0.5, 0.1):
        at = ends[1] + level * (ends[0] - ends[1])
        late = next(i for i, x in enumerate(path.trace) if x <= at)
        assert 4.0 * (late - 1) / 50 < path.passage(level) <= 4.0 * late / 50
        assert np.interp(path.passage(level), path.time, path.trace) == pytest.approx(at, rel=1e-12)
