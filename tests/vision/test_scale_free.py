"""Scale-free networks against torch.nn, torch.optim and autograd's Hessian, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy, relu

from flatter_lib.vision.scale_free import ScaleFreeNetworks
from tests.refusals import refuses
from tests.seeding import seeded

X = torch.randn(40, 6, dtype=torch.float64, generator=seeded(1))
LABELS = torch.randint(10, (40,), generator=seeded(2))


def networks(**options: int) -> ScaleFreeNetworks:
    return ScaleFreeNetworks(X, LABELS, **{"settings": 2, "starts": 2, "width": 10, **options})


def outputs(weights: Sequence[Tensor], readout: Tensor, x: Tensor) -> Tensor:
    for w in weights:
        x = relu(batch_norm(x @ w.T, None, None, training=True, eps=1e-12))
    return x @ readout


def test_full_batches_are_those_of_torch_and_every_filter_is_scale_invariant() -> None:
    ensemble = networks()
    mine = [[w[s, 1].clone() for w in ensemble.weights] for s in (0, 1)]
    turn = ensemble.run(3, batch=None, lr=[0.3, 0.1], decay=0.05, momentum=[0.0, 0.5])
    readout = ensemble._readout[1]
    for s, (lr, momentum) in enumerate([(0.3, 0.0), (0.1, 0.5)]):
        weights = [nn.Parameter(w) for w in mine[s]]
        optimizer = torch.optim.SGD(weights, lr=lr, momentum=momentum, weight_decay=0.05)
        angles: list[list[Tensor]] = []
        for _ in range(3):
            before = [w.detach().clone() for w in weights]
            optimizer.zero_grad()
            loss = cross_entropy(outputs(weights, readout, X), LABELS)
            for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.grad = g
            if not angles:
                for w in weights:
                    assert w.grad is not None
                    assert (w * w.grad).sum(1).abs().max() < 1e-9
            optimizer.step()
            pairs = zip(before, (w.detach() for w in weights), strict=True)
            angles.append([1 - torch.cosine_similarity(a, b, dim=1).mean() for a, b in pairs])
        for layer in (0, 1):
            assert torch.allclose(ensemble.weights[layer][s, 1], weights[layer])
        assert torch.allclose(turn[s, 1], torch.tensor(angles, dtype=torch.float64).mean(0))
        loss = cross_entropy(outputs(weights, readout, X), LABELS)
        assert torch.allclose(ensemble.judge()[0][s, 1], loss)


def test_minibatches_are_shared_and_other_inputs_are_judged_with_the_training_statistics() -> None:
    ensemble = networks()
    ensemble.run(2, batch=8, lr=0.2, decay=0.05)
    assert torch.equal(ensemble.weights[0][0], ensemble.weights[0][1])
    assert not torch.equal(ensemble.weights[0][0, 0], ensemble.weights[0][0, 1])
    loss, right = ensemble.judge(X[:7], LABELS[:7])
    each = outputs([w[1, 0] for w in ensemble.weights], ensemble._readout[0], X)[:7]
    assert torch.allclose(loss[1, 0], cross_entropy(each, LABELS[:7]))
    assert float(right[1, 0]) == pytest.approx(
        float((each.argmax(1) == LABELS[:7]).double().mean())
    )


def test_the_sharpness_is_the_hessians() -> None:
    ensemble = networks()
    found = ensemble.sharpness(products=400)
    flat = torch.cat([w[1, 0].flatten() for w in ensemble.weights]).requires_grad_()
    weights = [flat[:60].view(10, 6), flat[60:].view(10, 10)]
    loss = cross_entropy(outputs(weights, ensemble._readout[0], X), LABELS)
    (slope,) = torch.autograd.grad(loss, flat, create_graph=True)
    rows = [torch.autograd.grad(s, flat, retain_graph=True)[0] for s in slope]
    values = torch.linalg.eigvalsh(torch.stack(rows))
    assert float(found[1, 0]) == pytest.approx(float(values.abs().max()), rel=1e-4)


def test_what_is_refused() -> None:
    refuses(networks, {}, settings=0, starts=0, width=9)
    good = {"steps": 1, "batch": None, "lr": 0.1, "decay": 0.1}
    refuses(networks().run, good, steps=0, batch=1, lr=0, decay=-1, momentum=1)
