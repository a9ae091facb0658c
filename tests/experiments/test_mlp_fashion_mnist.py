"""The MLP's runs against loops over torch's own optimizers, its times against a reading of the curves by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from flatter_lib.experiments import mlp_fashion_mnist as experiment
from flatter_lib.experiments.mlp_fashion_mnist import (
    BATCH,
    BATCH_LRS,
    GAMMAS,
    IMAGES,
    KAPPA_APART,
    KAPPA_MEETING,
    LRS,
    NOISE,
    PROFILES,
    REST_LR,
    REST_MOMENTUM,
    REST_STEPS,
    SCAN_KAPPAS,
    STAGES,
    TUNED_NOISES,
    Cell,
    Configuration,
    cell,
    cost,
    equal_steps,
    fixed_momentum,
    flip_probability,
    flips,
    fresh,
    law,
    passage_times,
    run,
    scan,
    scan_in_batches,
    starts_of,
    tuned,
)
from flatter_lib.vision.label_noise import LabelNoise
from flatter_lib.vision.networks import MLP, flatten, unflatten

SMALL = Configuration(
    (0.04, 0.02),
    (0.1, 1.0),
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


def judged(starts, weights, images=30):
    """Tr H, loss and accuracy by the definition, with a Jacobian."""
    x, y = starts.inputs.x[:images], starts.inputs.targets[:images]

    def outputs(w, inputs):
        return functional_call(starts.network, unflatten(starts.network, w), (inputs,))

    J = jacrev(lambda w: outputs(w, x))(weights)
    right = outputs(weights, starts.inputs.x_test).argmax(-1) == starts.inputs.labels_test
    return {
        "trace": float(J.square().sum()) / images,
        "loss": float((outputs(weights, x) - y).square().sum()) / (2 * images),
        "accuracy": float(right.double().mean()),
    }


def loaded(weights):
    """A network of these weights, with torch's own parameters."""
    network = MLP(64, 6, generator=torch.Generator().manual_seed(0))
    torch.nn.utils.vector_to_parameters(weights.clone(), network.parameters())
    return network


def path_of(c, i, j):
    """Weights after every step, and at rest, of start j in cell i."""
    starts = starts_of(c)
    network = loaded((starts.floor if c.phase == "noise" else starts.initial)[j])
    x, y = starts.inputs.x, starts.inputs.targets
    generator = torch.Generator().manual_seed(c.seed + i * c.starts + j)
    if c.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=c.lr[i], betas=(1 - c.memory[i], 0.999)
        )
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=c.lr[i], momentum=1 - c.memory[i])
    path = []
    for _ in range(c.steps):
        rows = torch.arange(len(x))
        if c.batch is not None:
            rows = torch.randint(len(x), (c.batch,), generator=generator)
        noisy = LabelNoise(c.kind, c.noise)(y[rows], generator)
        optimizer.zero_grad()
        half_squares(network, x[rows], noisy).backward()
        optimizer.step()
        path.append(flatten(network))
    return torch.stack(path)


def rested(starts, weights):
    network = loaded(weights)
    optimizer = torch.optim.SGD(network.parameters(), lr=REST_LR, momentum=REST_MOMENTUM)
    for _ in range(REST_STEPS):
        optimizer.zero_grad()
        half_squares(network, starts.inputs.x, starts.inputs.targets).backward()
        optimizer.step()
    return judged(starts, flatten(network))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "flip", "noise": 0.2, "batch": 8},
        {"phase": "all", "optimizer": "adamw", "lr": (0.01, 0.003)},
        {"noise": 0.0, "batch": 8},
    ],
)
def test_a_record_holds_what_torchs_own_loop_does(changes, monkeypatch):
    monkeypatch.setattr(experiment, "LEVELS", (0.97, 0.35))
    c = replace(SMALL, **changes)
    measured, starts = run(c), starts_of(c)
    edges = np.append(0, measured["steps"])
    np.testing.assert_allclose(measured["middle"], (edges[1:] + edges[:-1] + 1) / 2)
    arrivals = 0
    for i in range(2):
        for j in range(2):
            path = path_of(c, i, j)
            origin = (starts.floor if c.phase == "noise" else starts.initial)[j]
            first = judged(starts, origin)
            for name, value in first.items():
                assert measured["start"][name][j] == pytest.approx(value, rel=1e-3)
            arrival = None
            for k, (a, b) in enumerate(pairwise(edges)):
                calm, shaken = judged(starts, path[a:b].mean(0)), judged(starts, path[b - 1])
                assert measured["trace"][i][j][k] == pytest.approx(calm["trace"], rel=1e-3)
                assert measured["accuracy"][i][j][k] == pytest.approx(calm["accuracy"], rel=1e-3)
                assert measured["loss"][i][j][k] == pytest.approx(shaken["loss"], rel=1e-3)
                if arrival is None and calm["trace"] <= 0.97 * first["trace"]:
                    arrival = path[b - 1]
            rest = rested(starts, path[-1])
            for name, value in rest.items():
                assert measured["rest"][name][i][j] == pytest.approx(value, rel=1e-3)
            if arrival is None:
                assert np.isnan(measured["arrival"]["trace"][i][j])
            else:
                arrivals += 1
                for name, value in rested(starts, arrival).items():
                    assert measured["arrival"][name][i][j] == pytest.approx(value, rel=1e-3)
    assert measured["diverged"] == [[-1, -1], [-1, -1]]
    assert measured["data"]["name"] == "digits"
    assert arrivals or changes


