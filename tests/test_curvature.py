"""The exact trace against Jacobians, Hessians, Hutchinson's estimate, curvlinops and finite differences."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from flatter_lib.curvature import (
    batch_sharpness,
    gauss_newton_top_eigenvalue,
    gauss_newton_trace,
    gauss_newton_trace_estimate,
)
from flatter_lib.vision.networks import MLP, flatten, unflatten
from flatter_lib.vision.residual import ResNet18

from .refusals import refuses
from .seeding import seeded


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

    return jacrev(jacrev(loss))(weights)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU, nn.Softplus])
@pytest.mark.parametrize("layers", [1, 2, 6])
def test_trace_is_the_squared_norm_of_the_jacobian(
    activation: type[nn.Module], layers: int
) -> None:
    network, weights, inputs, _ = example(activation, layers)
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    expected = jacobian(network, weights, inputs).square().sum() / len(inputs)
    torch.testing.assert_close(trace, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_trace_is_that_of_the_hessian_where_targets_are_met_and_for_relu_everywhere(
    activation: type[nn.Module],
) -> None:
    network, weights, inputs, targets = example(activation)
    trace = gauss_newton_trace(network, unflatten(network, weights), inputs)
    met = functional_call(network, unflatten(network, weights), (inputs,)).detach()
    torch.testing.assert_close(trace, hessian(network, weights, inputs, met).trace())
    away = hessian(network, weights, inputs, targets).trace()
    assert (abs(away / trace - 1) < 1e-9) == (activation is nn.ReLU)


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
    torch.testing.assert_close(trace, dense.trace().detach(), rtol=1e-10, atol=0)
    J = jacobian(network, weights, inputs)
    expected = torch.linalg.eigvalsh(J @ J.T / len(inputs))[-1]
    torch.testing.assert_close(torch.linalg.eigvalsh(dense)[-1].detach(), expected)
    for seed in (0, 7):
        top = gauss_newton_top_eigenvalue(network, unflatten(network, weights), inputs, seed=seed)
        assert top == pytest.approx(float(expected), rel=1e-6)
    assert not weights.requires_grad


@pytest.mark.parametrize("layers", [1, 2, 6])
def test_the_cross_entropy_has_its_own_hessian_where_the_softmax_is_the_target(layers: int) -> None:
    network, weights, inputs, _ = example(layers=layers)

    def outputs(w: Tensor) -> Tensor:
        value: Tensor = functional_call(network, unflatten(network, w), (inputs,))
        return value

    targets = outputs(weights).softmax(-1)
    H = jacrev(jacrev(lambda w: -(targets * outputs(w).log_softmax(-1)).sum() / len(inputs)))(
        weights
    )
    parameters = unflatten(network, weights)
    trace = gauss_newton_trace(network, parameters, inputs, crossed=True)
    torch.testing.assert_close(trace, H.trace(), rtol=1e-9, atol=0)
    top = gauss_newton_top_eigenvalue(network, parameters, inputs, crossed=True)
    assert top == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-5)


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
    # The variance of a probe is known: twice the squares off the diagonal of the products of the gradients.
    J = jacobian(network, weights, inputs)
    K = J @ J.T / len(inputs)
    off = float(K.square().sum() - K.diagonal().square().sum())
    errors = np.array([e.error for e in estimates])
    assert float((errors**2).mean()) == pytest.approx(2 * off / 64, rel=0.1)


def test_a_module_at_two_places_counts_twice() -> None:
    tanh = nn.Tanh()
    network = nn.Sequential(nn.Linear(5, 4), tanh, nn.Linear(4, 4), tanh, nn.Linear(4, 2)).double()
    inputs = torch.randn(8, 5, generator=seeded(), dtype=torch.float64)
    trace = gauss_newton_trace(network, unflatten(network, flatten(network)), inputs)
    expected = jacobian(network, flatten(network), inputs).square().sum() / len(inputs)
    torch.testing.assert_close(trace, expected, rtol=1e-12, atol=0)
    linear = nn.Linear(4, 4)
    network = nn.Sequential(linear, tanh, linear)
    with pytest.raises(ValueError, match=r"parameters: must be 0.bias, 0.weight, 2.bias, 2.weight"):
        gauss_newton_trace(network, dict(network.named_parameters()), torch.ones(1, 4))


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1 / 64, 1 / 32])
def test_curvature_of_a_residual_network_in_either_layout(
    width: float, precision: torch.dtype
) -> None:
    """Narrow enough that torch's own kernels would compute something else on processors without AVX-512."""
    seen = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = ResNet18(width, 4, normalization="none", generator=seeded(), dtype=precision)
        for p in network.parameters():
            p.data += 0.1 * torch.randn(p.shape, generator=seeded(p.numel()), dtype=p.dtype)
        network = network.to(memory_format=layout)
        x = torch.randn(6, 3, 8, 8, generator=seeded(3), dtype=precision)
        x = x.contiguous(memory_format=layout)
        top = gauss_newton_top_eigenvalue(network, dict(network.named_parameters()), x)
        trace = gauss_newton_trace_estimate(
            network, x, probes=2, generator=np.random.default_rng(0)
        )
        outputs = network(x).flatten()
        leaves = list(network.parameters())
        J = torch.stack([
            torch.cat([g.flatten() for g in torch.autograd.grad(f, leaves, retain_graph=True)])
            for f in outputs
        ])  # fmt: skip
        assert top == pytest.approx(float(torch.linalg.eigvalsh(J @ J.T / 6)[-1]), rel=1e-4)
        seen.append([top, *trace])
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-4)


