from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from flatter_lib.experiments.resnet_cifar10 import (
    BATCH,
    GAMMAS,
    LRS,
    PROFILES,
    SLOW,
    STRENGTH,
    adam,
    equal,
    law,
    look_steps,
    quiet,
    run,
    scan,
    strong,
)
from flatter_lib.vision.data import load
from flatter_lib.vision.residual import ResNet18

SMALL = replace(
    PROFILES["smoke"][0], lr=0.004, memory=0.2, steps=15, seed=3, images=24, test_images=30,
    interpolation_steps=10, probes=2, seen_images=7,
)  # fmt: skip


def arrays(c):
    """Images and labels, standardised by hand."""
    images, generator = load("digits"), np.random.default_rng(0)
    rows = generator.permutation(len(images.train_labels))[: c.images]
    test = generator.permutation(len(images.test_labels))[: c.test_images]
    x, x_test = (
        torch.from_numpy(p[r]).float().div(255).double()[:, None]
        for p, r in ((images.train_images, rows), (images.test_images, test))
    )
    centre, spread = x.mean(), x.std()
    labels = [torch.from_numpy(k) for k in (images.train_labels[rows], images.test_labels[test])]
    return (x - centre) / spread, (x_test - centre) / spread, *labels


def loss_of(f, y):
    return ((f - y) ** 2).sum() / 2 / len(f)


def step_of(c):
    """The update of phase 2, written out: moves weights, keeps what it needs in a dictionary."""
    kept = {}

    def sgd(i, w, g):
        kept[i] = kept.get(i, 0) * (1 - c.memory) + g
        return w - c.lr * kept[i]

    def adamw(i, w, g):
        m, v, k = kept.get(i, (0, 0, 0))
        b = 1 - c.memory
        m, v, k = b * m + (1 - b) * g, 0.999 * v + 0.001 * g * g, k + 1
        kept[i] = m, v, k
        return w * (1 - c.lr * 0.01) - c.lr * (m / (1 - b**k)) / (
            (v / (1 - 0.999**k)).sqrt() + 1e-8
        )

    return {"sgd": sgd, "adamw": adamw}[c.optimizer]


def path_of(c):
    """Phase 1 with torch.optim, phase 2 by hand; Tr H of the looks from whole Jacobians, by the same signs."""
    x, x_test, labels, labels_test = arrays(c)
    y, y_test = (torch.eye(10, dtype=torch.float64)[k] for k in (labels, labels_test))
    net = ResNet18(
        c.width, inputs=1, normalization="none", dtype=torch.float64,
        generator=torch.Generator().manual_seed(c.seed),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=c.interpolation_lr)
    draws = torch.Generator().manual_seed(1000 + c.seed)
    for k in range(c.interpolation_steps):
        left = (c.interpolation_steps - k) / (0.3 * c.interpolation_steps)
        optimizer.param_groups[0]["lr"] = c.interpolation_lr * min(1.0, left)
        rows = torch.randint(len(x), (c.interpolation_batch,), generator=draws)
        optimizer.zero_grad()
        loss_of(net(x[rows]), y[rows]).backward()
        optimizer.step()
    names = [n for n, _ in net.named_parameters()]
    w = [p.detach().clone() for p in net.parameters()]

    def outputs(weights, inputs):
        return functional_call(net, dict(zip(names, weights, strict=True)), (inputs,))

    def jacobian(weights, inputs):
        parts = jacrev(lambda v: outputs(v, inputs))(tuple(weights))
        return torch.cat([p.flatten(2) for p in parts], dim=2)

    def look(weights, mean):
        J = jacobian(mean, x[: c.seen_images])
        z = np.random.default_rng(c.seed).integers(
            2, size=(c.probes, c.seen_images, 10), dtype=np.int8
        )
        sums = torch.einsum("mik,ikp->mp", torch.from_numpy(2.0 * z - 1.0), J)
        each = (sums**2).sum(1) / c.seen_images
        f = outputs(mean, x_test)
        clean = outputs(weights, x[: c.seen_images])
        return {
            "trace": float(each.mean()),
            "trace_error": float(each.std() / c.probes**0.5),
            "loss": float(loss_of(clean, y[: c.seen_images])),
            "accuracy": float((f.argmax(1) == labels_test).double().mean()),
            "test_loss": float(loss_of(f, y_test)),
        }

    J = jacobian(w, x[: c.seen_images]).flatten(0, 1)
    top = float(torch.linalg.eigvalsh(J @ J.T)[-1]) / c.seen_images
    start, seen = look(w, w) | {"top": top}, []
    draws, update, since = torch.Generator().manual_seed(2000 + c.seed), step_of(c), []
    for k in range(1, c.steps + 1):
        rows = torch.randint(len(x), (c.batch,), generator=draws)
        target = y[rows]
        if c.strength:
            target = target + c.strength * torch.randn(target.shape, generator=draws, dtype=y.dtype)
        leaves = [p.clone().requires_grad_() for p in w]
        gradients = torch.autograd.grad(loss_of(outputs(leaves, x[rows]), target), leaves)
        w = [update(i, p, g) for i, (p, g) in enumerate(zip(w, gradients, strict=True))]
        since.append(w)
        if k in look_steps(c.steps):
            seen.append(look(w, [sum(each) / len(since) for each in zip(*since, strict=True)]))
            since = []
    return start, seen


