"""The exact trace against Jacobians, Hessians, Hutchinson's estimate, curvlinops and finite differences."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from flatter_lib.curvature import (
    gauss_newton_top_eigenvalue,
    gauss_newton_trace,
    gauss_newton_trace_estimate,
    hutchinson_trace,
)
from flatter_lib.valleys.module import FromModule
from flatter_lib.valleys.sensing import MatrixSensing
from flatter_lib.vision.networks import MLP, flatten, unflatten


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(
    activation: type[nn.Module] = nn.Tanh, layers: int = 6
) -> tuple[MLP, Tensor, Tensor, Tensor]:
    """A small network, weights away from their start (biases not zero), inputs and arbitrary targets."""
    network = MLP(5, 4, 3, layers, activation, generator=seeded())
    weights = flatten(network)
    weights += 0.3 * torch.randn(weights.shape, generator=seeded(1), dtype=weights.dtype)
    inputs = torch.randn(8, 5, generator=seeded(2), dtype=weights.dtype)
    targets = torch.randn(8, 3, generator=seeded(3), dtype=weights.dtype)
    return network, weights, inputs, targets


def jacobian(network: nn.Module, weights: Tensor, inputs: Tensor) -> Tensor:
    """Rows are the gradients of every output for every input."""

    def outputs(w: Tensor) -> Tensor:
        value: Tensor = functional_call(network, unflatten(network, w), (inputs,))
        return value.reshape(-1)

    rows: Tensor = jacrev(outputs)(weights)
    return rows


def hessian(network: nn.Module, weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Of the loss with half the squared error averaged over the inputs, by reverse mode twice."""

    def loss(w: Tensor) -> Tensor:
        value: Tensor = functional_call(network, unflatten(network, w), (inputs,))
        return 0.5 * (value - targets).square().sum() / len(inputs)

    second: Tensor = jacrev(jacrev(loss))(weights)
    return second


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU, nn.Softplus])
@pytest.mark.parametrize("layers", [1, 2, 6])
def test_trace_is_the_squared_norm_of_the_jacobian(
    activation: type[nn.Module], layers: int
) -> None:
    network, weights, inputs, _ = example(activation, layers)
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    expected = jacobian(network, weights, inputs).square().sum() / len(inputs)
    torch.testing.assert_close(trace, expected, rtol=1e-12, atol=0)


def test_trace_without_biases() -> None:
    network = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 2)).double()
    weights = flatten(network)
    inputs = torch.randn(8, 5, generator=seeded(), dtype=torch.float64)
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    expected = jacobian(network, weights, inputs).square().sum() / len(inputs)
    torch.testing.assert_close(trace, expected, rtol=1e-12, atol=0)


def test_trace_is_that_of_the_hessian_where_the_targets_are_met() -> None:
    network, weights, inputs, targets = example()
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    met = functional_call(network, unflatten(network, weights), (inputs,)).detach()
    torch.testing.assert_close(trace, hessian(network, weights, inputs, met).trace())
    away = hessian(network, weights, inputs, targets).trace()
    assert abs(away / trace - 1) > 0.01


def test_trace_is_that_of_the_hessian_everywhere_for_piecewise_linear_networks() -> None:
    network, weights, inputs, targets = example(nn.ReLU)
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    torch.testing.assert_close(trace, hessian(network, weights, inputs, targets).trace())


def test_trace_agrees_with_hutchinson() -> None:
    network, weights, inputs, _ = example()
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    J = jacobian(network, weights, inputs)
    signs = torch.randint(2, (weights.numel(), 4000), generator=seeded(4)).double() * 2 - 1
    estimates = (J @ signs).square().sum(0) / len(inputs)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - trace) < 4 * error
    assert error < 0.02 * trace


def test_trace_and_top_eigenvalue_agree_with_curvlinops() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import GGNLinearOperator  # type: ignore[import-untyped]

        network, weights, inputs, targets = example()
        network.load_state_dict(unflatten(network, weights))
        operator = GGNLinearOperator(
            network,
            nn.MSELoss(reduction="sum"),
            list(network.parameters()),
            [(inputs, targets)],
        )
        # The sum of squared errors has twice the curvature of half of it; the mean here is over inputs.
        dense = (operator @ torch.eye(weights.numel(), dtype=weights.dtype)) / (2 * len(inputs))
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    top = gauss_newton_top_eigenvalue(network, unflatten(network, weights), inputs)
    torch.testing.assert_close(trace, dense.trace().detach(), rtol=1e-10, atol=0)
    assert top == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-5)


def test_trace_is_differentiable_in_the_parameters() -> None:
    network, weights, inputs, _ = example()

    def trace(w: Tensor) -> Tensor:
        return gauss_newton_trace(network, unflatten(network, w), inputs)

    direction = torch.randn(weights.shape, generator=seeded(5), dtype=weights.dtype)
    slope = torch.func.grad(trace)(weights) @ direction
    step = 1e-5
    difference = (trace(weights + step * direction) - trace(weights - step * direction)) / (
        2 * step
    )
    torch.testing.assert_close(slope, difference, rtol=1e-7, atol=0)