def test_the_top_eigenvalue_is_that_of_the_jacobian():
    starts, measured = starts_of(SMALL), run(replace(SMALL, steps=3, looks=1))
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
    for stage in STAGES:
        optimizer.param_groups[0].update(lr=stage.lr, momentum=stage.momentum)
        for _ in range(round(stage.steps * SMALL.descent)):
            optimizer.zero_grad()
            half_squares(network, starts.inputs.x, starts.inputs.targets).backward()
            optimizer.step()
    torch.testing.assert_close(starts.floor[1], flatten(network), rtol=0, atol=1e-9)
    single = starts_of(replace(SMALL, starts=1, lr=(1.0, 2.0), batch=3))
    torch.testing.assert_close(single.floor[0], starts.floor[0], rtol=0, atol=1e-12)


def test_single_precision_starts_where_double_precision_does():
    single, double = starts_of(replace(SMALL, dtype="float32")), starts_of(SMALL)
    torch.testing.assert_close(single.initial.double(), double.initial, rtol=0, atol=1e-6)
    assert single.floor.dtype == torch.float32


def test_a_run_that_diverges_has_no_numbers_and_spoils_no_other():
    measured = run(replace(SMALL, lr=(0.04, 1e6)))
    alone = run(replace(SMALL, lr=(0.04,), memory=(0.1,)))
    assert measured["trace"][0] == alone["trace"][0]
    assert min(measured["diverged"][1]) > 0
    assert not np.all(np.asarray(measured["trace"][1]) < 1e6)
    assert np.all(np.isfinite(measured["rest"]["trace"][0]))


def by_hand(middle, relative, level):
    """First passage and settling, reading the curve from left and from right."""
    curve = [v if np.isfinite(v) else np.inf for v in relative]
    found = []
    below = [v <= level for v in curve]
    first = below.index(True) if True in below else None
    if not below[-1]:
        last = None
    else:
        last = len(below)
        while last > 0 and below[last - 1]:
            last -= 1
    for at in (first, last):
        if at is None:
            found.append(np.nan)
        elif at == 0:
            found.append(middle[0])
        elif np.isinf(curve[at - 1]):
            found.append(middle[at])
        else:
            a, b = curve[at - 1], curve[at]
            found.append(middle[at - 1] * (middle[at] / middle[at - 1]) ** ((a - level) / (a - b)))
    return found


