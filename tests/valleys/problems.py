"""Small problems of every kind, for tests of what they all promise."""

import torch
from torch import nn

from flatter_lib.valleys.diagonal import DiagonalNetwork
from flatter_lib.valleys.module import FromModule
from flatter_lib.valleys.sensing import MatrixSensing
from flatter_lib.valleys.teacher import TeacherStudent


def _module() -> FromModule:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4)).double()
    for p in module.parameters():
        p.data = 0.7 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    classes = torch.randint(4, (7,), generator=generator)
    fresh = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return FromModule(
        module,
        x,
        torch.eye(4, dtype=torch.float64)[classes],
        test_inputs=fresh,
        test_targets=torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]],
    )


PROBLEMS = {
    "sensing": MatrixSensing(rows=6, columns=5, rank=2, measurements=9, width=3),
    "diagonal": DiagonalNetwork(inputs=12, sparsity=2, measurements=5),
    **{
        activation: TeacherStudent(
            inputs=3, teacher_width=2, student_width=6, activation=activation, samples=8
        )
        for activation in ("erf", "relu", "softplus", "tanh")
    },
    "module": _module(),
}
