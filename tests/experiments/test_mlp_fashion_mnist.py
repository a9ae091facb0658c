"""The MLP's runs against loops over torch's own optimizers."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from flatter_lib.evidence.record import plain
from flatter_lib.experiments import mlp_fashion_mnist as experiment
from flatter_lib.experiments.mlp_fashion_mnist import (
    FULL,
    IMAGES,
    LRS,
    NOISE,
    PROFILES,
    REST_LR,
    REST_MOMENTUM,
    REST_STEPS,
    STAGES,
    Configuration,
    flip_probability,
    run_many,
    scan_in_batches,
    starts_of,
)
from flatter_lib.vision.label_noise import LabelNoise
from flatter_lib.vision.networks import MLP, flatten, unflatten

SMALL = Configuration(
    0.04,
    0.1,
    0.5,
    60,
    3,
    starts=2,
    looks=7,
    dataset="digits",
    images=40,
    test_images=50,
    pool=1,
    width=6,
    trace_images=30,
    descent=0.1,
    dtype="float64",
)


def half_squares(network, x, y):
    return 0.5 * (network(x) - y).square().sum() / len(x)


def objective(starts, network, x, y):
    """The loss: of squares, or torch's own cross-entropy, which takes probabilities too."""
    if starts.loss is None:
        return half_squares(network, x, y)
    return torch.nn.functional.cross_entropy(network(x), y)


def judged(starts, weights, images=30):
    """Tr H, loss and accuracy by the definition, with a Jacobian."""
    x, y = starts.inputs.x[:images], starts.targets[:images]

    def outputs(w, inputs):
        return functional_call(starts.network, unflatten(starts.network, w), (inputs,))

    def network(x):
        return outputs(weights, x)

    J = jacrev(lambda w: outputs(w, x))(weights)
    trace = float(J.square().sum())
    if starts.loss is not None:
        likely = network(x).softmax(-1)
        A = torch.diag_embed(likely) - likely.unsqueeze(-1) * likely.unsqueeze(-2)
        trace = float(torch.einsum("ikp,ikl,ilp->", J, A, J))
    right = outputs(weights, starts.inputs.x_test).argmax(-1) == starts.inputs.labels_test
    return {
        "trace": trace / images,
        "loss": float(objective(starts, network, x, y)),
        "accuracy": float(right.double().mean()),
    }


def loaded(weights):
    """A network of these weights, with torch's own parameters."""
    network = MLP(64, 6, generator=torch.Generator().manual_seed(0))
    torch.nn.utils.vector_to_parameters(weights.clone(), network.parameters())
    return network


def path_of(c, j):
    """Weights after every step of start j."""
    starts = starts_of(c)
    network = loaded((starts.floor if c.phase == "noise" else starts.initial)[j])
    x, y = starts.inputs.x, starts.inputs.targets
    generator = torch.Generator().manual_seed(c.seed + j)
    if c.optimizer == "adamw":
        optimizer = torch.optim.AdamW(network.parameters(), lr=c.lr, betas=(1 - c.memory, 0.999))
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=c.lr, momentum=1 - c.memory)
    path = []
    for _ in range(c.steps):
        rows = torch.arange(len(x))
        if c.batch is not None:
            rows = torch.randint(len(x), (c.batch,), generator=generator)
        noisy = LabelNoise(c.kind, c.noise, centred=c.loss == "squared")(y[rows], generator)
        optimizer.zero_grad()
        objective(starts, network, x[rows], noisy).backward()
        optimizer.step()
        path.append(flatten(network))
    return torch.stack(path)


