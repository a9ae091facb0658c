"""The drift of a student network along its manifold of minimisers, in the limit of small steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from flatter_lib.valleys.teacher import TeacherStudent

Floats = NDArray[np.float64]


class Flow(NamedTuple):
    """The drift in the limit of small steps.

    Attributes:
        start: where it begins, (P,).
        time: s, (R,).
        trace: Tr H there, (R,).
        error: test error there, (R,).
    """

    start: Floats
    time: Floats
    trace: Floats
    error: Floats

    def excess(self, trace: Floats) -> Floats:
        """Tr H as a fraction of the way that the flow makes."""
        fraction: Floats = (trace - self.trace[-1]) / (self.trace[0] - self.trace[-1])
        return fraction

    def passage(self, level: float) -> float:
        """The time s at which the excess of the flow first is at a level below 1, linear between its steps."""
        excess = self.excess(self.trace)
        at = int(np.argmax(excess <= level))
        share = (excess[at - 1] - level) / (excess[at - 1] - excess[at])
        return float(self.time[at - 1] + share * (self.time[at] - self.time[at - 1]))

    def error_excess(self, error: Floats) -> Floats:
        """The same for the test error."""
        fraction: Floats = (error - self.error[-1]) / (self.error[0] - self.error[-1])
        return fraction


def flow(problem: TeacherStudent, start: torch.Tensor, length: float, steps: int = 800) -> Flow:
    r"""Follow the drift :math:`dw/ds = -\frac14 P \nabla \operatorname{Tr} H` along the manifold.

    P projects on the null space of the residuals' derivative. Each step is one of the midpoint rule and a way back to
    the manifold, by two Gauss-Newton steps. A ``relu`` student's Tr H has kinks; the flow slides along them to within a
    step.

    Args:
        problem: outputs and Tr H.
        start: an interpolating point, float64, shape (P,).
        length: how far to go in s.
        steps: how many.

    Returns:
        The flow, recorded at every step.

    Examples:
        >>> problem = TeacherStudent(
        ...     inputs=5, teacher_width=2, student_width=10, activation="erf", samples=20
        ... )
        >>> path = flow(problem, problem.start_on_manifold(np.random.default_rng(0)), length=1.0, steps=10)
        >>> bool((np.diff(path.trace) < 0).all())
        True
    """
    y = problem.targets.squeeze(1)
    small = 1e-13 * torch.eye(len(y), dtype=torch.float64)

    def linear(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The residuals' derivative J, and J J^T."""
        J, kernel = problem.jacobian(w)
        return J, kernel + kernel.diagonal().mean() * small

    def velocity(w: torch.Tensor) -> torch.Tensor:
        at = w.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(problem.trace(at), at)
        J, gram = linear(w)
        along: torch.Tensor = gradient - J.T @ torch.linalg.solve(gram, J @ gradient)
        return -along / 4

    w, ds = start, length / steps
    path = [w]
    for _ in range(steps):
        w = w + ds * velocity(w + ds / 2 * velocity(w))
        for _ in range(2):
            J, gram = linear(w)
            w = w - J.T @ torch.linalg.solve(gram, problem.outputs(w).squeeze(1) - y)
        path.append(w)
    points = torch.stack(path)
    return Flow(
        start.numpy(),
        np.linspace(0.0, length, steps + 1),
        problem.trace(points).numpy(),
        problem.test_error(points).numpy(),
    )