def test_times_are_those_read_off_by_hand():
    generator = np.random.default_rng(0)
    middle = np.sort(generator.uniform(1, 1000, 12))
    curves = generator.uniform(0.2, 1.0, (200, 12))
    curves[generator.random(curves.shape) < 0.05] = np.nan
    curves[0], curves[1] = 0.9, 0.1
    first, settled = passage_times(middle, curves, 0.5)
    expected = np.array([by_hand(middle, curve, 0.5) for curve in curves])
    np.testing.assert_allclose(first, expected[:, 0])
    np.testing.assert_allclose(settled, expected[:, 1])
    assert np.isnan(first[0])
    assert settled[1] == middle[0]
    with pytest.raises(ValueError, match="relative: must end in an axis of 12 looks"):
        passage_times(middle, curves[:, :-1], 0.5)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_law_has_its_exponent_and_its_kappa_in_the_middle(gamma):
    cells = law(gamma, KAPPA_MEETING)
    lr, memory = (np.array([getattr(c, name) for c in cells]) for name in ("lr", "memory"))
    np.testing.assert_allclose(lr, LRS)
    np.testing.assert_allclose(np.diff(np.log(LRS)), -np.log(8) / 4, rtol=1e-3)
    assert np.polyfit(np.log(lr), np.log(memory), 1)[0] == pytest.approx(gamma, abs=1e-3)
    assert cells[2].kappa == pytest.approx(KAPPA_MEETING, rel=2e-3)


def test_kappa_is_the_ratio_of_the_two_times():
    c = cell(0.02, 0.5, 0.7)
    drift = c.batch * experiment.SLOW * (c.memory / (c.lr * c.noise)) ** 2
    assert (1 / c.memory) / drift == pytest.approx(0.7, rel=1e-3)
    assert cell(0.02, 0.5, 1e-9).memory == 1.0


def test_minibatches_have_the_covariance_of_all_images():
    whole, part = scan(LRS[0], [2.0])[0], scan_in_batches(LRS[0])
    assert [c.noise**2 / c.batch for c in part] == pytest.approx([NOISE**2 / IMAGES] * len(part))
    assert part[1].kappa == pytest.approx(2.0, rel=1e-3)
    assert part[1].memory == whole.memory


def test_flips_have_the_variance_of_the_additive_noise():
    assert flips().variance == pytest.approx(NOISE**2, rel=1e-3)
    assert replace(flips(), kind="additive", noise=0.7).variance == pytest.approx(0.49)
    assert LabelNoise("flip", flip_probability(0.2)).variance(10) == pytest.approx(0.04, rel=1e-3)


def test_the_laptop_has_the_cells_that_the_chapter_reads():
    """Each once, by all that a cell is."""
    cells = [
        (lr, memory, c.noise, c.batch, c.kind, c.phase, c.optimizer, c.starts, c.steps, c.dtype)
        for c in PROFILES["laptop"]
        for lr, memory in zip(c.lr, c.memory, strict=True)
    ]
    assert len(set(cells)) == len(cells)
    ours = {c[:4] for c in cells if c[4:7] == ("additive", "noise", "heavy ball")}
    wanted: list[Cell] = []
    for gamma, apart in zip(GAMMAS, KAPPA_APART, strict=True):
        wanted += law(gamma, KAPPA_MEETING) + law(gamma, apart)
    wanted += [c for lr in LRS for c in scan(lr)]
    wanted += [c for noise in TUNED_NOISES[1:] for side in tuned(noise) for c in side]
    wanted += tuned(TUNED_NOISES[0])[1]
    wanted += [c for lr in LRS[::2] for c in equal_steps(lr)[0]]
    assert {(c.lr, c.memory, c.noise, None) for c in wanted} <= ours
    batches = {(c.lr, c.memory, c.noise, BATCH) for lr in BATCH_LRS for c in scan_in_batches(lr)}
    assert batches <= ours
    assert set(PROFILES["laptop"]) >= {flips(), fixed_momentum(), *fresh(0.0), *fresh(NOISE)}
    assert len({c.seed for c in PROFILES["laptop"]}) == len(PROFILES["laptop"])
    assert len(scan(LRS[0])) == len(SCAN_KAPPAS) == 8


def test_the_paper_profile_keeps_the_noise_and_its_kappa():
    for small, large in zip(PROFILES["laptop"], PROFILES["paper"], strict=True):
        assert (large.lr, large.memory, large.steps) == (small.lr, small.memory, small.steps)
        if small.kind == "additive":
            before = small.noise**2 / (small.batch or small.images)
            assert large.noise**2 / large.batch == pytest.approx(before)
        assert large.images == 60_000
        assert large.device == "cuda"


def test_costs_grow_with_what_is_done():
    assert cost(replace(SMALL, steps=1000)) > cost(SMALL)
    assert 1000 < sum(cost(c) for c in PROFILES["laptop"]) < 10_000
    assert sum(cost(c) for c in PROFILES["smoke"]) < 60