def rested(starts, weights):
    network = loaded(weights)
    lr = REST_LR * (1 if starts.loss is None else experiment.CROSSED_FASTER)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=REST_MOMENTUM)
    for _ in range(REST_STEPS):
        optimizer.zero_grad()
        objective(starts, network, starts.inputs.x, starts.targets).backward()
        optimizer.step()
    return judged(starts, flatten(network))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "flip", "noise": 0.2, "batch": 8},
        {"phase": "all", "optimizer": "adamw", "lr": 0.01},
        {"noise": 0.0, "batch": 8},
        {"batch": 8, "seed": 9},  # that of the other cell: they share their draws
        {"kind": "flip", "noise": 0.5, "loss": "cross entropy", "batch": 8, "lr": 0.02},
    ],
)
def test_a_record_holds_what_torchs_own_loop_does(changes, monkeypatch):
    monkeypatch.setattr(experiment, "LEVELS", (0.97, 0.35))
    c = replace(SMALL, **changes)
    cells = [c, replace(c, lr=c.lr / 2, memory=1.0, seed=9)]
    starts, arrivals = starts_of(c), 0
    for c, measured in zip(cells, run_many(cells), strict=True):
        edges = np.append(0, measured["steps"])
        np.testing.assert_allclose(measured["middle"], (edges[1:] + edges[:-1] + 1) / 2)
        assert measured["data"]["name"] == "digits"
        assert measured["diverged"] == [-1, -1]
        for j in range(2):
            path = path_of(c, j)
            origin = (starts.floor if c.phase == "noise" else starts.initial)[j]
            first = judged(starts, origin)
            for name, value in first.items():
                assert measured["start"][name][j] == pytest.approx(value, rel=1e-3)
            arrival = None
            for k, (a, b) in enumerate(pairwise(edges)):
                calm, shaken = judged(starts, path[a:b].mean(0)), judged(starts, path[b - 1])
                assert measured["trace"][j][k] == pytest.approx(calm["trace"], rel=1e-3)
                assert measured["accuracy"][j][k] == pytest.approx(calm["accuracy"], rel=1e-3)
                assert measured["loss"][j][k] == pytest.approx(shaken["loss"], rel=1e-3)
                if arrival is None and calm["trace"] <= 0.97 * first["trace"]:
                    arrival = path[b - 1]
            rest = rested(starts, path[-1])
            for name, value in rest.items():
                assert measured["rest"][name][j] == pytest.approx(value, rel=1e-3)
            if arrival is None:
                assert np.isnan(measured["arrival"]["trace"][j])
            else:
                arrivals += 1
                for name, value in rested(starts, arrival).items():
                    assert measured["arrival"][name][j] == pytest.approx(value, rel=1e-3)
    assert arrivals or changes


def test_the_top_eigenvalue_is_that_of_the_jacobian():
    starts, measured = starts_of(SMALL), run_many([replace(SMALL, steps=3, looks=1)])[0]
    x = starts.inputs.x[:30]
    for j, w in enumerate(starts.floor):
        J = jacrev(
            lambda v: functional_call(starts.network, unflatten(starts.network, v), (x,)).flatten()
        )(w)
        top = float(torch.linalg.matrix_norm(J, 2)) ** 2 / 30
        assert measured["start"]["top"][j] == pytest.approx(top, rel=1e-3)