def test_the_top_eigenvalue_of_a_single_parameter() -> None:
    network = nn.Linear(1, 1, bias=False)
    top = gauss_newton_top_eigenvalue(
        network, dict(network.named_parameters()), torch.tensor([[3.0]])
    )
    assert top == pytest.approx(9.0)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(2), nn.Dropout(), nn.BatchNorm1d(2, track_running_stats=False)]
)
def test_inputs_must_not_depend_on_each_other(layer: nn.Module) -> None:
    network, x = nn.Sequential(nn.Linear(2, 2), layer), torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"network: 1 \(.*\) is in training mode"):
        gauss_newton_trace_estimate(network, x, probes=2, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"network: 1 \(.*\) is in training mode"):
        gauss_newton_top_eigenvalue(network, dict(network.named_parameters()), x)


def test_bad_arguments() -> None:
    network, x = nn.Sequential(nn.Linear(2, 2), nn.PReLU()), torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"module 1 \(PReLU\) has parameters"):
        gauss_newton_trace(network, dict(network.named_parameters()), x)
    of_another = {"network": network[:1], "inputs": x}
    for function in (gauss_newton_trace, gauss_newton_top_eigenvalue):
        refuses(function, of_another, parameters={"0.weight": torch.ones(2, 2)})
    good = {"network": nn.Linear(2, 1), "inputs": torch.ones(3, 2), "probes": 2, "generator": None}
    refuses(gauss_newton_trace_estimate, good, probes=1, chunk=0, inputs=torch.ones(0, 2))
    with pytest.raises(ValueError, match="parameters that require a gradient: must be an integer"):
        gauss_newton_trace_estimate(**good | {"network": nn.Tanh()})


@pytest.mark.parametrize("batch", [1, 3, 700, None])
def test_batch_sharpness_is_that_of_dense_hessians(batch: int | None) -> None:
    network, weights, inputs, targets = example(layers=3)
    draws = 1 if batch is None else 5
    rows = np.random.default_rng(4).integers(len(inputs), size=(draws, batch or 1))
    curvature, square = 0.0, 0.0
    for row in [range(len(inputs))] if batch is None else rows:
        x, y = inputs[list(row)], targets[list(row)]
        H = hessian(network, weights, x, y)
        leaf = weights.clone().requires_grad_()
        r = functional_call(network, unflatten(network, leaf), (x,)) - y
        (g,) = torch.autograd.grad(0.5 * r.square().sum() / len(x), leaf)
        curvature += float(g @ H @ g)
        square += float(g @ g)
    found = batch_sharpness(
        network,
        unflatten(network, weights),
        inputs,
        targets,
        batch=batch,
        draws=draws,
        generator=np.random.default_rng(4),
    )
    assert found == pytest.approx(curvature / square, rel=1e-10)
    assert curvature > 0


def test_batch_sharpness_without_a_gradient_is_no_number() -> None:
    network, weights, inputs, _ = example(layers=2)
    p = unflatten(network, weights)
    found = batch_sharpness(
        network,
        p,
        inputs,
        network(inputs).detach(),
        batch=None,
        generator=np.random.default_rng(0),
    )
    assert np.isfinite(found)  # the network's own weights are others
    network.load_state_dict(p)
    own = network(inputs).detach()
    nothing = batch_sharpness(
        network, p, inputs, own, batch=None, generator=np.random.default_rng(0)
    )
    assert np.isnan(nothing)


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"batch": 0}, "batch"), ({"draws": 0}, "draws"), ({"targets": 1}, "targets")],
)
def test_batch_sharpness_refuses_by_name(changed: dict[str, int], name: str) -> None:
    network, weights, inputs, targets = example(layers=1)
    arguments = {"batch": 2, "draws": 2} | {k: v for k, v in changed.items() if k != "targets"}
    targets = targets[:-1] if "targets" in changed else targets
    with pytest.raises(ValueError, match=f"^{name}: must be "):
        batch_sharpness(
            network,
            unflatten(network, weights),
            inputs,
            targets,
            generator=np.random.default_rng(0),
            **arguments,
        )
