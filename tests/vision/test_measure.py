"""The loss of a network, against one pass, in the mode and with the weights that are wanted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flatter_lib.vision import MLP, ResNet18, flatten, half_squared_error, mean_loss, weights_of

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


def test_bad_arguments() -> None:
    network, (x, y) = mlp(), data(300, 6)
    good = {"network": network, "inputs": x, "targets": y, "loss": nn.functional.mse_loss}
    refuses(mean_loss, good, inputs=x[:0], targets=y[:257])
    refuses(mean_loss, good, targets=y[:, :1])
    own = flatten(network)
    with pytest.raises(ValueError, match="weights: must have the shapes"):
        weights_of(network, [torch.zeros(1) for _ in network.parameters()]).__enter__()
    assert torch.equal(flatten(network), own)