def test_phase_1_is_torchs_own_descent_and_does_not_depend_on_the_company():
    starts = starts_of(SMALL)
    network = MLP(64, 6, gain=SMALL.gain, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(starts.initial[1], flatten(network), rtol=0, atol=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for lr, momentum, steps in STAGES:
        optimizer.param_groups[0].update(lr=lr, momentum=momentum)
        for _ in range(round(steps * SMALL.descent)):
            optimizer.zero_grad()
            half_squares(network, starts.inputs.x, starts.inputs.targets).backward()
            optimizer.step()
    torch.testing.assert_close(starts.floor[1], flatten(network), rtol=0, atol=1e-9)
    single = starts_of(replace(SMALL, starts=1, lr=2.0, batch=3))
    torch.testing.assert_close(single.floor[0], starts.floor[0], rtol=0, atol=1e-12)


def test_later_starts_are_those_that_more_starts_would_have_been():
    c = replace(SMALL, batch=8, starts=3, steps=20, descent_batch=16)
    whole, _ = run_many([c, replace(c, lr=0.01)])
    (later,) = run_many([replace(c, first=2, starts=1)])
    for name in ("trace", "loss", "accuracy", "diverged"):
        assert plain(later[name]) == plain(whole[name][2:])
    for when in ("start", "rest"):
        assert {n: v[2:] for n, v in whole[when].items()} == later[when]
    assert later["trace"] != whole["trace"][:1]


def test_with_the_cross_entropy_phase_1_fits_the_mean_of_the_flipped_labels():
    c = replace(SMALL, kind="flip", noise=0.3, loss="cross entropy")
    starts, generator = starts_of(c), torch.Generator().manual_seed(0)
    y = starts.inputs.targets
    shown = torch.stack([LabelNoise("flip", 0.3, centred=False)(y, generator) for _ in range(4000)])
    torch.testing.assert_close(shown.mean(0), starts.targets, rtol=0, atol=0.04)
    network = loaded(starts.initial[1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for lr, momentum, steps in STAGES:
        faster = experiment.CROSSED_FASTER * lr
        optimizer.param_groups[0].update(lr=faster, momentum=momentum)
        for _ in range(round(steps * c.descent)):
            optimizer.zero_grad()
            objective(starts, network, starts.inputs.x, starts.targets).backward()
            optimizer.step()
    torch.testing.assert_close(starts.floor[1], flatten(network), rtol=0, atol=1e-8)
    other = starts_of(replace(c, noise=0.2))
    assert not torch.equal(other.floor[1], starts.floor[1])


def test_costly_looks_leave_out_accuracy_and_rest_on_the_way(monkeypatch):
    usual = run_many([SMALL])[0]
    monkeypatch.setattr(experiment, "MANY_TEST_IMAGES", 49)
    monkeypatch.setattr(experiment, "LEVELS", (0.97, 0.35))
    seldom = run_many([SMALL])[0]
    seen = np.isfinite(seldom["accuracy"])
    assert seen.all(axis=0).tolist() == [False, False, True, False, False, False, True]
    assert (np.array(seldom["accuracy"])[seen] == np.array(usual["accuracy"])[seen]).all()
    assert seldom["trace"] == usual["trace"]
    assert seldom["rest"] == usual["rest"]
    assert np.isnan(seldom["arrival"]["trace"]).all()


@pytest.mark.parametrize("profile", PROFILES)
def test_cells_made_in_one_pass_share_all_their_draws_or_none(profile):
    seeds = defaultdict(list)
    for c in PROFILES[profile]:
        seeds[experiment.batch(c)].append(c.seed)
    for each in seeds.values():
        assert len(set(each)) in (1, len(each))


def test_a_run_that_diverges_has_no_numbers_and_spoils_no_other():
    good, bad = run_many([SMALL, replace(SMALL, lr=1e6, seed=5)])
    assert plain(good) == plain(run_many([SMALL])[0])
    assert min(bad["diverged"]) > 0
    assert not np.all(np.asarray(bad["trace"]) < 1e6)
    assert np.all(np.isfinite(good["rest"]["trace"]))


def test_minibatches_have_the_covariance_of_all_images():
    whole, part = FULL.cell(LRS[0], 2.0), scan_in_batches(LRS[0])
    variances = [c.strength**2 / experiment.BATCH for c in part]
    assert variances == pytest.approx([NOISE**2 / IMAGES] * len(part))
    assert part[1].kappa == pytest.approx(2.0, rel=1e-3)
    assert part[1].memory == whole.memory


def test_flips_have_the_variance_of_the_additive_noise():
    for noise in (0.2, NOISE, 0.7):
        flipped = LabelNoise("flip", flip_probability(noise))
        assert flipped.variance(10) == pytest.approx(noise**2, rel=1e-3)


def test_the_protocol_has_one_grid_whatever_the_step_size():
    scans, networks = defaultdict(list), defaultdict(list)
    for c in experiment.protocol():
        networks[c.lr, c.noise, c.memory] += range(c.first, c.first + c.starts)
        if c.memory < 1 and c.first == 0:
            scans[c.lr, c.noise].append(c)
    assert all(numbers == [*range(19)] for numbers in networks.values())
    assert {tuple(c.memory for c in scan) for scan in scans.values()} == {experiment.SIZE_MEMORIES}
    assert [len({(c.steps, c.seed) for c in scan}) for scan in scans.values()] == [1] * len(scans)
    assert len({scan[0].seed for scan in scans.values()}) == len(scans)
    lrs = {lr for lr, noise in scans if noise == experiment.AT_SIZE.strength}
    assert max(lrs) == pytest.approx(16 * min(lrs))


def test_the_paper_profile_keeps_the_noise_and_its_kappa():
    assert len({c.seed for c in PROFILES["paper"]}) == len(PROFILES["paper"])
    for small, large in zip(PROFILES["laptop"], PROFILES["paper"], strict=False):
        assert (large.lr, large.memory, large.steps) == (small.lr, small.memory, small.steps)
        if small.kind == "additive":
            before = small.noise**2 / (small.batch or small.images)
            assert large.noise**2 / large.batch == pytest.approx(before)
        assert large.images == 60_000
        assert large.device == "cuda"
