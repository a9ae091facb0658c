"""The Kronecker eigenbasis, and curvature and noise along it, against matrices written out in full."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from flatter_lib.curvature import gauss_newton_trace
from flatter_lib.fisher import (
    Basis,
    curvature_along,
    gradient_along,
    kronecker_eigenbasis,
    weights_along,
)
from flatter_lib.vision.networks import MLP, flatten, unflatten

from .refusals import refuses
from .seeding import seeded


def images(n: int = 5) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 2, 6, 5, generator=seeded(1), dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=seeded(2))


def convolutional() -> nn.Sequential:
    """Strides, padding, dilation, an activation in place, layers with and without bias."""
    network = nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 2, dilation=2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).double()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=seeded(p.numel()), dtype=p.dtype))
    return network


def jacobians(network: nn.Module, x: Tensor) -> Tensor:
    """Of the outputs of each input by itself, (n, K, d)."""

    def outputs(w: Tensor) -> Tensor:
        value: Tensor = functional_call(network, unflatten(network, w), (x,))
        return value

    found: Tensor = jacrev(outputs)(flatten(network))
    return found


def full_fisher(network: nn.Module, x: Tensor) -> Tensor:
    j, likely = jacobians(network, x), network(x).detach().softmax(-1)
    middle = torch.diag_embed(likely) - likely.unsqueeze(2) * likely.unsqueeze(1)
    return torch.einsum("nkp,nkl,nlq->pq", j, middle, j) / len(x)


def vectors(network: nn.Module, basis: Basis) -> Tensor:
    """The eigenvectors as columns in the order of `flatten`, one by one by outer products."""
    places = unflatten(network, torch.arange(len(flatten(network))).double())
    columns = []
    for name, block in basis.items():
        prefix = f"{name}." if name else ""
        weight = places[f"{prefix}weight"].reshape(len(block.outputs), -1)
        own = [weight, places[f"{prefix}bias"][:, None]] if f"{prefix}bias" in places else [weight]
        rows = torch.cat(own, 1).long()
        for i in range(len(block.outputs)):
            for j in range(len(block.inputs)):
                column = torch.zeros(len(flatten(network)), dtype=torch.float64)
                column[rows] = torch.outer(block.outputs[:, i], block.inputs[:, j])
                columns.append(column)
    return torch.stack(columns, 1)


def test_one_layer_with_equal_softmax_has_the_eigenvalues_of_the_full_matrix() -> None:
    network = nn.Linear(4, 3).double()
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([0.3, -0.5, 1.0]))
    x = torch.randn(7, 4, generator=seeded(), dtype=torch.float64)
    basis = kronecker_eigenbasis(network, x)
    found = basis[""].eigenvalues.flatten()
    expected = torch.linalg.eigvalsh(full_fisher(network, x))
    torch.testing.assert_close(found.sort().values, expected, atol=1e-12, rtol=1e-9)
    # And each belongs to its eigenvector.
    np.testing.assert_allclose(curvature_along(network, basis, x), found, atol=1e-12)


def test_a_single_input_has_the_eigenvalues_of_every_block() -> None:
    network = MLP(4, 3, 3, 3, generator=seeded())
    x = torch.randn(1, 4, generator=seeded(1), dtype=torch.float64)
    fisher, start = full_fisher(network, x), 0
    for block in kronecker_eigenbasis(network, x).values():
        end = start + block.eigenvalues.numel()
        expected = torch.linalg.eigvalsh(fisher[start:end, start:end])
        found = block.eigenvalues.flatten().sort().values
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
        start = end


def test_a_convolution_of_one_position_is_a_linear_layer() -> None:
    convolution, linear = nn.Conv2d(2, 3, (6, 5)).double(), nn.Linear(60, 3).double()
    network = nn.Sequential(convolution, nn.Flatten())
    assert convolution.bias is not None
    with torch.no_grad():
        linear.weight.copy_(convolution.weight.reshape(3, -1))
        linear.bias.copy_(convolution.bias)
    x, _ = images()
    found = kronecker_eigenbasis(network, x)["0"].eigenvalues
    torch.testing.assert_close(found, kronecker_eigenbasis(linear, x.flatten(1))[""].eigenvalues)


def test_the_factors_of_a_convolution_take_its_positions_for_independent() -> None:
    """T equal positions count T times where the matrix itself counts T^2."""
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    x, _ = images()
    x = x[:, :, :1, :1].expand(-1, -1, 4, 4).contiguous()
    found = kronecker_eigenbasis(network, x)["0"].eigenvalues.sum()
    assert float(found) == pytest.approx(float(full_fisher(network, x).trace()) / 16)


def test_curvature_and_noise_are_those_of_matrices_in_full() -> None:
    network, (x, labels) = convolutional(), images()
    basis = kronecker_eigenbasis(network, x[:3])
    v = vectors(network, basis)
    torch.testing.assert_close(v.T @ v, torch.eye(len(v), dtype=v.dtype))
    curvature = torch.einsum("pv,pq,qv->v", v, full_fisher(network, x), v)
    np.testing.assert_allclose(curvature_along(network, basis, x), curvature, atol=1e-12)
    errors = network(x).detach().softmax(-1)
    errors[torch.arange(len(x)), labels] -= 1
    gradients = torch.einsum("nk,nkp,pv->nv", errors, jacobians(network, x), v)
    mean, variance = gradient_along(network, basis, x, labels)
    np.testing.assert_allclose(mean, gradients.mean(0), atol=1e-12)
    np.testing.assert_allclose(variance, gradients.var(0, correction=0), atol=1e-12)
    weights = weights_along(network, basis, dict(network.named_parameters()))
    np.testing.assert_allclose(weights, v.T @ flatten(network), atol=1e-12)


def test_the_trace_is_that_of_the_gauss_newton_matrix_for_any_number_of_inputs() -> None:
    network = MLP(5, 4, 3, 3, generator=seeded())
    x = torch.randn(300, 5, generator=seeded(1), dtype=torch.float64)
    basis = kronecker_eigenbasis(network, x)
    weights = unflatten(network, flatten(network))
    expected = float(gauss_newton_trace(network, weights, x, crossed=True))
    assert curvature_along(network, basis, x).sum() == pytest.approx(expected)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.layer(self.layer(x))
        return value


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.layer(x)
        return value


def test_what_is_no_such_network_is_refused() -> None:
    x = torch.randn(3, 2, generator=seeded())
    network = nn.Linear(2, 2)
    basis = kronecker_eigenbasis(network, x)
    refuses(kronecker_eigenbasis, {"network": network, "inputs": x}, inputs=x[:0])
    for other in (Twice(), Idle(), nn.Sequential(nn.ReLU()), nn.BatchNorm1d(2)):
        refuses(kronecker_eigenbasis, {"network": network, "inputs": x}, network=other)
    grouped = nn.Conv2d(2, 2, 1, groups=2)
    refuses(kronecker_eigenbasis, {"network": network, "inputs": x}, network=grouped)
    refuses(curvature_along, {"network": network, "basis": basis, "inputs": x}, basis={})
    labels = torch.zeros(3, dtype=torch.int64)
    given = {"network": network, "basis": basis, "inputs": x, "labels": labels}
    refuses(gradient_along, given, labels=labels[:2])
