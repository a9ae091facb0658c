"""The image networks of Table 1: their counts by arithmetic, what a width is, and what no scale of a filter changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from flatter_lib.vision.table_one import VGG11, PlainResNet, SimpleCNN, unit_filters
from flatter_lib.vision.thin_residual import CifarResNet
from tests.refusals import refuses
from tests.seeding import seeded

F64 = torch.float64


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameters_at_full_width_are_as_many_as_the_settings_say() -> None:
    simple = SimpleCNN(generator=seeded())
    assert size(simple) == (25 + 1) * 32 + (25 * 32 + 1) * 64 + (49 * 64 + 1) * 1024 + 1025 * 10
    three = [(3, 16), (16, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    convolutions = sum((9 * a + 1) * b for a, b in three) + (16 + 1) * 32 + (32 + 1) * 64
    assert size(PlainResNet(generator=seeded())) == convolutions + 65 * 10
    chain = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    expected = sum(9 * a * b + 2 * b for a, b in pairwise(chain)) + 513 * 10
    assert size(VGG11(generator=seeded())) == expected


def test_outputs_are_those_of_functions_applied_by_hand() -> None:
    network = SimpleCNN(0.25, inputs=2, side=14, outputs=3, generator=seeded(), dtype=F64)
    x = torch.randn(5, 2, 14, 14, generator=seeded(1), dtype=F64)
    for p in network.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=seeded(p.ndim), dtype=F64)
    first, b, second, c, hidden, d, head, e = network.parameters()
    assert [len(p) for p in (first, second, hidden, head)] == [8, 16, 256, 3]
    h = functional.max_pool2d(functional.conv2d(x, first, b, padding=2).relu(), 2)
    h = functional.max_pool2d(functional.conv2d(h, second, c, padding=2).relu(), 2)
    expected = (h.flatten(1) @ hidden.T + d).relu() @ head.T + e
    torch.testing.assert_close(network(x), expected)


def test_a_plain_block_adds_what_its_convolutions_make() -> None:
    network = PlainResNet(0.25, inputs=1, generator=seeded(), dtype=F64)
    x = torch.randn(3, 1, 8, 8, generator=seeded(1), dtype=F64)
    block, named = network.blocks[1], dict(network.blocks[1].named_parameters())
    h = network.blocks[0](network.stem(x))
    inner = functional.conv2d(h, named["conv1.weight"], named["conv1.bias"], 2, 1).relu()
    inner = functional.conv2d(inner, named["conv2.weight"], named["conv2.bias"], 1, 1)
    aside = functional.conv2d(h, named["shortcut.0.weight"], named["shortcut.0.bias"], 2)
    torch.testing.assert_close(block(h), (inner + aside).relu())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("make", [SimpleCNN, PlainResNet, VGG11])
def test_first_weights_have_the_variance_of_the_rule_and_are_the_generators(
    make: Callable[..., nn.Module],
) -> None:
    networks = [make(generator=seeded(seed)) for seed in (3, 3, 4)]
    for mine, same, other in zip(*(n.named_parameters() for n in networks), strict=True):
        name, p = mine
        assert torch.equal(p, same[1])
        if p.ndim > 1:
            assert not torch.equal(p, other[1])
            gain = 1 if len(p) == 10 else 2
            rel = 5 / p.numel() ** 0.5
            assert float(p.detach().var()) * p[0].numel() == pytest.approx(gain, rel=rel), name


def vgg() -> nn.Module:
    return VGG11(1 / 16, ghost_batch=3, generator=seeded(), dtype=F64)


def thin() -> nn.Module:
    return CifarResNet(14, 0.25, normalization="ghost", generator=seeded(), dtype=F64)


@pytest.mark.parametrize("make", [vgg, thin])
def test_filters_of_norm_one_stay_so_and_change_no_output(make: Callable[[], nn.Module]) -> None:
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
    x = torch.randn(6, 3, 32, 32, generator=seeded(1), dtype=F64)
    before = network(x)
    unit_filters(network)
    torch.testing.assert_close(network(x), before, rtol=1e-7, atol=1e-7)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9)
    optimizer.register_step_post_hook(lambda *_: unit_filters(network))
    filters = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    for _ in range(2):
        optimizer.zero_grad()
        labels = torch.arange(6)
        torch.autograd.backward(functional.cross_entropy(network(x), labels, label_smoothing=0.1))
        old = [w.detach().clone() for w in filters]
        for w in filters:
            assert w.grad is not None
            assert (w * w.grad).flatten(1).sum(1).abs().max() < 1e-8
        optimizer.step()
        for w, was in zip(filters, old, strict=True):
            torch.testing.assert_close(w.flatten(1).norm(dim=1), torch.ones(len(w), dtype=F64))
            assert not torch.equal(w, was)


def test_ghost_batches_of_the_thin_network_are_batches_of_32() -> None:
    ghost = thin()
    batch = CifarResNet(14, 0.25, generator=seeded(), dtype=F64)
    x = torch.randn(64, 3, 8, 8, generator=seeded(1), dtype=F64)
    torch.testing.assert_close(ghost(x), torch.cat([batch(x[:32]), batch(x[32:])]))
    assert (ghost(x) - batch(x)).abs().max() > 1e-3


def test_what_means_nothing_is_refused() -> None:
    for make in (SimpleCNN, PlainResNet, VGG11):
        refuses(make, {"generator": seeded()}, width=0.0, inputs=0, outputs=0, generator=None)
    refuses(SimpleCNN, {"generator": seeded()}, side=3)
    refuses(VGG11, {"generator": seeded()}, ghost_batch=0)
