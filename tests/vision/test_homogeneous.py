"""Homogeneous networks in log space against torch, high precision, and what is known of margins."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

from flatter_lib.vision import homogeneous
from flatter_lib.vision.homogeneous import Classification
from tests.refusals import refuses

GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.standard_normal((7, 3))


def drawn(*sizes, runs=2, scale=1.0):
    generator = np.random.default_rng(1)
    return [scale * generator.standard_normal((runs, out, into)) for into, out in pairwise(sizes)]


def by_torch(task, weights, run):
    """ln S, its gradient and the hard margins of one run, as PyTorch's own losses and autograd give them."""
    layers = [torch.tensor(layer[run], requires_grad=True) for layer in weights]
    a = torch.tensor(task.inputs)
    for layer in layers[:-1]:
        a = torch.nn.functional.leaky_relu(a @ layer.T, task.leak)
    f, y = a @ layers[-1].T, torch.tensor(task.labels)
    if f.shape[1] == 1:
        loss = torch.nn.functional.softplus(-y * f[:, 0]).sum()
        margins = y * f[:, 0]
    else:
        loss = torch.nn.functional.cross_entropy(f, y, reduction="sum")
        rivals = f.detach().clone()
        rivals[torch.arange(len(y)), y] = -torch.inf
        margins = f[torch.arange(len(y)), y] - rivals.max(1).values
    loss.log().backward()
    return loss.log().item(), [layer.grad.numpy() for layer in layers], margins.min().item()


@pytest.mark.parametrize(
    ("labels", "sizes"),
    [([1, -1, 1, 1, -1, -1, 1], (3, 5, 1)), ([0, 1, 2, 3, 0, 1, 2], (3, 5, 4, 4))],
)
def test_loss_gradient_and_margins_are_those_of_torch(labels, sizes):
    task, weights = Classification(INPUTS, np.array(labels), leak=0.3), drawn(*sizes)
    at = task.log_loss(weights)
    for run in range(2):
        log, gradient, least = by_torch(task, weights, run)
        assert at.log[run] == pytest.approx(log, rel=1e-12)
        for mine, theirs in zip(at.gradient, gradient, strict=True):
            np.testing.assert_allclose(mine[run], theirs, rtol=1e-10, atol=1e-13)
        length = np.sqrt(sum((layer[run] ** 2).sum() for layer in weights))
        assert task.margin(weights)[run] == pytest.approx(least / length ** len(weights), rel=1e-12)


