"""The ensemble against torch's own SGD, its noise against algebra, its runs against their company."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from flatter_lib.curvature import gauss_newton_trace
from flatter_lib.vision.ensemble import AdamWEnsemble, Ensemble
from flatter_lib.vision.label_noise import LabelNoise
from flatter_lib.vision.networks import MLP, flatten, unflatten
from flatter_lib.vision.objective import accuracy, evaluate, squared_loss

INPUTS, OUTPUTS, IMAGES = 6, 3, 20
SETTINGS = [(0.05, 0.0, 0.3), (0.05, 0.9, 0.0), (0.002, 0.97, 1.0), (0.1, 0.5, 0.3)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = seeded(11)
    inputs = torch.randn(IMAGES, INPUTS, generator=generator, dtype=torch.float64)
    targets = torch.eye(OUTPUTS)[torch.randint(OUTPUTS, (IMAGES,), generator=generator)]
    return inputs.to(dtype), targets.to(dtype)


def networks(runs: int, layers: int = 6) -> list[MLP]:
    return [MLP(INPUTS, 5, OUTPUTS, layers, generator=seeded(seed)) for seed in range(runs)]


def starts(runs: int) -> Tensor:
    return torch.stack([flatten(network) for network in networks(runs)])


def ensemble(chosen: list[int], batch: int | None, **options: Any) -> Ensemble:
    """Runs of SETTINGS, each with the start and the seed that belong to its number."""
    lr, momentum, noise = zip(*[SETTINGS[i] for i in chosen], strict=True)
    inputs, targets = data()
    return Ensemble(
        networks(1)[0],
        starts(len(SETTINGS))[chosen],
        inputs,
        targets,
        lr=lr,
        momentum=momentum,
        label_noise=noise,
        batch=batch,
        generators=[seeded(100 + i) for i in chosen],
        **options,
    )


@pytest.mark.parametrize("batch", [None, 7])
def test_every_run_is_that_of_torch_sgd_with_the_same_noise(batch: int | None) -> None:
    steps = 30
    runs = ensemble([0, 1, 2, 3], batch)
    runs.run(steps)
    inputs, targets = data()
    for i, (lr, momentum, noise) in enumerate(SETTINGS):
        network, generator = networks(4)[i], seeded(100 + i)
        optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
        visited = []
        for _ in range(steps):
            rows = torch.arange(IMAGES)
            if batch is not None:
                rows = torch.randint(IMAGES, (batch,), generator=generator)
            y = targets[rows]
            if noise:
                y = y + noise * torch.randn(y.shape, generator=generator, dtype=y.dtype)
            optimizer.zero_grad()
            (0.5 * (network(inputs[rows]) - y).square().sum(-1)).mean().backward()
            optimizer.step()
            visited.append(flatten(network))
        torch.testing.assert_close(runs.weights[i], visited[-1], rtol=0, atol=1e-10)
        torch.testing.assert_close(
            runs.average[i], torch.stack(visited).mean(0), rtol=0, atol=1e-10
        )
    assert runs.steps == steps
    assert runs.diverged.tolist() == [-1] * 4


@pytest.mark.parametrize("batch", [None, 7])
def test_every_run_with_flips_is_that_of_torch_sgd(batch: int | None) -> None:
    inputs, targets = data()
    probabilities = [0.4, 0.0, 0.2]
    runs = Ensemble(
        networks(1)[0],
        starts(3),
        inputs,
        targets,
        lr=0.05,
        momentum=0.8,
        label_noise=probabilities,
        noise="flip",
        batch=batch,
        generators=[seeded(100 + i) for i in range(3)],
    )
    runs.run(20)
    for i, probability in enumerate(probabilities):
        network, generator = networks(3)[i], seeded(100 + i)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.8)
        for _ in range(20):
            rows = torch.arange(IMAGES)
            if batch is not None:
                rows = torch.randint(IMAGES, (batch,), generator=generator)
            y = LabelNoise("flip", probability)(targets[rows], generator)
            optimizer.zero_grad()
            (0.5 * (network(inputs[rows]) - y).square().sum(-1)).mean().backward()
            optimizer.step()
        torch.testing.assert_close(runs.weights[i], flatten(network), rtol=0, atol=1e-10)


def test_every_run_of_adamw_is_that_of_torch() -> None:
    inputs, targets = data()
    rates, decay = [0.01, 0.003], 0.1
    runs = AdamWEnsemble(
        networks(1)[0],
        starts(2),
        inputs,
        targets,
        lr=rates,
        momentum=[0.9, 0.5],
        beta2=0.98,
        weight_decay=decay,
        batch=7,
        generators=[seeded(100 + i) for i in range(2)],
    )
    for steps in (1, 29):
        runs.run(steps)
    for i, (lr, beta1) in enumerate(zip(rates, [0.9, 0.5], strict=True)):
        network, generator = networks(2)[i], seeded(100 + i)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=lr, betas=(beta1, 0.98), weight_decay=decay
        )
        for _ in range(30):
            rows = torch.randint(IMAGES, (7,), generator=generator)
            optimizer.zero_grad()
            residual = network(inputs[rows]) - targets[rows]
            (0.5 * residual.square().sum(-1)).mean().backward()
            optimizer.step()
        torch.testing.assert_close(runs.weights[i], flatten(network), rtol=0, atol=1e-8)


@pytest.mark.parametrize("batch", [None, 7])
def test_a_run_does_not_depend_on_its_company(batch: int | None) -> None:
    together = ensemble([0, 1, 2, 3], batch)
    together.run(30)
    for i in range(4):
        alone = ensemble([i], batch)
        alone.run(30)
        torch.testing.assert_close(alone.weights[0], together.weights[i], rtol=0, atol=1e-12)


def test_a_run_that_diverges_is_reported_with_its_step_and_spoils_no_other() -> None:
    inputs, targets = data()
    weights = starts(3)
    runs = Ensemble(networks(1)[0], weights, inputs, targets, lr=[0.05, 50.0, 0.05], limit=1e3)
    runs.run(40)
    step = int(runs.diverged[1])
    assert runs.diverged.tolist() == [-1, step, -1]
    assert 0 < step < 40
    healthy = Ensemble(networks(1)[0], weights[::2], inputs, targets, lr=0.05)
    healthy.run(40)
    torch.testing.assert_close(runs.weights[::2], healthy.weights, rtol=0, atol=1e-12)

    # The step is the first at which the loss of that run alone exceeds the limit.
    alone = Ensemble(networks(1)[0], weights[1:2], inputs, targets, lr=50.0)
    losses = []
    for _ in range(step + 1):
        parameters = unflatten(networks(1)[0], alone.weights[0])
        losses.append(float(squared_loss(networks(1)[0], parameters, inputs, targets)))
        alone.run(1)
    assert all(value < 1e3 for value in losses[:-1])
    assert not losses[-1] < 1e3


def test_weights_that_are_not_numbers_count_as_divergence() -> None:
    inputs, targets = data()
    weights = starts(2)
    weights[0, 0] = math.nan
    runs = Ensemble(networks(1)[0], weights, inputs, targets, lr=0.01)
    runs.run(3)
    assert runs.diverged.tolist() == [0, -1]
    assert torch.isfinite(runs.weights[1]).all()


def test_running_in_pieces_is_running_at_once() -> None:
    once, pieces = ensemble([0, 1, 2], 7), ensemble([0, 1, 2], 7)
    once.run(40)
    for steps in (1, 9, 30):
        pieces.run(steps)
    assert torch.equal(once.weights, pieces.weights)
    assert torch.equal(once.velocity, pieces.velocity)
    assert pieces.steps == 40

    single, visited = ensemble([0, 1, 2], 7), []
    for _ in range(40):
        single.run(1)
        visited.append(single.weights.clone())
    torch.testing.assert_close(
        pieces.average, torch.stack(visited[-30:]).mean(0), rtol=0, atol=1e-13
    )


def test_retuning_keeps_weights_and_velocity() -> None:
    runs = ensemble([0, 1], None)
    runs.run(10)
    weights, velocity = runs.weights.clone(), runs.velocity.clone()
    runs.retune(0.01, [0.5, 0.0])
    runs.run(1)
    torch.testing.assert_close(runs.weights, weights - 0.01 * runs.velocity, rtol=0, atol=1e-15)
    still = ensemble([1], None)
    still.weights, still.velocity = weights[1:], torch.zeros_like(velocity[1:])
    still.retune(0.01, 0.0)
    still.run(1)
    torch.testing.assert_close(runs.weights[1:], still.weights, rtol=0, atol=1e-14)


def test_neither_starts_nor_the_global_generator_are_touched() -> None:
    before, weights = torch.get_rng_state(), starts(1)
    copy, (inputs, targets) = weights.clone(), data()
    Ensemble(
        networks(1)[0], weights, inputs, targets, lr=0.1, label_noise=1.0, generators=[seeded()]
    ).run(3)
    assert torch.equal(weights, copy)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch", [None, 4])
def test_label_noise_has_the_covariance_of_the_curvature(batch: int | None) -> None:
    """At a point that meets its targets the gradient noise is (s^2/B) H, for all images and for minibatches of them."""
    network = MLP(INPUTS, 2, OUTPUTS, 2, generator=seeded())
    weights, (inputs, _) = flatten(network), data()
    inputs = inputs[:5]
    targets = functional_call(network, unflatten(network, weights), (inputs,)).detach()
    draws, noise = 30_000, 0.7
    runs = Ensemble(
        network,
        weights.expand(draws, -1),
        inputs,
        targets,
        lr=1.0,
        label_noise=noise,
        batch=batch,
        generators=[seeded(seed) for seed in range(draws)],
    )
    runs.run(1)
    gradients = weights - runs.weights
    J = jacrev(lambda w: functional_call(network, unflatten(network, w), (inputs,)))(weights)
    J = J.reshape(-1, weights.numel())
    expected = noise**2 / (batch or len(inputs)) * (J.T @ J / len(inputs))
    measured = gradients.T @ gradients / draws
    scale = expected.diagonal().sqrt()
    error = (measured - expected) / (scale[:, None] * scale)
    # Kurtosis of the minibatch's choice included, no entry has a standard error above 3 / sqrt(draws).
    assert error.abs().max() < 15 / draws**0.5
    assert (gradients.mean(0) / scale).abs().max() < 5 / draws**0.5


def test_a_loss_of_ones_own_is_what_is_descended() -> None:
    network, (inputs, targets) = networks(1)[0], data()

    def flatter(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return squared_loss(network, parameters, x, y) + 0.1 * gauss_newton_trace(
            network, parameters, x
        )

    runs = Ensemble(network, starts(2), inputs, targets, lr=0.01, loss=flatter)
    runs.run(1)
    for start, weights in zip(starts(2), runs.weights, strict=True):
        leaf = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(flatter(unflatten(network, leaf), inputs, targets), leaf)
        torch.testing.assert_close(weights, start - 0.01 * gradient, rtol=0, atol=1e-13)


def test_runs_in_single_precision_stay_in_it() -> None:
    inputs, targets = data(torch.float32)
    network = MLP(INPUTS, 5, OUTPUTS, generator=seeded(), dtype=torch.float32)
    runs = Ensemble(
        network,
        flatten(network)[None],
        inputs,
        targets,
        lr=0.1,
        momentum=0.9,
        label_noise=0.1,
        batch=4,
        generators=[seeded()],
    )
    runs.run(5)
    assert runs.weights.dtype == runs.average.dtype == torch.float32
    assert torch.isfinite(runs.weights).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_run_on_a_gpu_sees_the_same_noise() -> None:
    on_cpu = ensemble([0, 1, 2, 3], 7)
    inputs, targets = data()
    lr, momentum, noise = zip(*SETTINGS, strict=True)
    on_gpu = Ensemble(
        MLP(INPUTS, 5, OUTPUTS, generator=seeded(), device="cuda"),
        starts(4).cuda(),
        inputs.cuda(),
        targets.cuda(),
        lr=lr,
        momentum=momentum,
        label_noise=noise,
        batch=7,
        generators=[seeded(100 + i) for i in range(4)],
    )
    for runs in (on_cpu, on_gpu):
        runs.run(50)
    torch.testing.assert_close(on_gpu.weights.cpu(), on_cpu.weights, rtol=0, atol=1e-9)


def test_accuracy_is_the_share_of_right_classes() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    parameters = {"0.weight": torch.eye(2)}
    inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    labels = torch.tensor([0, 0, 0, 1])
    assert accuracy(network, parameters, inputs, labels).item() == 0.75
    for wrong in (labels[:1], labels[:, None], labels.double()):
        with pytest.raises(ValueError, match=r"labels: must be whole numbers of shape \(4,\)"):
            accuracy(network, parameters, inputs, wrong)


def test_a_quantity_of_every_run() -> None:
    network, (inputs, targets) = networks(1)[0], data()
    values = evaluate(network, starts(3), lambda p: squared_loss(network, p, inputs, targets))
    expected = [0.5 * (run(inputs) - targets).square().sum(-1).mean().item() for run in networks(3)]
    assert values == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, r"lr: must be in \[0, inf\), got -0.1"),
        ({"lr": math.nan}, r"lr: must be in \[0, inf\)"),
        ({"lr": "12"}, r"lr: must be real numbers in \[0, inf\), got '12'"),
        ({"momentum": 1.0}, r"momentum: must be in \[0, 1\)"),
        ({"label_noise": -1.0}, r"label_noise: must be in \[0, inf\)"),
        ({"lr": [0.1] * 3}, "lr: must be a number or one for each of the 2 runs"),
        ({"batch": 0}, "batch: must be an integer from 1, got 0"),
        ({"batch": 2.0}, "batch: must be an integer from 1, got 2.0"),
        ({"batch": 4}, "generators: must be one for each of the 2 runs, got 0"),
        ({"label_noise": [0.0, 0.1]}, "generators: must be one for each of the 2 runs, got 0"),
        (
            {"batch": 4, "generators": [None] * 2},
            "generators: must be a torch.Generator on the CPU",
        ),
        ({"batch": 4, "generators": [seeded()] * 2}, "generators: must be distinct"),
        ({"noise": "flips"}, "noise: must be one of additive, flip, got 'flips'"),
        ({"loss": "mse"}, "loss: must be None for squared_loss, or a function of .* got 'mse'"),
        ({"noise": "flip", "label_noise": 1.0}, r"strength: must be in \[0, 1\), got 1"),
        ({"noise": "flip", "label_noise": 0.7}, "centred flips of 3 classes must be below 0.667"),
        ({"limit": math.nan}, r"limit: must be in \(0, inf\], got nan"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    inputs, targets = data()
    with pytest.raises(ValueError, match=message):
        Ensemble(networks(1)[0], starts(2), inputs, targets, **{"lr": 0.1, **options})


def test_weights_without_an_axis_of_runs_and_no_steps_are_refused() -> None:
    inputs, targets = data()
    for weights in (starts(1)[0], starts(1)[:0], starts(1)[:, 1:]):
        with pytest.raises(ValueError, match=r"weights: must have shape \(runs, 173\), got"):
            Ensemble(networks(1)[0], weights, inputs, targets, lr=0.1)
    with pytest.raises(ValueError, match="steps: must be an integer from 1, got 0"):
        Ensemble(networks(1)[0], starts(1), inputs, targets, lr=0.1).run(0)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.ones(1, OUTPUTS), "targets: must be 20, one an input, got 1"),
        (torch.ones(IMAGES), r"targets: must have shape \(n, K\) and not be empty, got \(20,\)"),
        (torch.ones(IMAGES, 1), r"must have the shape of the outputs, \(20, 3\), got \(20, 1\)"),
        (torch.ones(IMAGES, OUTPUTS).long(), "targets: must hold floating numbers, one-hot"),
        (torch.full((IMAGES, OUTPUTS), math.nan), "targets: must be finite"),
    ],
)
def test_targets_that_would_be_broadcast_are_refused(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(networks(1)[0], starts(1), data()[0], targets, lr=0.1).run(1)


def test_a_momentum_that_rounds_to_one_is_refused() -> None:
    network = MLP(INPUTS, 5, OUTPUTS, generator=seeded(), dtype=torch.float32)
    with pytest.raises(ValueError, match=r"momentum: must be in \[0, 1\), got 1"):
        Ensemble(network, flatten(network)[None], *data(torch.float32), lr=0.1, momentum=1 - 1e-9)


def test_flips_need_classes() -> None:
    inputs, targets = data()
    flipping: dict[str, Any] = {"lr": 0.1, "noise": "flip", "label_noise": 0.1}
    with pytest.raises(ValueError, match="targets: must be one-hot for flips"):
        Ensemble(
            networks(1)[0], starts(1), inputs, 0.5 * targets, generators=[seeded()], **flipping
        )


@pytest.mark.parametrize("option", [{"beta2": 1.0}, {"epsilon": -1e-8}, {"weight_decay": math.inf}])
def test_what_adamw_refuses(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(option))}: must be in \[0, "):
        AdamWEnsemble(networks(1)[0], starts(1), *data(), lr=0.1, **option)