@pytest.mark.parametrize(
    "changed",
    [{}, {"strength": 0.0, "batch": 5}, {"optimizer": "adamw", "lr": 1e-3}],
    ids=["label noise", "minibatches", "adamw"],
)
def test_a_run_is_what_a_hand_written_loop_makes_of_it(changed):
    c = replace(SMALL, **changed)
    measured = run(c)
    start, seen = path_of(c)
    assert measured["steps"] == [10, 15]
    for name, value in start.items():
        assert measured["start"][name] == pytest.approx(value, rel=1e-4), name
    for name in seen[0]:
        np.testing.assert_allclose(
            measured[name], [look[name] for look in seen], rtol=1e-4, err_msg=name
        )
    assert measured["diverged"] == -1
    images = load("digits")
    found = {"name": "digits", "source": images.source, "digest": images.digest}
    assert measured["data"] == found
    assert len({*measured["loss"], measured["start"]["loss"]}) == 3


def test_a_run_that_diverges_says_when():
    measured = run(replace(SMALL, lr=3.0))
    assert 0 < measured["diverged"] < 15
    assert np.isnan(measured["trace"][-1])
    assert len(measured["trace"]) == len(measured["steps"])


def test_runs_of_a_seed_share_their_start():
    one, other = (run(replace(SMALL, lr=lr)) for lr in (0.004, 0.001))
    assert one["start"] == other["start"]
    assert one["trace"] != other["trace"]
    assert run(replace(SMALL, seed=4))["start"] != one["start"]


def test_profiles_hold_what_the_chapter_asks_for():
    published = PROFILES["laptop"]
    asked = [*equal(), *quiet(), adam(), *strong()]
    asked += [c for g in GAMMAS for c in law(g)] + [c for lr in LRS for c in scan(lr)]
    assert {replace(c, seed=0) for c in published} == set(asked)
    assert len(published) == len(set(published)) == 4 * len(set(asked))
    assert {c.dataset for c in PROFILES["smoke"]} == {"digits"}
    assert {(c.device, c.images, c.width) for c in PROFILES["paper"]} == {("cuda", 50_000, 1.0)}
    for c in law(2 / 3) + scan(LRS[0]):
        drift = BATCH * SLOW * (c.memory / (c.lr * STRENGTH)) ** 2
        assert c.kappa == pytest.approx(1 / (c.memory * drift))
        assert c.steps > drift


def test_looks_end_with_the_last_step():
    for steps in (1, 3, 10, 11, 24, 500):
        looks = look_steps(steps)
        assert (looks[0], looks[-1]) == (min(10, steps), steps)
        assert (np.diff(looks) > 0).all()
