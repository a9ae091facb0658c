"""Looks at a network: loss and accuracy against one pass, traces against the Hessian itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

from flatter_lib.curvature import gauss_newton_trace, gauss_newton_trace_estimate
from flatter_lib.vision.inputs import Inputs
from flatter_lib.vision.measure import (
    accuracy,
    log_spaced,
    look,
    mean_loss,
    weights_of,
)
from flatter_lib.vision.networks import MLP, flatten, unflatten
from flatter_lib.vision.objective import half_squared_error
from flatter_lib.vision.residual import ResNet18

CLASSES = 4


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(images: int, *shape: int) -> Inputs:
    generator = seeded(11)
    x, x_test = (
        torch.randn(images, *shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    labels, labels_test = (torch.randint(CLASSES, (images,), generator=generator) for _ in range(2))
    return Inputs(x, labels, torch.eye(CLASSES, dtype=torch.float64)[labels], x_test, labels_test)


def mlp(activation: type[nn.Module] = nn.Tanh) -> MLP:
    return MLP(6, 5, CLASSES, 3, activation, generator=seeded(1))


def full_trace(network: nn.Module, x: Tensor, y: Tensor) -> float:
    def loss(w: Tensor) -> Tensor:
        return half_squared_error(functional_call(network, unflatten(network, w), (x,)), y)

    hessian: Tensor = jacrev(grad(loss))(flatten(network))
    return float(hessian.trace())


def test_loss_and_accuracy_are_those_of_one_pass() -> None:
    """More images than pass together, and not a multiple of them."""
    data, network = inputs(600, 6), mlp()
    outputs = network(data.x).detach()
    assert mean_loss(network, data.x, data.targets) == pytest.approx(
        float(half_squared_error(outputs, data.targets)), rel=1e-12
    )
    assert accuracy(network, data.x, data.labels) == float(
        (outputs.argmax(-1) == data.labels).double().mean()
    )


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_traces_are_estimated_within_their_errors(activation: type[nn.Module]) -> None:
    data, network = inputs(9, 6), mlp(activation)
    exact_g = float(gauss_newton_trace(network, dict(network.named_parameters()), data.x).detach())
    exact_h = full_trace(network, data.x, data.targets)
    g = gauss_newton_trace_estimate(
        network, data.x, probes=400, generator=np.random.default_rng(0), chunk=4
    )
    assert abs(g.value - exact_g) < 4 * g.error < 0.3 * exact_g
    if activation is nn.ReLU:
        assert exact_h == pytest.approx(exact_g, rel=1e-10)
    else:
        assert abs(exact_h - exact_g) > 1e-3 * exact_g


def test_over_all_signs_the_estimate_is_exact() -> None:
    """Two inputs, two outputs: the mean over all sixteen signs, by hand."""
    network, x = (
        MLP(3, 2, 2, 2, generator=seeded(0)),
        torch.randn(2, 3, generator=seeded(1)).double(),
    )
    leaves = list(network.parameters())
    squares = []
    for k in range(16):
        signs = torch.tensor([1.0 - 2 * (k >> i & 1) for i in range(4)]).double().view(2, 2)
        gradient = torch.autograd.grad(network(x), leaves, signs)
        squares.append(sum(float((g * g).sum()) for g in gradient) / 2)
    exact = gauss_newton_trace(network, dict(network.named_parameters()), x)
    assert np.mean(squares) == pytest.approx(float(exact.detach()), rel=1e-12)


def test_a_residual_network_without_normalisation_has_the_same_trace_of_h_and_g() -> None:
    data = inputs(3, 1, 4, 4)
    network = ResNet18(
        1 / 64, CLASSES, 1, normalization="none", generator=seeded(1), dtype=torch.float64
    )
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape, generator=seeded(p.numel()), dtype=p.dtype), alpha=0.2)
    leaves = list(network.parameters())
    rows = [torch.autograd.grad(f, leaves, retain_graph=True) for f in network(data.x).flatten()]
    exact_g = sum(float((g * g).sum()) for row in rows for g in row) / 3
    assert full_trace(network, data.x, data.targets) == pytest.approx(exact_g, rel=1e-9)


def test_a_look_sees_what_its_parts_see() -> None:
    data, network = inputs(9, 6), mlp()
    network.train()
    seen = look(network, data, probes=3, seed=4, images=5, top=True)
    assert network.training
    assert seen.loss == mean_loss(network, data.x, data.targets)
    assert seen.accuracy == accuracy(network, data.x_test, data.labels_test)
    again = gauss_newton_trace_estimate(
        network, data.x[:5], probes=3, generator=np.random.default_rng(4)
    )
    assert seen.trace == again
    gradients = torch.stack(
        [
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(f, list(network.parameters()), retain_graph=True)
                ]
            )
            for f in network(data.x[:5]).flatten()
        ]
    )
    assert seen.top == pytest.approx(
        float(torch.linalg.matrix_norm(gradients, 2) ** 2 / 5), rel=1e-5
    )
    assert look(network, data, probes=3, seed=4).top is None


def test_a_look_uses_what_batch_normalisation_has_learnt() -> None:
    data = inputs(6, 3, 8, 8)
    network = ResNet18(1 / 32, CLASSES, generator=seeded(1), dtype=torch.float64)
    before = {name: b.clone() for name, b in network.named_buffers()}
    seen = look(network, data, probes=2, seed=0)
    assert all(torch.equal(b, before[name]) for name, b in network.named_buffers())
    network.eval()
    assert seen.loss == float(half_squared_error(network(data.x), data.targets).detach())


def test_weights_are_lent() -> None:
    network = mlp()
    own = flatten(network)
    with weights_of(network, [torch.zeros_like(p) for p in network.parameters()]):
        assert not flatten(network).any()
    assert torch.equal(flatten(network), own)


@pytest.mark.parametrize("last", [1, 2, 7, 1000])
def test_looks_are_spaced_evenly_in_the_logarithm(last: int) -> None:
    steps = log_spaced(last, per_decade=10)
    assert steps[:2] == [0, 1]
    assert steps[-1] == last
    assert steps == sorted(set(steps))
    ratios = np.divide(steps[2:], steps[1:-1])
    assert all(
        ratio <= max(1.27, (step + 1) / step, 1.27 * (step + 0.5) / step)
        for ratio, step in zip(ratios, steps[1:-1], strict=True)
    )


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="last: must be an integer from 1, got 0"):
        log_spaced(0)
    with pytest.raises(ValueError, match=r"per_decade: must be an integer from 1, got 1.5"):
        log_spaced(10, 1.5)  # type: ignore[arg-type]
    network, data = mlp(), inputs(300, 6)
    with pytest.raises(ValueError, match="images: must be an integer from 1 to 300, got -1"):
        look(network, data, probes=2, seed=0, images=-1)
    for wrong in (data.labels[:1], data.targets):
        with pytest.raises(ValueError, match=r"labels: must be whole numbers of shape \(300,\)"):
            accuracy(network, data.x, wrong)
    for few in (data.targets[:257], data.targets[:, :1]):
        with pytest.raises(ValueError, match="targets: must have the shape of the outputs"):
            mean_loss(network, data.x, few, loss=torch.nn.functional.mse_loss)
    with pytest.raises(ValueError, match="inputs: must be an integer from 1, got 0"):
        mean_loss(network, data.x[:0], data.targets[:0])
    own = flatten(network)
    with (
        pytest.raises(ValueError, match="weights: must have the shapes"),
        weights_of(network, [torch.zeros(1) for _ in network.parameters()]),
    ):
        pass
    assert torch.equal(flatten(network), own)
    with pytest.raises(ValueError, match="probes: must be an integer from 2, got 1"):
        gauss_newton_trace_estimate(
            mlp(), inputs(3, 6).x, probes=1, generator=np.random.default_rng()
        )
