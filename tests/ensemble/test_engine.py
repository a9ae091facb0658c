"""What an ensemble promises of its runs: nothing but their own seed and setting changes them."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatter_lib.ensemble import run
from flatter_lib.ensemble.draws import noise_stream, row_stream
from flatter_lib.valleys.diagonal import DiagonalNetwork
from flatter_lib.valleys.scalar import ScalarValley, simulate

from ..refusals import refuses
from ..valleys.problems import PROBLEMS

SENSING = PROBLEMS["sensing"]
START = SENSING.start_on_manifold(np.random.default_rng(0)).numpy()
GRID = {"lr": [0.002, 0.01, 0.005], "momentum": [0.9, 0.0, 0.5], "label_noise": [0.3, 0.1, 0.2]}
measured = functools.partial(run, SENSING, start=START, observe=("loss", "trace", "distance"))


def differences(first, second):
    """What of two results is not equal to the last bit, by name."""
    parts = [
        (name, getattr(first, name), getattr(second, name))
        for name in ("steps", "diverged", "final")
    ]
    parts += [(name, values, second.values[name]) for name, values in first.values.items()]
    return [name for name, one, other in parts if not np.array_equal(one, other, equal_nan=True)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_bits_of_the_motion_do_not_depend_on_the_chunks(name):
    problem = PROBLEMS[name]
    arguments = {"steps": 40, "seeds": 67, "batch_size": 3, **GRID}
    whole = run(problem, **arguments, chunk=512)
    for chunk in (64, 128, None):
        result = run(problem, **arguments, chunk=chunk)
        assert set(differences(whole, result)) <= set(whole.values)
        # An observable is a sum that PyTorch takes over all runs at once; for the last few of them its order is as the
        # processor's vectors are wide. At the start the loss is the square of roundoff. Nothing is fed back from it.
        for observed, values in whole.values.items():
            np.testing.assert_allclose(result.values[observed], values, rtol=1e-12, atol=1e-28)


def test_pieces_use_one_thread_each_and_leave_the_number_as_it_was():
    before, seen = torch.get_num_threads(), []

    def look(w):
        seen.append(torch.get_num_threads())
        return w[:, 0]

    try:
        torch.set_num_threads(2)
        measured(steps=5, seeds=4, observe={"x": look}, **GRID)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_bits_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(measured(steps=50, seeds=100, chunk=64, **GRID))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert differences(*results) == []


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=5),
    chosen=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    steps=st.integers(1, 300),
    noise=st.sampled_from(["label", "gaussian"]),
    batch_size=st.sampled_from([None, 2]),
)
def test_a_run_in_any_company_is_the_run_alone(seeds, chosen, steps, noise, batch_size):
    arguments = {"steps": steps, "noise": noise, "batch_size": batch_size}
    grid = {name: np.array(values)[chosen] for name, values in GRID.items()}
    many = measured(seeds=seeds, **grid, **arguments)
    i, j = len(chosen) - 1, len(seeds) // 2
    own = {name: values[i] for name, values in grid.items()}
    alone = measured(seeds=[seeds[j]], **own, **arguments)
    assert alone.final[0, 0] == pytest.approx(many.final[i, j], abs=1e-11)
    for name, values in alone.values.items():
        assert values[0, 0] == pytest.approx(many.values[name][i, j], rel=1e-8, abs=1e-11)


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 299), batch_size=st.sampled_from([None, 2]))
def test_a_shorter_run_is_the_beginning_of_a_longer_one(cut, batch_size):
    arguments = {"seeds": 2, "every": 1, "batch_size": batch_size, **GRID}
    long = measured(steps=300, **arguments)
    short = measured(steps=cut, **arguments)
    for name, values in short.values.items():
        assert np.array_equal(values, long.values[name][..., : cut + 1])


def test_runs_that_diverge_say_when_and_spread_to_no_other():
    # At the second step size the first step already leads beyond any bound.
    lr = np.array([0.01, 1e3, 0.005, 0.4])
    arguments = {"momentum": 0.9, "label_noise": 0.3, "steps": 400, "seeds": 4, "every": 1}
    every = measured(lr=lr, **arguments)
    tame = measured(lr=lr[[0, 2]], **arguments)
    assert np.all(every.diverged[[0, 2]] == -1)
    assert np.all(every.diverged[[1, 3]] > 0)
    assert every.diverged[3].max() < 400
    same_runs = every.final[[0, 2]]
    assert same_runs == pytest.approx(tame.final, abs=1e-12)
    limit = 1e6 * float(SENSING.targets.square().sum()) / (2 * len(SENSING.targets))
    for name, values in every.values.items():
        assert np.all(np.isfinite(values[[0, 2]]))
        for i in (1, 3):
            for j, step in enumerate(every.diverged[i]):
                assert np.all(np.isfinite(values[i, j, :step])), name
                assert np.all(np.isnan(values[i, j, step:])), name
    assert np.nanmax(every.values["loss"]) < 2 * limit
    assert np.all(np.isnan(every.final[[1, 3]]))


def test_the_step_at_which_a_run_diverged_is_the_first_above_the_limit():
    # Without noise the loss that is watched is the loss that is recorded.
    arguments = {"lr": 0.4, "steps": 60, "seeds": 1, "every": 1, "start": START + 0.01}
    free = run(SENSING, **arguments, limit=1e300)
    scale = float(SENSING.targets.square().sum()) / (2 * len(SENSING.targets))
    loss = free.values["loss"][0, 0]
    for limit in (10.0, 1e6):
        bound = run(SENSING, **arguments, limit=limit)
        assert bound.diverged[0, 0] == np.argmax(~(loss <= limit * scale))


def test_a_run_above_the_limit_is_over_even_if_it_would_come_back():
    arguments = {"lr": 0.01, "steps": 300, "seeds": 1, "every": 1, "start": START + 0.05}
    free = run(SENSING, **arguments)
    scale = float(SENSING.targets.square().sum()) / (2 * len(SENSING.targets))
    assert free.values["loss"][0, 0, -1] < 0.1 * free.values["loss"][0, 0, 0]
    over = run(SENSING, **arguments, limit=free.values["loss"][0, 0, 3] / scale * 1.001)
    assert over.diverged[0, 0] == 0
    assert np.all(np.isnan(over.final))
    assert np.all(np.isnan(over.values["loss"]))


def test_a_run_may_diverge_at_its_last_step():
    arguments = {"lr": 0.4, "seeds": 1, "every": 1, "start": START + 0.01}
    step = int(run(SENSING, steps=60, **arguments).diverged[0, 0])
    assert run(SENSING, steps=step, **arguments).diverged[0, 0] == step
    assert run(SENSING, steps=step - 1, **arguments).diverged[0, 0] == -1


def test_settings_share_the_numbers_of_a_seed():
    result = run(
        SENSING, lr=[1e-9, 2e-9], label_noise=[1.0, 0.5], steps=50, seeds=[3, 4], start=START
    )
    moved = (result.final - START) / np.array([1e-9, 2e-9])[:, None, None]
    assert moved[0] == pytest.approx(2 * moved[1], rel=1e-3, abs=1e-4 * np.abs(moved).max())
    assert np.abs(moved[0, 0] - moved[0, 1]).max() > 0.1 * np.abs(moved).max()


def test_observables_are_those_of_the_recorded_points():
    result = measured(
        steps=90,
        seeds=2,
        every=30,
        observe={"mine": "trace", "distance": "distance", "first": lambda w: w[:, 0]},
        **GRID,
    )
    assert result.steps.tolist() == [0, 30, 60, 90]
    assert set(result.values) == {"mine", "distance", "first"}
    assert {values.shape for values in result.values.values()} == {(3, 2, 4)}
    final = torch.from_numpy(result.final)
    assert result.values["mine"][..., -1] == pytest.approx(SENSING.trace(final).numpy())
    assert result.values["first"][..., -1] == pytest.approx(result.final[..., 0])
    assert result.values["distance"][..., -1] == pytest.approx(
        np.linalg.norm(result.final - START, axis=-1)
    )
    assert np.all(result.values["distance"][..., 0] == 0)


def test_records_are_spaced_evenly_in_the_logarithm():
    steps = run(PROBLEMS["scalar"], lr=0.1, steps=10_000, seeds=1, observe="loss").steps
    assert steps[:3].tolist() == [0, 1, 2]
    assert steps[-1] == 10_000
    late = np.diff(np.log(steps[steps > 200]))
    assert late == pytest.approx(np.full_like(late, late.mean()), rel=0.05)


def test_starts_of_each_seed_and_of_each_run():
    generator = np.random.default_rng(0)
    arguments = {
        "lr": [0.01, 0.02],
        "steps": 5,
        "seeds": 3,
        "observe": {"first": lambda w: w[:, 0]},
    }
    of_seeds = START + 0.01 * generator.standard_normal((3, START.size))
    of_runs = START + 0.01 * generator.standard_normal((2, 3, START.size))
    assert np.array_equal(
        run(SENSING, start=of_seeds, **arguments).values["first"][..., 0],
        np.broadcast_to(of_seeds[:, 0], (2, 3)),
    )
    whole = run(SENSING, start=of_runs, **arguments)
    assert np.array_equal(whole.values["first"][..., 0], of_runs[..., 0])
    single = run(SENSING, start=of_runs[1, 2], **arguments)
    assert whole.final[1, 2] == pytest.approx(single.final[1, 2], abs=1e-12)


def test_single_precision_follows_double():
    double = measured(steps=100, seeds=2, **GRID)
    single = measured(steps=100, seeds=2, dtype=torch.float32, **GRID)
    assert single.final.dtype == np.float32
    assert single.values["trace"].dtype == np.float64
    assert single.final == pytest.approx(double.final, abs=1e-4)


def test_label_noise_of_the_scalar_valley_is_that_of_its_compiled_loop():
    valley = ScalarValley(target=1.3, start=1.9)
    one = {"lr": 0.05, "momentum": 0.9, "label_noise": 0.2, "steps": 3000, "seeds": 4}
    seen = {"u": lambda w: w[:, 0], "v": lambda w: w[:, 1]}
    result = run(PROBLEMS["scalar"], start=valley.initial, **one, every=1000, observe=seen)
    w = simulate(valley, **one, at=[0, 1000, 2000, 3000]).w[0]
    assert result.values["u"][0] == pytest.approx(w[..., 0], abs=1e-10)
    assert result.values["v"][0] == pytest.approx(w[..., 1], abs=1e-10)


def test_an_error_in_one_chunk_is_that_of_the_run():
    def broken(w):
        raise ArithmeticError("of an observable")

    with pytest.raises(ArithmeticError, match="of an observable"):
        measured(steps=2000, seeds=50, chunk=10, observe={"x": broken}, **GRID)


def test_bad_arguments():
    good = {"problem": SENSING, "lr": 0.1, "steps": 3, "seeds": 2}
    refuses(run, good, lr=0.0, momentum=1.0, label_noise=-0.1, noise="pink", batch_size=0, steps=0)
    refuses(run, good, every=0, seeds=[], limit=0.0, dtype=torch.float16, chunk=0, start=[0.0])
    for stream in (noise_stream, row_stream):
        refuses(stream, {}, seed=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": [0.1, 0.2], "momentum": [0.1] * 3}, "do not broadcast .* lr .2,., momentum .3,"),
        ({"noise": "minibatch"}, 'batch_size: noise="minibatch" needs one'),
        (
            {"noise": "minibatch", "batch_size": 2, "label_noise": 0.1},
            'label_noise: must be 0 with noise="minibatch"',
        ),
        ({"observe": ("loss", "sharpness")}, "observe: one of distance, loss, test_error, trace,"),
        ({"observe": {"mine": 3}}, "observe: one of distance, loss"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(SENSING, **{"lr": 0.1, "steps": 3, "seeds": 2, **arguments})


def test_label_noise_makes_the_variance_across_the_valley_that_theory_gives():
    # One parameter v at x = 1: f = v^2 near v = 1, h = 4; leading order eta eps^2 / (2 n) (1 / (1 - beta)) of w.
    problem = DiagonalNetwork(inputs=1, sparsity=1, measurements=1, seed=3)
    x = float(problem.samples[0, 0])
    eta, eps, beta = 0.002 / x**2, 0.02, 0.5
    result = run(
        problem,
        lr=eta,
        momentum=beta,
        label_noise=eps,
        steps=3000,
        seeds=400,
        start=[1.0],
        every=300,
        observe={"v": lambda w: w[:, 0]},
    )
    late = result.values["v"][0, :, 4:]
    assert late.var() == pytest.approx(eta * eps**2 / (2 * (1 - beta)), rel=0.1)
