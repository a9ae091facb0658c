"""The loss of a network, against one pass, in the mode and with the weights that are wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.optim.swa_utils import update_bn

from flatter_lib.curvature import gauss_newton_trace_estimate
from flatter_lib.vision import MLP, ResNet18, flatten, half_squared_error, mean_loss, weights_of
from flatter_lib.vision.measure import filter_trace_estimate

from ..refusals import refuses
from ..seeding import seeded


def data(images: int, *shape: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(images, *shape, generator=seeded(11), dtype=torch.float64)
    return x, torch.eye(4, dtype=torch.float64)[torch.randint(4, (images,), generator=seeded(12))]


def mlp() -> MLP:
    return MLP(6, 5, 4, 3, generator=seeded(1))


def test_the_loss_is_that_of_one_pass() -> None:
    """More images than pass together, and not a multiple of them."""
    (x, y), network = data(600, 6), mlp()
    expected = float(half_squared_error(network(x), y).detach())
    assert mean_loss(network, x, y) == pytest.approx(expected, rel=1e-12)


def test_what_batch_normalisation_has_learnt_is_used_and_left_alone() -> None:
    x, y = data(6, 3, 8, 8)
    network = ResNet18(1 / 32, 4, generator=seeded(1), dtype=torch.float64)
    before = {name: b.clone() for name, b in network.named_buffers()}
    seen = mean_loss(network, x, y)
    assert network.training
    assert all(torch.equal(b, before[name]) for name, b in network.named_buffers())
    assert seen == float(half_squared_error(network.eval()(x), y).detach())


def test_weights_are_lent() -> None:
    network = mlp()
    own = flatten(network)
    with weights_of(network, [torch.zeros_like(p) for p in network.parameters()]):
        assert not flatten(network).any()
    assert torch.equal(flatten(network), own)


def test_the_trace_of_filters_is_the_mean_over_signs_of_what_their_jacobian_gives() -> None:
    """Two outputs of two images: all sixteen patterns of signs, and so the trace itself, can be written out."""
    x, _ = data(2, 3, 4, 4)
    network = ResNet18(1 / 64, 2, generator=seeded(1), dtype=torch.float64).eval()
    J = jacrev(lambda w: functional_call(network, w, (x,)))(dict(network.named_parameters()))
    exact, each = 0.0, torch.zeros(16, dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    for name, w in network.named_parameters():
        if w.ndim == 4:
            for u in range(len(w)):
                own = J[name][:, :, u].reshape(4, -1).detach()
                norm = float(w[u].detach().norm() ** 2)
                exact += norm * float(own.norm() ** 2) / 2
                each += norm * (signs @ own).square().sum(1) / 2
    assert float(each.mean()) == pytest.approx(exact, rel=1e-12)
    found = filter_trace_estimate(network, x, probes=5, generator=np.random.default_rng(3))
    drawn = 2.0 * np.random.default_rng(3).integers(2, size=(5, 2, 2), dtype=np.int8) - 1
    rows = [int(np.flatnonzero((signs.numpy() == z.ravel()).all(1))[0]) for z in drawn]
    assert found.value == pytest.approx(float(each[rows].mean()), rel=1e-12)
    assert found.error == pytest.approx(float(each[rows].std()) / 5**0.5, rel=1e-12)


def test_what_a_normalisation_undoes_changes_tr_g_and_not_that_of_the_filters() -> None:
    x, _ = data(300, 3, 8, 8)
    network = ResNet18(1 / 32, 4, generator=seeded(1), dtype=torch.float64)

    def traces() -> list[float]:
        update_bn([x], network)
        return [
            estimate(network.eval(), x, probes=3, generator=np.random.default_rng(0)).value
            for estimate in (gauss_newton_trace_estimate, filter_trace_estimate)
        ]

    plain, own = traces()
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 4:
                p.mul_(3.0)
    scaled, same = traces()
    assert same == pytest.approx(own, rel=1e-3)  # but for the 1e-5 that is added to variances
    assert scaled < 0.9 * plain


def test_bad_arguments() -> None:
    network, (x, y) = mlp(), data(300, 6)
    good = {"network": network, "inputs": x, "targets": y, "loss": nn.functional.mse_loss}
    refuses(mean_loss, good, inputs=x[:0], targets=y[:257])
    refuses(mean_loss, good, targets=y[:, :1])
    images, _ = data(2, 3, 8, 8)
    good = {"network": ResNet18(1 / 32, generator=seeded(1), dtype=torch.float64), "inputs": images}
    good |= {"probes": 2, "generator": np.random.default_rng(0)}
    refuses(filter_trace_estimate, good, probes=1)
    refuses(filter_trace_estimate, good, inputs=images[:0])
    refuses(filter_trace_estimate, good, network=network)
    own = flatten(network)
    with pytest.raises(ValueError, match="weights: must have the shapes"):
        weights_of(network, [torch.zeros(1) for _ in network.parameters()]).__enter__()
    assert torch.equal(flatten(network), own)
