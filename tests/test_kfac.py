"""K-FAC against the exact natural gradient, a loop over inputs, curvlinops, and its recursion written by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from flatter_lib import kfac
from flatter_lib.kfac import KFAC, Factors, damped_inverses, kronecker_factors, layers
from flatter_lib.text.transformer import Transformer
from flatter_lib.vision.networks import MLP
from flatter_lib.vision.table_one import VGG11, PlainResNet, SimpleCNN
from tests.refusals import refuses
from tests.seeding import seeded

F64 = torch.float64
#: A damping whose root, 1e-7, a step does not show, and which lets rounding through along no direction.
NONE = 1e-14


def inputs(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=F64)


def mlp() -> MLP:
    return MLP(4, 5, 3, 2, generator=seeded())


def backward(network: nn.Module, x: Tensor, labels: Tensor) -> None:
    network.zero_grad()
    torch.autograd.backward(cross_entropy(network(x), labels))


def moved(network: nn.Module, optimizer: KFAC) -> list[Tensor]:
    """What one step adds to each parameter."""
    before = [p.detach().clone() for p in network.parameters()]
    optimizer.step()
    return [p.detach() - q for p, q in zip(network.parameters(), before, strict=True)]


def test_one_linear_map_is_moved_along_the_exact_natural_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # At zero weights each class is as likely, so that each label once for each input is the expectation itself.
    classes, x = 3, inputs(7, 4)
    monkeypatch.setattr(kfac, "_drawn", lambda *_: torch.arange(classes).repeat(len(x)))
    network = nn.Linear(4, classes, bias=False, dtype=F64)
    curvature = torch.eye(classes, dtype=F64) / classes - 1 / classes**2
    fisher = torch.zeros(4 * classes, 4 * classes, dtype=F64)
    for row in x:
        jacobian = torch.kron(torch.eye(classes, dtype=F64), row[None])
        fisher += jacobian.T @ curvature @ jacobian / len(x)
    for damping in (NONE, 0.3):
        nn.init.zeros_(network.weight)
        optimizer = KFAC(network, 1.0, damping=damping, clip=float("inf"), generator=seeded())
        optimizer.observe(x.repeat_interleave(classes, 0))
        A, S = optimizer.factors[""]
        torch.testing.assert_close(torch.kron(S, A), fisher, rtol=1e-12, atol=1e-14)
        backward(network, x, torch.tensor([0, 1, 2, 0, 0, 1, 2]))
        assert network.weight.grad is not None
        gradient = network.weight.grad.flatten().clone()
        step = moved(network, optimizer)[0].flatten()
        if damping == NONE:
            torch.testing.assert_close(
                -step, torch.linalg.pinv(fisher) @ gradient, rtol=1e-4, atol=1e-6
            )
            continue
        pi = (A.trace() / 4 / (S.trace() / classes)).sqrt()
        A = A + pi * damping**0.5 * torch.eye(4, dtype=F64)
        S = S + damping**0.5 / pi * torch.eye(classes, dtype=F64)
        exact = torch.linalg.solve(torch.kron(S, A), gradient)
        torch.testing.assert_close(-step, exact, rtol=1e-12, atol=1e-14)
        assert torch.equal(network.weight.grad.flatten(), gradient)


def test_factors_of_two_layers_are_means_over_inputs() -> None:
    network, x = mlp(), inputs(6, 4)
    mine = kronecker_factors(network, x, seeded(5))
    first, b, second, c = network.parameters()
    labels = network(x).softmax(1).multinomial(1, generator=seeded(5))[:, 0]
    expected = {name: [torch.zeros(()), torch.zeros(())] for name in ("0", "2")}
    for row, label in zip(x, labels, strict=True):
        hidden = (first @ row + b).tanh()
        g = (second @ hidden + c).softmax(0) - torch.eye(3, dtype=F64)[label]
        back = (second.T @ g) * (1 - hidden**2)
        for name, a, s in (("0", row, back), ("2", hidden, g)):
            with_one = torch.cat([a, torch.ones(1, dtype=F64)])
            expected[name][0] = expected[name][0] + torch.outer(with_one, with_one) / 6
            expected[name][1] = expected[name][1] + torch.outer(s, s) / 6
    assert mine.keys() == expected.keys()
    for name, factors in mine.items():
        for one, other in zip(factors, expected[name], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert all(p.grad is None for p in network.parameters())


def test_an_inverse_is_that_of_the_kronecker_product() -> None:
    A, S = kronecker_factors(mlp(), inputs(6, 4), seeded(5))["0"]
    inverse = damped_inverses(Factors(A, S), 0.01)
    shift = 0.1 * (A.trace() / S.trace()).sqrt() * torch.eye(5, dtype=F64)
    naive = torch.kron(S + 0.01 * shift.inverse(), A + shift)
    torch.testing.assert_close(torch.kron(inverse.outputs, inverse.inputs), naive.inverse())
    silent = damped_inverses(Factors(torch.eye(2), torch.zeros(1, 1)), 0.25)
    torch.testing.assert_close(silent.inputs, torch.eye(2) / 1.5)
    torch.testing.assert_close(silent.outputs, torch.tensor([[2.0]]))


def cnn() -> nn.Module:
    return SimpleCNN(1 / 16, side=8, generator=seeded(), dtype=F64)


def residual() -> nn.Module:
    return PlainResNet(1 / 4, inputs=1, generator=seeded(), dtype=F64)


@pytest.mark.parametrize("make", [cnn, residual])
def test_factors_and_steps_agree_with_curvlinops(make: Callable[[], nn.Module]) -> None:
    network, x, labels = make(), inputs(9, 1, 8, 8), torch.arange(9)
    parameters = list(network.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import (  # type: ignore[import-untyped]
            KFACInverseLinearOperator,
            KFACLinearOperator,
        )

        theirs = KFACLinearOperator(
            network,
            nn.CrossEntropyLoss(),
            parameters,
            [(x, labels)],
            seed=7,
            check_deterministic=False,
            separate_weight_and_bias=False,
        )
        theirs.compute_kronecker_factors()
        optimizer = KFAC(network, 0.5, damping=0.02, clip=float("inf"), generator=seeded(7))
        optimizer.observe(x)
        assert optimizer.factors.keys() == theirs._input_covariances.keys()
        for name, (A, S) in optimizer.factors.items():
            torch.testing.assert_close(A, theirs._input_covariances[name])
            torch.testing.assert_close(S, theirs._gradient_covariances[name])
        backward(network, x, labels)
        inverse = KFACInverseLinearOperator(theirs, damping=0.02, use_heuristic_damping=True)
        expected = inverse @ [p.grad for p in parameters]
    for mine, step in zip(moved(network, optimizer), expected, strict=True):
        torch.testing.assert_close(mine, -0.5 * step)


def test_a_run_is_its_recursion() -> None:
    """Moving averages, clipping and momentum, from factors and inverses that are held elsewhere."""
    network, mirror = mlp(), mlp()
    lr, momentum, clip, clipped = 0.3, 0.8, 0.02, []
    optimizer = KFAC(network, lr, momentum, damping=0.1, clip=clip, decay=0.6, generator=seeded(2))
    draws, known = seeded(2), dict[str, list[Tensor]]()
    buffer = [torch.zeros_like(p) for p in mirror.parameters()]
    for k in range(1, 9):
        x, labels = inputs(12, 4, seed=k), torch.arange(12) % 3
        if k != 4:  # a step may also go with the last inverse
            optimizer.observe(x)
            observed = k if k < 4 else k - 1
            for name, factors in kronecker_factors(mirror, x, draws).items():
                kept = min(1 - 1 / observed, 0.6)
                old = known.get(name, factors)
                known[name] = [kept * a + (1 - kept) * b for a, b in zip(old, factors, strict=True)]
        backward(network, x, labels)
        optimizer.step()
        backward(mirror, x, labels)
        steps: list[Tensor] = []
        for name, layer in layers(mirror).items():
            A, S = damped_inverses(Factors(*known[name]), 0.1)
            assert layer.weight.grad is not None
            assert layer.bias is not None
            assert layer.bias.grad is not None
            step = S @ torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1) @ A
            steps += [step[:, :-1], step[:, -1]]
        pairs = list(zip(mirror.parameters(), steps, strict=True))
        size = sum(float((step * p.grad).sum()) for p, step in pairs if p.grad is not None)
        share = min(1.0, (clip / (lr**2 * size)) ** 0.5)
        clipped.append(share < 1)
        with torch.no_grad():
            for (p, step), m in zip(pairs, buffer, strict=True):
                p.sub_(lr * m.mul_(momentum).add_(share * step))
        for p, q in zip(network.parameters(), mirror.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
    assert {True, False} == set(clipped)


class Twice(nn.Module):
    """A layer that is called so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.layer = times, nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.layer(x)
        outputs: Tensor = self.other(x)
        return outputs


