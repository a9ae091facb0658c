"""A run against a loop written by hand, on digits, and its bins against coordinates one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.experiments._images import images_of
from flatter_lib.experiments.network_spectrum import EDGES, PROFILES, ranks, run
from flatter_lib.fisher import curvature_along, gradient_along, kronecker_eigenbasis, weights_along
from flatter_lib.vision.table_one import PlainResNet, SimpleCNN
from tests.seeding import seeded


def test_a_run_is_what_a_hand_written_loop_makes_of_it() -> None:
    c = replace(PROFILES["smoke"][0], steps=3, seed=5)
    data, _ = images_of(c)
    network = SimpleCNN(c.width, side=8, generator=seeded(5), dtype=torch.float64)
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    buffers = [torch.zeros_like(p) for p in network.parameters()]
    generator = seeded(1005)
    for _ in range(3):
        rows = torch.randint(256, (32,), generator=generator)
        likely = network(data.x[rows]).log_softmax(-1)
        loss = -(likely * data.targets[rows]).sum() / 32
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, b, g in zip(network.parameters(), buffers, gradients, strict=True):
                b.mul_(0.9).add_(g)
                p.sub_(0.02 * b)
    found = run(c)
    basis = kronecker_eigenbasis(network, data.x[:64])
    h = curvature_along(network, basis, data.x[64:128])
    mean, variance = gradient_along(network, basis, data.x[64:], data.labels[64:])
    variance *= 192 / 191
    way = weights_along(
        network, basis, {name: p - start[name] for name, p in network.named_parameters()}
    )
    assert found["path"]["steps"] == [0, 1, 2, 3]
    assert c.looks == [0, 1, 3]
    assert found["top"][-1] == pytest.approx(h.max(), rel=1e-3)
    square = mean**2 - variance / 192
    assert found["simple"][-1] == pytest.approx(variance.sum() / square.sum(), rel=1e-3)
    expected = (h * variance).sum() / (h * square).sum()
    assert found["noise_scale"][-1] == pytest.approx(expected, rel=1e-3)
    for k, (low, high) in enumerate(zip(EDGES[:12], [np.inf, *EDGES[:11]], strict=True)):
        inside = (h / h.max() >= low) & (h / h.max() < high)
        # Two coordinates may lie so close to an edge that rounding decides.
        assert found["number"][-1][k] == pytest.approx(inside.sum(), abs=2)
        for name, values in (
            ("curvature", h),
            ("noise", variance),
            ("square", square),
            ("moved", h * way**2),
        ):
            assert found[name][-1][k] == pytest.approx(values[inside].sum(), rel=0.02)
        log = np.log(variance[inside] / h[inside])
        assert found["ratio"][-1][k] == pytest.approx(log.mean() if log.size else 0, abs=0.05)
        assert found["scatter"][-1][k] == pytest.approx(log.std() if log.size else 0, abs=0.05)
    products = torch.cat([block.eigenvalues.flatten() for block in basis.values()])
    descending = products.sort(descending=True).values.numpy()
    at = np.array(found["ranks"])
    np.testing.assert_array_equal(at, ranks(len(h)))
    kept = descending[at - 1] > 1e-9
    np.testing.assert_allclose(
        np.array(found["eigenvalues"][-1])[kept], descending[at - 1][kept], rtol=1e-3
    )
    assert np.all(np.array(found["moved"][0]) == 0)


def test_the_residual_network_is_treated_too() -> None:
    c = replace(PROFILES["smoke"][0], network="resnet", steps=1, width=0.125)
    network = PlainResNet(0.125, inputs=1, generator=seeded(0))
    found = run(c)
    assert found["dimension"] == sum(p.numel() for p in network.parameters())
    assert sum(found["number"][0]) <= found["dimension"]