def test_scaling_the_weights_is_what_homogeneity_says():
    task, weights = Classification(INPUTS, np.arange(7) % 3, leak=0.0), drawn(3, 6, 5, 3)
    np.testing.assert_allclose(task.outputs([2 * w for w in weights]), 8 * task.outputs(weights))
    np.testing.assert_allclose(task.margin([2 * w for w in weights]), task.margin(weights))
    # the radial derivative of ln S, by a difference
    up, down = (task.log_loss([s * w for w in weights]).log for s in (1 + 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(task.log_loss(weights).radial, (down - up) / 6e-6, rtol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 4.0, 40.0, 1e3])
def test_the_loss_is_right_where_float64_has_no_number_for_it(scale):
    task = Classification(np.array([[1.0], [1.5]]), np.array([1, 1]), leak=0.5)
    weights = [np.full((1, 1, 1), 1.0), np.full((1, 1, 1), scale)]
    with mpmath.workdps(1000):
        S = sum(mpmath.log1p(mpmath.exp(-mpmath.mpf(scale) * x)) for x in (1.0, 1.5))
        inverse = -mpmath.log(mpmath.expm1(S))
        log = float(mpmath.log(S))
    assert task.log_loss(weights).log[0] == pytest.approx(log, rel=1e-13)
    found = task.smoothed_margin(weights, task.log_loss(weights).log)
    assert found[0] == pytest.approx(float(inverse) / (1 + scale**2), rel=1e-12)


def test_the_smoothed_margin_lies_below_the_margin_by_less_than_its_bound():
    task, weights = Classification(INPUTS[:3], np.array([0, 1, 2])), drawn(3, 40, 3, runs=4000)
    hard, soft, size = (
        task.margin(weights),
        task.smoothed_margin(weights, task.log_loss(weights).log),
        homogeneous.norm(weights),
    )
    fitted = soft > 0
    assert fitted.sum() > 9
    gap = ((hard - soft) * size**2)[fitted]
    # at most 3 * 2 terms of the least margin; ln l(q) = -q - l/2 nearly, which l < ln 2 bounds
    assert gap.min() >= 0
    assert gap.max() <= np.log(6) + np.log(2)


def test_heavy_ball_is_that_of_torch():
    task, weights = (
        Classification(INPUTS, np.arange(7) % 3, leak=0.1),
        drawn(3, 4, 3, runs=1, scale=0.7),
    )
    layers = [torch.tensor(layer[0], requires_grad=True) for layer in weights]
    optimizer = torch.optim.SGD(layers, lr=0.05, momentum=0.8)
    for _ in range(20):
        optimizer.zero_grad()
        a = torch.nn.functional.leaky_relu(torch.tensor(task.inputs) @ layers[0].T, task.leak)
        torch.nn.functional.cross_entropy(
            a @ layers[1].T, torch.tensor(task.labels), reduction="sum"
        ).backward()
        optimizer.step()
    *_, (end, _) = homogeneous.descend(
        task, weights, lambda _, at: 0.05 * np.exp(at.log), 20, momentum=0.8
    )
    for mine, theirs in zip(end, layers, strict=True):
        np.testing.assert_allclose(mine[0], theirs.detach().numpy(), rtol=1e-9)


def test_the_loss_based_step_doubles_in_five_and_never_lets_the_loss_rise():
    task, weights = Classification(INPUTS, np.arange(7) % 3), drawn(3, 8, 3, runs=3, scale=3.0)
    path = list(homogeneous.descend_by_loss(task, weights, 200))
    logs = np.array([at.log for _, at in path])
    assert (np.diff(logs, axis=0) <= 0).all()
    assert (np.diff(logs, axis=0) == 0).any(), "no step was refused: nothing is tested"
    for w, at in path:  # what is yielded belongs together, also after a step that was refused
        np.testing.assert_allclose(task.log_loss(w).log, at.log, rtol=1e-12)
    moved = [
        homogeneous.norm([b - a for a, b in zip(path[k][0], path[k + 1][0], strict=True)])
        for k in (0, 5)
    ]
    slope = [homogeneous.norm(path[k][1].gradient) for k in (0, 5)]
    np.testing.assert_allclose((moved[1] / slope[1]) / (moved[0] / slope[0]), 2.0, rtol=1e-9)


def test_no_line_and_no_network_has_more_margin_than_the_best():
    points = np.array([[1.0, 0.9], [1.2, -0.5], [1.5, 0.3]])
    task = Classification(np.r_[points, -points], np.r_[1, 1, 1, -1, -1, -1], leak=0.3)
    straight = Classification(task.inputs, task.labels, leak=1.0)
    line = 2 * straight.margin(homogeneous.best_two_layer(straight, 7200))[0]
    angles = np.linspace(0, 2 * np.pi, 100_001)
    every = (np.c_[np.cos(angles), np.sin(angles)] @ task.inputs.T * task.labels).min(1)
    assert every.max() <= line * (1 + 1e-6)
    assert line == pytest.approx(every.max(), rel=1e-4)
    # on symmetric data the best network is that line, with (1 + leak)/4 of its margin
    best = task.margin(homogeneous.best_two_layer(task, 3600))[0]
    assert best == pytest.approx(1.3 / 4 * line, rel=1e-5)
    # one that leans on no symmetry: a search from many starts finds nothing better, and comes near
    task = Classification(np.r_[points, -points[:2]], np.r_[1, 1, 1, -1, -1], leak=0.3)
    best = task.margin(homogeneous.best_two_layer(task))[0]
    weights = drawn(2, 6, 1, runs=50)
    *_, (end, _) = homogeneous.descend(
        task, weights, lambda w, _: 0.3 / np.maximum(homogeneous.norm(w), 1) ** 2, 4000
    )
    assert 0.97 * best < task.margin(end).max() < best * (1 + 1e-4)


def test_refusals():
    good = {"inputs": INPUTS, "labels": np.ones(7, dtype=np.int64), "leak": 0.1}
    refuses(Classification, good, leak=-0.1, labels=np.ones(6, dtype=np.int64))
    task = Classification(**good)
    weights = drawn(3, 2, 1)
    refuses(
        lambda **given: list(homogeneous.descend(task, weights, lambda w, _: np.ones(2), **given)),
        {"steps": 1, "momentum": 0.5},
        steps=0,
        momentum=1.0,
    )
    refuses(
        lambda **given: list(homogeneous.descend_by_loss(task, weights, **given)),
        {"steps": 1},
        steps=0,
    )
    apart = Classification(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, -1]), 0.1)
    with pytest.raises(RuntimeError, match="found"):
        homogeneous.best_two_layer(apart)
