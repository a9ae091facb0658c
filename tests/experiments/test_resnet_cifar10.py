from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from flatter_lib.experiments import resnet_cifar10
from flatter_lib.experiments.resnet_cifar10 import (
    BATCH,
    CHOOSING,
    CHOSEN,
    GAMMAS,
    LRS,
    PROFILES,
    SLOW,
    STARTS,
    STRENGTH,
    adam,
    equal,
    law,
    look_steps,
    quiet,
    run,
    scan,
    strong,
    tried,
    worth,
)
from flatter_lib.vision.augment import crop_and_flip
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
        c.width, inputs=1, normalization=c.normalization, dtype=torch.float64,
        generator=torch.Generator().manual_seed(c.seed),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=c.interpolation_lr)
    draws = torch.Generator().manual_seed(1000 + c.seed)

    def cropped(images, draws):
        return crop_and_flip(images, draws, padding=1) if c.augment else images

    for k in range(c.interpolation_steps):
        left = (c.interpolation_steps - k) / (0.3 * c.interpolation_steps)
        optimizer.param_groups[0]["lr"] = c.interpolation_lr * min(1.0, left)
        rows = torch.randint(len(x), (c.interpolation_batch,), generator=draws)
        optimizer.zero_grad()
        loss_of(net(cropped(x[rows], draws)), y[rows]).backward()
        optimizer.step()
    names = [n for n, _ in net.named_parameters()]
    w = [p.detach().clone() for p in net.parameters()]

    def outputs(weights, inputs):
        return functional_call(net, dict(zip(names, weights, strict=True)), (inputs,))

    def seen_by(weights):
        """The network normalises by what it finds in the images that are looked at."""
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = 1.0
        net.train()
        outputs(weights, x[: c.seen_images])
        net.eval()

    def jacobian(weights, inputs):
        parts = jacrev(lambda v: outputs(v, inputs))(tuple(weights))
        return torch.cat([p.flatten(2) for p in parts], dim=2)

    def look(weights, mean):
        seen_by(weights)
        clean = outputs(weights, x[: c.seen_images])
        seen_by(mean)
        J = jacobian(mean, x[: c.seen_images])
        z = np.random.default_rng(c.seed).integers(
            2, size=(c.probes, c.seen_images, 10), dtype=np.int8
        )
        sums = torch.einsum("mik,ikp->mp", torch.from_numpy(2.0 * z - 1.0), J)
        each = (sums**2).sum(1) / c.seen_images
        norms = torch.cat([
            (v.flatten(1).norm(dim=1)[:, None].expand(-1, v[0].numel()) * (v.ndim == 4)).flatten()
            if v.ndim == 4 else torch.zeros_like(v).flatten() for v in mean
        ])  # fmt: skip
        filters = ((sums * norms) ** 2).sum(1) / c.seen_images
        f = outputs(mean, x_test)
        own = {
            "filters": float(filters.mean()),
            "filters_error": float(filters.std() / c.probes**0.5),
        }
        return (own if c.normalization == "batch" else {}) | {
            "trace": float(each.mean()),
            "trace_error": float(each.std() / c.probes**0.5),
            "loss": float(loss_of(clean, y[: c.seen_images])),
            "accuracy": float((f.argmax(1) == labels_test).double().mean()),
            "test_loss": float(loss_of(f, y_test)),
        }

    start, seen = look(w, w), []
    J = jacobian(w, x[: c.seen_images]).flatten(0, 1)
    start["top"] = float(torch.linalg.eigvalsh(J @ J.T)[-1]) / c.seen_images
    net.train()
    lr = c.lr / start["top"] if c.relative else c.lr
    draws, update, since = (
        torch.Generator().manual_seed(2000 + c.seed),
        step_of(replace(c, lr=lr)),
        [],
    )
    for k in range(1, c.steps + 1):
        rows = torch.randint(len(x), (c.batch,), generator=draws)
        shown, target = cropped(x[rows], draws), y[rows]
        if c.strength:
            target = target + c.strength * torch.randn(target.shape, generator=draws, dtype=y.dtype)
        leaves = [p.clone().requires_grad_() for p in w]
        gradients = torch.autograd.grad(loss_of(outputs(leaves, shown), target), leaves)
        w = [update(i, p, g) for i, (p, g) in enumerate(zip(w, gradients, strict=True))]
        since.append(w)
        if k in look_steps(c.steps, c.first_look):
            seen.append(look(w, [sum(each) / len(since) for each in zip(*since, strict=True)]))
            net.train()
            since = []
    return start, seen


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"strength": 0.0, "batch": 5},
        {"optimizer": "adamw", "lr": 1e-3},
        {"relative": True, "lr": 0.3, "first_look": 3},
        {"normalization": "batch", "augment": True, "relative": True, "lr": 0.3},
    ],
    ids=["label noise", "minibatches", "adamw", "in units of 1/h", "normalised and cropped"],
)
def test_a_run_is_what_a_hand_written_loop_makes_of_it(changed):
    c = replace(SMALL, **changed)
    measured = run(c)
    start, seen = path_of(c)
    assert measured["steps"] == ([3, 4, 6, 8, 11, 15] if c.first_look == 3 else [10, 15])
    for name, value in start.items():
        assert measured["start"][name] == pytest.approx(value, rel=1e-4), name
    assert {*measured} == {"data", "start", "steps", "diverged", *seen[0]}
    for name in seen[0]:
        np.testing.assert_allclose(
            measured[name], [look[name] for look in seen], rtol=1e-4, err_msg=name
        )
    assert measured["diverged"] == -1
    images = load("digits")
    found = {"name": "digits", "source": images.source, "digest": images.digest}
    assert measured["data"] == found
    assert len({*measured["loss"], measured["start"]["loss"]}) == 1 + len(measured["steps"])


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
    asked += [worth(*setting) for chosen in CHOSEN.values() for setting in chosen]
    choice = [replace(c, seed=seed) for c in tried() for seed in CHOOSING]
    assert len(published) == len(set(published)) == 4 * len(set(asked)) + len(choice)
    assert {replace(c, seed=0) for c in published if c not in choice} == set(asked)
    assert set(choice) < set(published)
    assert {c.lr > 1 or c.memory < 1 for c in tried()} == {True}
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