def tied() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (VGG11(1 / 16, generator=seeded()), r"module 1 \(GhostBatchNorm2d\) has parameters"),
        (
            Transformer(5, width=4, heads=2, context=3, generator=seeded()),
            r"module symbols \(Embedding\) has parameters",
        ),
        (nn.Conv2d(2, 2, 3, groups=2), r"module  \(Conv2d\) has parameters"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding="same")), r"module 0 \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding_mode="reflect")), r"module 0 \(Conv2d\)"),
        (tied(), r"module 1 shares parameters with 0"),
        (nn.ReLU(), r"must have parameters, got none"),
    ],
)
def test_a_network_that_cannot_be_treated_is_refused(network: nn.Module, message: str) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=rf"^network: {message}"):
        KFAC(network, 0.1, generator=seeded())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (Twice(2), torch.ones(2, 3), r"module layer must be called once, and is called again"),
        (Twice(0), torch.ones(2, 3), r"module layer must be called once, and is not called"),
        (Twice(1), torch.full((2, 3), torch.inf), r"its outputs must be finite .* not finite$"),
        (Twice(1), torch.ones(2, 4, 3), r"its outputs must be finite .* got \(2, 4, 3\)"),
    ],
)
def test_a_minibatch_that_cannot_be_observed_changes_nothing(
    network: nn.Module, x: Tensor, message: str
) -> None:
    optimizer = KFAC(network, 0.1, generator=seeded())
    with pytest.raises(ValueError, match=rf"^network: {message}"):
        optimizer.observe(x)
    assert not optimizer.factors
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(ValueError, match=r"^network: its factors must be observed"):
        optimizer.step()


def test_what_else_cannot_be_done_is_said() -> None:
    network, x = mlp(), inputs(8, 4)
    good = {"network": network, "lr": 0.1, "generator": seeded()}
    refuses(KFAC, good, lr=-1.0, momentum=1.0, damping=0.0, clip=0.0, decay=1.0, generator=None)
    optimizer = KFAC(network, 0.1, generator=seeded())
    optimizer.observe(x)
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=r"^network: module 0 has a parameter without gradient"):
        optimizer.step()
    backward(network, x, torch.arange(8) % 3)
    with pytest.raises(ValueError, match=r"^closure: must be None"):
        optimizer.step(lambda: 0.0)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))
    with pytest.raises(ValueError, match=r"^damping: must be larger for these factors, got 1e-300"):
        damped_inverses(Factors(-torch.eye(2), torch.eye(2)), 1e-300)