def test_trace_of_many_runs_at_once() -> None:
    network, weights, inputs, _ = example()
    many = torch.stack([weights, 0.5 * weights, -weights])
    single = [gauss_newton_trace(network, unflatten(network, w), inputs) for w in many]
    batched = torch.func.vmap(lambda w: gauss_newton_trace(network, unflatten(network, w), inputs))
    torch.testing.assert_close(batched(many), torch.stack(single))


def test_modules_with_other_parameters_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    with pytest.raises(ValueError, match=r"module 1 \(PReLU\) has parameters"):
        gauss_newton_trace(network, dict(network.named_parameters()), torch.zeros(1, 2))


def test_top_eigenvalue_is_that_of_the_jacobian_and_of_no_leaf() -> None:
    network, weights, inputs, _ = example()
    J = jacobian(network, weights, inputs)
    top = gauss_newton_top_eigenvalue(network, unflatten(network, weights), inputs, seed=7)
    expected = torch.linalg.eigvalsh(J @ J.T / len(inputs))[-1]
    assert top == pytest.approx(float(expected), rel=1e-6)
    assert not weights.requires_grad


def test_hutchinson_is_as_far_from_the_exact_trace_as_it_says() -> None:
    problem = MatrixSensing(rows=4, columns=3, rank=1, measurements=5, width=2)
    w = torch.from_numpy(np.random.default_rng(0).standard_normal(problem.dimension))
    exact = float(problem.trace(w))
    H: Tensor = jacrev(jacrev(problem.loss))(w)
    off = float(H.square().sum() - H.diagonal().square().sum())
    generator, probes = np.random.default_rng(1), 64
    estimates = [
        hutchinson_trace(problem.loss, w, probes=probes, generator=generator) for _ in range(200)
    ]
    deviations = np.array([(e.value - exact) / e.error for e in estimates])
    # Of 200 standard normal numbers: the mean within 4.5 errors, the deviation within as many of its own.
    assert abs(deviations.mean()) < 4.5 / 200**0.5
    assert abs(deviations.std() - 1) < 4.5 / 400**0.5
    errors = np.array([e.error for e in estimates])
    assert float((errors**2).mean()) == pytest.approx(2 * off / probes, rel=0.1)


def test_the_estimate_of_the_gauss_newton_trace_is_as_far_off_as_it_says() -> None:
    network, weights, inputs, _ = example(layers=2)
    network.load_state_dict(unflatten(network, weights))
    exact = float(gauss_newton_trace(network, unflatten(network, weights), inputs))
    generator = np.random.default_rng(1)
    estimates = [
        gauss_newton_trace_estimate(network, inputs, probes=64, generator=generator)
        for _ in range(200)
    ]
    deviations = np.array([(e.value - exact) / e.error for e in estimates])
    assert abs(deviations.mean()) < 4.5 / 200**0.5
    assert abs(deviations.std() - 1) < 4.5 / 400**0.5


def test_hutchinson_agrees_with_curvlinops_and_with_the_exact_trace_of_a_module() -> None:
    network, weights, inputs, targets = example()
    network.load_state_dict(unflatten(network, weights))
    problem = FromModule(network, inputs, targets)
    estimate = hutchinson_trace(
        problem.loss, weights, probes=400, generator=np.random.default_rng(0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import HessianLinearOperator

        operator = HessianLinearOperator(
            network, nn.MSELoss(reduction="sum"), list(network.parameters()), [(inputs, targets)]
        )
        dense = (operator @ torch.eye(weights.numel(), dtype=weights.dtype)) / (2 * len(inputs))
    exact = float(dense.trace())
    assert exact == pytest.approx(float(hessian(network, weights, inputs, targets).trace()))
    assert abs(estimate.value - exact) < 4 * estimate.error
    assert estimate.error < 0.1 * float(problem.trace(weights))
    # Away from the targets Tr H and Tr G differ, and the estimate is of H.
    assert abs(exact - float(problem.trace(weights))) > 8 * estimate.error


def test_hutchinson_does_not_depend_on_how_many_products_are_made_together() -> None:
    problem = MatrixSensing(rows=4, columns=3, rank=1, measurements=5, width=2)
    w = torch.from_numpy(np.random.default_rng(0).standard_normal(problem.dimension))
    one, many = (
        hutchinson_trace(
            problem.loss, w, probes=10, generator=np.random.default_rng(2), chunk=chunk
        )
        for chunk in (1, 7)
    )
    assert one == pytest.approx(many, rel=1e-12)


def test_hutchinson_needs_two_probes() -> None:
    with pytest.raises(ValueError, match="probes: must be an integer from 2, got 1"):
        hutchinson_trace(torch.sum, torch.ones(2), probes=1, generator=np.random.default_rng(0))