def test_phase_1_is_kept_in_a_folder(monkeypatch, tmp_path):
    """It is read from there, by other processes too, whose cache is empty; and it is that of no other cell."""
    c = replace(SMALL, normalization="batch")
    alone = run(c)
    monkeypatch.setenv(STARTS, str(tmp_path / "starts"))
    resnet_cifar10._phase_1.cache_clear()
    assert run(c) == alone
    made = []
    monkeypatch.setattr(resnet_cifar10, "_interpolated", made.append)
    resnet_cifar10._phase_1.cache_clear()
    assert run(replace(c, lr=0.001))["start"] == alone["start"]
    assert not made
    with pytest.raises(AttributeError):
        run(replace(c, seed=4))
    assert made == [replace(c, seed=4).start]
    resnet_cifar10._phase_1.cache_clear()


@pytest.mark.parametrize("profile", ["size", "slow", "gpu"])
def test_momenta_at_size_do_not_follow_the_step_size(profile):
    cells = PROFILES[profile]
    assert len(cells) == len(set(cells))
    kinds = {(c.lr, c.normalization) for c in cells}
    grids = {k: sorted({c.memory for c in cells if (c.lr, c.normalization) == k}) for k in kinds}
    assert len({tuple(grid) for grid in grids.values()}) == 1
    steps = {k: {c.steps for c in cells if (c.lr, c.normalization) == k} for k in kinds}
    assert all(len(own) == 1 for own in steps.values())
    assert max(c.lr for c in cells) <= 1
    assert all(c.relative for c in cells)
