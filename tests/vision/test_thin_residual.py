"""The thin residual network: its counts by formula, its arithmetic by hand, its first weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from flatter_lib.vision.thin_residual import CifarResNet
from tests.refusals import refuses
from tests.seeding import seeded


@pytest.mark.parametrize(("depth", "width", "c"), [(8, 0.5, [8, 16, 32]), (20, 0.3, [5, 10, 19])])
def test_parameters_are_as_many_as_the_formula_says(depth: int, width: float, c: list[int]) -> None:
    network, n = CifarResNet(depth, width, 7, 1, generator=seeded()), (depth - 2) // 6
    weights = 9 * c[0] + sum(9 * (2 * n) * a**2 for a in c)
    weights += sum(a * b + 9 * a * b - 9 * b**2 for a, b in pairwise(c))
    norms = 2 * (c[0] + sum(2 * n * a for a in c) + c[1] + c[2])
    assert sum(p.numel() for p in network.parameters()) == weights + norms + 7 * c[2] + 7


def test_outputs_are_those_of_functions_applied_by_hand() -> None:
    network = CifarResNet(8, 0.25, generator=seeded(), dtype=torch.float64)
    x = torch.randn(6, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    weights = [p for p in network.parameters() if p.ndim == 4]

    def conv(x: torch.Tensor, w: torch.Tensor, stride: int = 1) -> torch.Tensor:
        x = functional.conv2d(x, w, stride=stride, padding=w.shape[-1] // 2)
        centred = x - x.mean((0, 2, 3), keepdim=True)
        return centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    stem, *rest = weights
    h = conv(x, stem).relu()
    for stride in (1, 2, 2):
        first, second = rest[:2]
        shortcut = h if stride == 1 else conv(h, rest[2], stride)
        rest = rest[2 if stride == 1 else 3 :]
        h = (conv(conv(h, first, stride).relu(), second) + shortcut).relu()
    assert not rest
    assert h.shape == (6, 16, 2, 2)
    expected = functional.linear(h.mean((2, 3)), *network.head.parameters())
    torch.testing.assert_close(network(x), expected)


def test_first_weights_have_the_variance_of_the_rule_and_are_the_generators() -> None:
    network = CifarResNet(14, 2.0, generator=seeded(3))
    again = CifarResNet(14, 2.0, generator=seeded(3))
    for (name, p), q in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
        if p.ndim == 4 and p.numel() > 5000:
            assert float(p.detach().var()) * p[0].numel() == pytest.approx(2, rel=0.1), name
    head = network.head.weight.detach()
    assert float(head.var()) * head.shape[1] == pytest.approx(1, rel=0.2)


def test_what_means_nothing_is_refused() -> None:
    refuses(CifarResNet, {"generator": seeded()}, depth=10, width=0.0, outputs=0, inputs=0)
    refuses(CifarResNet, {"generator": seeded()}, normalization="layer")
