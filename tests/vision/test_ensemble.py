"""The ensemble against torch's own SGD, its noise against algebra, its runs against their company."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from flatter_lib.curvature import gauss_newton_trace
from flatter_lib.vision.chain import Chain, is_chain
from flatter_lib.vision.ensemble import AdamWEnsemble, Ensemble
from flatter_lib.vision.label_noise import LabelNoise
from flatter_lib.vision.networks import MLP, flatten, unflatten
from flatter_lib.vision.objective import accuracy, cross_entropy, evaluate, squared_loss

from ..refusals import refuses
from ..seeding import seeded

INPUTS, OUTPUTS, IMAGES = 6, 3, 20
SETTINGS = [(0.05, 0.0, 0.3), (0.05, 0.9, 0.0), (0.002, 0.97, 1.0), (0.1, 0.5, 0.3)]


def data() -> tuple[Tensor, Tensor]:
    generator = seeded(11)
    inputs = torch.randn(IMAGES, INPUTS, generator=generator, dtype=torch.float64)
    labels = torch.randint(OUTPUTS, (IMAGES,), generator=generator)
    return inputs, torch.eye(OUTPUTS, dtype=torch.float64)[labels]


def networks(runs: int, layers: int = 6) -> list[MLP]:
    return [MLP(INPUTS, 5, OUTPUTS, layers, generator=seeded(seed)) for seed in range(runs)]


def starts(runs: int) -> Tensor:
    return torch.stack([flatten(network) for network in networks(runs)])


def ensemble(
    chosen: list[int],
    batch: int | None,
    kind: type[Ensemble] = Ensemble,
    where: torch.device | torch.dtype = torch.float64,
    **options: Any,
) -> Ensemble:
    """Runs of SETTINGS, each with the start and the seed that belong to its number."""
    lr, momentum, noise = zip(*[SETTINGS[i] for i in chosen], strict=True)
    return kind(
        networks(1)[0].to(where),
        starts(len(SETTINGS))[chosen].to(where),
        *(tensor.to(where) for tensor in data()),
        **{"lr": lr, "momentum": momentum, "label_noise": noise, "batch": batch, **options},
        generators=[seeded(100 + i) for i in chosen],
    )


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("kind", ["additive", "flip", "cross entropy", "adamw"])
def test_every_run_is_that_of_torch_with_the_same_noise(kind: str, batch: int | None) -> None:
    inputs, targets = data()
    noises = [0.4 * noise for _, _, noise in SETTINGS]
    crossed = kind == "cross entropy"
    law: Any = "flip" if kind == "flip" or crossed else "additive"
    options: dict[str, Any] = {"noise": law, "label_noise": noises}
    options |= {"loss": kind} if crossed else {}
    if kind == "adamw":
        options |= {"kind": AdamWEnsemble, "beta2": 0.98, "weight_decay": 0.1}
    runs = ensemble([0, 1, 2, 3], batch, **options)
    runs.run(30)
    for i, (lr, momentum, _) in enumerate(SETTINGS):
        network, generator = networks(4)[i], seeded(100 + i)
        noisy = LabelNoise(law, noises[i], centred=not crossed)
        optimizer: torch.optim.Optimizer
        if kind == "adamw":
            betas = (momentum, 0.98)
            optimizer = torch.optim.AdamW(network.parameters(), lr, betas, weight_decay=0.1)
        else:
            optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
        visited = []
        for _ in range(30):
            rows = torch.arange(IMAGES)
            if batch is not None:
                rows = torch.randint(IMAGES, (batch,), generator=generator)
            y = noisy(targets[rows], generator)
            optimizer.zero_grad()
            if crossed:
                nn.functional.cross_entropy(network(inputs[rows]), y.argmax(-1)).backward()
            else:
                (0.5 * (network(inputs[rows]) - y).square().sum(-1)).mean().backward()
            optimizer.step()
            visited.append(flatten(network))
        torch.testing.assert_close(runs.weights[i], visited[-1], rtol=0, atol=1e-8)
        torch.testing.assert_close(runs.average[i], torch.stack(visited).mean(0), rtol=0, atol=1e-8)
    assert runs.steps == 30
    assert runs.diverged.tolist() == [-1] * 4


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_run_does_not_depend_on_its_company(
    batch: int | None, dtype: torch.dtype, atol: float
) -> None:
    together = ensemble([0, 1, 2, 3], batch, where=dtype)
    together.run(30)
    assert together.weights.dtype == together.average.dtype == dtype
    for i in range(4):
        alone = ensemble([i], batch, where=dtype)
        alone.run(30)
        torch.testing.assert_close(alone.weights[0], together.weights[i], rtol=0, atol=atol)


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("kind", ["additive", "flip", "quiet", "loss"])
def test_runs_that_share_their_draws_are_separate_runs_with_the_same(
    kind: str, batch: int | None
) -> None:
    network, (inputs, targets) = networks(1)[0], data()
    noises = {"flip": [0.2] * 4, "quiet": [0.0] * 4}.get(kind, [0.3, 0.0, 1.0, 0.3])
    lrs, momenta, _ = zip(*SETTINGS, strict=True)
    options: dict[str, Any] = {"batch": batch, "noise": "flip" if kind == "flip" else "additive"}
    if kind == "loss":
        options["loss"] = lambda p, x, y: squared_loss(network, p, x, y)
    together = Ensemble(
        network,
        starts(4),
        inputs,
        targets,
        lr=lrs,
        momentum=momenta,
        label_noise=noises,
        generators=[seeded(100), seeded(101)],
        shared=2,
        **options,
    )
    together.run(30)
    for i, (lr, momentum, noise) in enumerate(zip(lrs, momenta, noises, strict=True)):
        alone = Ensemble(
            network,
            starts(4)[i : i + 1],
            inputs,
            targets,
            lr=lr,
            momentum=momentum,
            # Beside a run with noise, one without draws it too, and takes it times nothing.
            label_noise=noise or (0.0 if kind == "quiet" else 1e-300),
            generators=[seeded(100 + i // 2)],
            **options,
        )
        alone.run(30)
        torch.testing.assert_close(alone.weights[0], together.weights[i], rtol=0, atol=1e-10)


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
    ill = Ensemble(
        networks(1)[0], weights * torch.tensor([[1.0], [math.nan], [1.0]]), inputs, targets, lr=0.05
    )
    ill.run(2)
    assert ill.diverged.tolist() == [-1, 0, -1]

    # The step is the first at which the loss of that run alone exceeds the limit.
    alone = Ensemble(networks(1)[0], weights[1:2], inputs, targets, lr=50.0)
    losses = []
    for _ in range(step + 1):
        parameters = unflatten(networks(1)[0], alone.weights[0])
        losses.append(float(squared_loss(networks(1)[0], parameters, inputs, targets)))
        alone.run(1)
    assert all(value < 1e3 for value in losses[:-1])
    assert not losses[-1] < 1e3


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


def test_flipped_labels_have_the_covariance_of_the_cross_entropys_curvature() -> None:
    """Where the softmax is the mean label, the gradient noise is H/B whatever the probability of a flip."""
    draws, probability, count = 6_000, 0.3, 4
    labels = torch.eye(OUTPUTS, dtype=torch.float64)[[0, 1, 2, 1]]
    network = MLP(count, 1, OUTPUTS, 1, generator=seeded())
    inputs, wrong = torch.eye(count, dtype=torch.float64), probability / (OUTPUTS - 1)
    mean = labels * (1 - probability - wrong) + wrong
    weights = torch.cat([mean.log().T.flatten(), torch.zeros(OUTPUTS, dtype=torch.float64)])

    def loss(w: Tensor) -> Tensor:
        return cross_entropy(network, unflatten(network, w), inputs, mean)

    runs = Ensemble(
        network,
        weights.expand(draws, -1),
        inputs,
        labels,
        lr=1.0,
        label_noise=probability,
        noise="flip",
        loss="cross entropy",
        generators=[seeded(seed) for seed in range(draws)],
    )
    runs.run(1)
    gradients = weights - runs.weights
    expected = jacrev(jacrev(loss))(weights) / count
    torch.testing.assert_close(
        gradients.T @ gradients / draws, expected, rtol=0, atol=5 * 0.25 / draws**0.5 / count
    )
    assert gradients.mean(0).abs().max() < 5 * expected.diagonal().max().sqrt() / draws**0.5


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_run_on_a_gpu_sees_the_same_noise() -> None:
    both = [ensemble([0, 1, 2, 3], 7, where=torch.device(kind)) for kind in ("cpu", "cuda")]
    for runs in both:
        runs.run(50)
    torch.testing.assert_close(both[1].weights.cpu(), both[0].weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("batch", "shared"), [(None, 1), (None, 4), (7, 1), (7, 2), (7, 4)])
@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 6])
def test_the_gradient_that_is_written_out_is_that_of_autograd(
    batch: int | None, shared: int, layers: int, crossed: bool
) -> None:
    many = networks(4, layers)
    weights = torch.stack([flatten(network) for network in many])
    weights += 0.3 * torch.randn(weights.shape, generator=seeded(), dtype=weights.dtype)
    x, y = (t if batch is None else torch.stack([t[i : i + 7] for i in range(4)]) for t in data())
    if batch is not None:
        x = x[: 4 // shared]
    y = 0.6 * y + 0.4 / OUTPUTS  # no label, but what sums to 1 as one does
    chain = Chain(many[0], 4, batch or IMAGES, weights, shared=shared, crossed=crossed)
    gradient, loss = chain(weights, x, y)
    for i in range(4):
        leaf = weights[i].clone().requires_grad_()
        own = (x, y) if batch is None else (x[i // shared], y[i])
        objective = cross_entropy if crossed else squared_loss
        value = objective(many[0], unflatten(many[0], leaf), *own)
        (expected,) = torch.autograd.grad(value, leaf)
        torch.testing.assert_close(gradient[i], expected, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(loss[i], value.detach(), rtol=1e-10, atol=0)
    assert is_chain(many[0])
    assert not is_chain(MLP(2, 2, 1, 2, nn.ReLU, generator=seeded()))


def test_accuracy_is_the_share_of_right_classes() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    parameters = {"0.weight": torch.eye(2)}
    inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    labels = torch.tensor([0, 0, 0, 1])
    assert accuracy(network, parameters, inputs, labels).item() == 0.75
    good = {"network": network, "parameters": parameters, "inputs": inputs}
    refuses(accuracy, good, labels=labels[:, None])
    refuses(accuracy, good, labels=labels.double())


def test_a_quantity_of_every_run() -> None:
    network, (inputs, targets) = networks(1)[0], data()
    values = evaluate(network, starts(3), lambda p: squared_loss(network, p, inputs, targets))
    expected = [0.5 * (run(inputs) - targets).square().sum(-1).mean().item() for run in networks(3)]
    assert values == pytest.approx(expected, rel=1e-12)


def test_bad_arguments() -> None:
    inputs, targets = data()
    good = {"network": networks(1)[0], "weights": starts(2), "inputs": inputs, "targets": targets}
    good |= {"lr": 0.1}
    refuses(Ensemble, good, lr=[0.1] * 3, momentum=1.0, label_noise=-1.0, batch=2.0, limit=math.nan)
    refuses(Ensemble, good, noise="flips", loss="mse", weights=starts(1)[0], targets=targets[:1])
    refuses(Ensemble, good, targets=math.nan * targets)
    refuses(Ensemble, good | {"batch": 4}, generators=[])
    refuses(Ensemble, good | {"batch": 4}, generators=[None] * 2)
    refuses(Ensemble, good | {"label_noise": [0.0, 0.1]}, generators=[seeded()] * 2)
    flips = good | {"noise": "flip", "label_noise": 0.1}
    refuses(Ensemble, flips, targets=0.5 * targets)
    crossed = flips | {"loss": "cross entropy", "generators": [seeded(), seeded(1)]}
    refuses(Ensemble, crossed, targets=0.5 * targets, noise="additive")
    with pytest.raises(ValueError, match=r"centred flips of 3 classes must be below 0.667"):
        Ensemble(**flips | {"label_noise": 0.7})
    with pytest.raises(ValueError, match=r"label_noise: must be one for all runs that share"):
        Ensemble(**flips | {"label_noise": [0.1, 0.2]}, shared=2, generators=[seeded()])
    with pytest.raises(ValueError, match=r"shared: must divide the 2 runs, got 3"):
        Ensemble(**good, shared=3)
    refuses(Ensemble, good, shared=0)
    refuses(Ensemble, good | {"batch": 4, "shared": 2}, generators=[seeded(), seeded()])
    refuses(AdamWEnsemble, good, beta2=1.0, epsilon=-1e-8, weight_decay=math.inf)
    refuses(Ensemble(**good).run, {}, steps=0)
    single = {name: value.float() for name, value in good.items() if isinstance(value, Tensor)}
    refuses(Ensemble, good | single, momentum=1 - 1e-9)  # which rounds to 1
    with pytest.raises(ValueError, match=r"targets: must have the shape of the outputs, \(20, 3\)"):
        Ensemble(**good | {"targets": torch.ones(IMAGES, 1)}).run(1)
