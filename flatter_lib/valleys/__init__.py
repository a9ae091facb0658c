"""Losses with a manifold of minimisers, and what is known of the way along it."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.valleys.diagonal import DiagonalNetwork
    from flatter_lib.valleys.factorization import MatrixLoss, balanced, flow
    from flatter_lib.valleys.greedy import greedy_low_rank
    from flatter_lib.valleys.problem import Problem
    from flatter_lib.valleys.ranks import descent_exponent, exact_flow, plateau, plateau_exponent
    from flatter_lib.valleys.reduced import reduced_times
    from flatter_lib.valleys.scalar import Runs, ScalarValley, label_draws, simulate, trajectory
    from flatter_lib.valleys.sensing import MatrixSensing
    from flatter_lib.valleys.teacher import TeacherStudent
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = [
    "DiagonalNetwork",
    "MatrixLoss",
    "MatrixSensing",
    "Problem",
    "Runs",
    "ScalarValley",
    "TeacherStudent",
    "balanced",
    "descent_exponent",
    "exact_flow",
    "flow",
    "greedy_low_rank",
    "label_draws",
    "plateau",
    "plateau_exponent",
    "reduced_times",
    "simulate",
    "trajectory",
]
