"""Steps to a target: against loops written by hand, and the search against all of its points."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats.qmc import Sobol
from torch.nn.functional import cross_entropy

from flatter_lib.experiments import steps_to_target
from flatter_lib.experiments._images import images_of
from flatter_lib.experiments._search import DRAWS, fastest, search
from flatter_lib.experiments.steps_to_target import PROFILES, Configuration, run, steps_of
from flatter_lib.vision.table_one import SimpleCNN
from tests.refusals import refuses
from tests.seeding import seeded

SHORT = PROFILES["smoke"][0]
BOX = {"step": (0.01, 1.0), "memory": (0.1, 1.0)}


def held_out(c: Configuration) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The images that trials are judged by."""
    data, _ = images_of(c)
    return [(data.x_test, data.labels_test)]


def by_hand(c: Configuration, values: dict[str, float], seed: int, most: int) -> list[float]:
    """Accuracy on the judging images after each step of SGD, heavy ball or Adam."""
    data, _ = images_of(c)
    network = SimpleCNN(c.width, side=data.x.shape[-1], generator=seeded(seed), dtype=torch.float64)
    averaged = [p.detach().clone() for p in network.parameters()]
    first, second = ([torch.zeros_like(p) for p in network.parameters()] for _ in range(2))
    draws, seen = seeded(1000 + seed), []
    for k in range(1, most + 1):
        rows = torch.randint(len(data.x), (c.batch,), generator=draws)
        loss = cross_entropy(network(data.x[rows]), data.labels[rows])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        memory = values.get("memory", 1.0)
        for p, g, m, v in zip(network.parameters(), gradients, first, second, strict=True):
            if c.optimizer in ("sgd", "momentum"):
                m.mul_(1 - memory).add_(g)
                left = 1 - (k - 1) / values.get("horizon", math.inf)
                p.data -= values["step"] * left * memory * m
                continue
            m.mul_(1 - memory).add_(memory * g)
            v.mul_(1 - values["memory_2"]).add_(values["memory_2"] * g**2)
            start = 1 - (1 - memory) ** k, 1 - (1 - values["memory_2"]) ** k
            p.data -= values["step"] * (m / start[0]) / ((v / start[1]).sqrt() + 1e-8)
        share = values.get("averaging", 1.0) if k > 1 else 1.0
        for a, p in zip(averaged, network.parameters(), strict=True):
            a.add_(share * (p.detach() - a))
        judge = SimpleCNN(c.width, side=data.x.shape[-1], generator=seeded(), dtype=torch.float64)
        for p, a in zip(judge.parameters(), averaged, strict=True):
            p.data = a
        right = judge(data.x_test).argmax(-1) == data.labels_test
        seen.append(float(right.double().mean()))
    return seen


@pytest.mark.parametrize(
    ("changed", "values"),
    [
        ({}, {"step": 0.1}),
        ({"averaging": True}, {"step": 0.1, "averaging": 0.3}),
        ({"decay": True}, {"step": 0.1, "horizon": 40.0}),
        ({"optimizer": "momentum"}, {"step": 0.1, "memory": 0.1}),
        ({"optimizer": "adam_plain"}, {"step": 0.01, "memory_2": 0.02}),
        ({"optimizer": "adam"}, {"step": 0.01, "memory": 0.2, "memory_2": 0.02}),
    ],
)
def test_steps_are_those_of_a_loop_written_by_hand(
    changed: dict[str, Any], values: dict[str, float]
) -> None:
    # The first twenty steps are all looked at.
    c = replace(SHORT, **changed)
    seen = by_hand(c, values, seed=3, most=18)
    c = replace(c, target=max(seen))
    data, _ = images_of(c)
    first = seen.index(max(seen)) + 1
    assert first > 1
    assert steps_of(c, data, values, 3, 1000, held_out(c)) == [first]
    assert steps_of(c, data, values, 3, first, held_out(c)) == [math.inf]


def test_a_run_takes_the_fastest_trial_again_with_other_seeds() -> None:
    found = run(SHORT)
    data, _ = images_of(SHORT)
    steps = np.array(found["trials"]["steps"])
    best = found["trials"]["values"]["step"][int(np.nanargmin(steps))]
    assert found["best"] == {"step": best}
    assert len(found["steps"]) == SHORT.seeds
    low, high = SHORT.box["step"]
    exactly = low * (high / low) ** found["places"]["step"]
    assert exactly == pytest.approx(best, rel=1e-3)
    training = data.x[:200], data.labels[:200]
    for name, judge in (("steps", held_out(SHORT)), ("training", [training])):
        again = [
            steps_of(SHORT, data, {"step": exactly}, seed, 200, judge)[0] for seed in (1, 2, 3)
        ]
        assert found[name] == again
    assert found["steps"] != found["training"]
    assert [np.nanmin(steps)] == steps_of(SHORT, data, {"step": exactly}, 0, 200, held_out(SHORT))


def test_a_hopeless_run_is_given_up_at_half_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(steps_to_target, "_optimizer", lambda *_: lambda *_: taken.append(1))
    data, _ = images_of(SHORT)
    assert steps_of(SHORT, data, {}, 0, 24, held_out(SHORT)) == [math.inf]
    assert len(taken) == 13


def test_what_is_never_reached_and_what_diverges() -> None:
    found = run(replace(SHORT, target=0.999, longest=5, trials=2))
    assert found["best"] == {} == found["places"]
    assert np.isnan(found["steps"]).all()
    data, _ = images_of(SHORT)
    assert math.isnan(steps_of(SHORT, data, {"step": 1e6}, 0, 50, held_out(SHORT))[0])


def test_the_search_finds_the_fastest_of_its_points() -> None:
    def steps(at: dict[str, float]) -> float:
        return 50 + 9 * math.log(at["step"] / 0.3) ** 2 + 5 * math.log(at["memory"] / 0.2) ** 2

    def measure(at: dict[str, float], most: float) -> float:
        if at["step"] > 0.6:
            return math.nan
        return steps(at) if steps(at) < most else math.inf

    found = search(measure, BOX, 10, 1000)
    points = Sobol(2, scramble=False).random_base2(6)[1:]
    all_points = [{"step": 0.01 * 100**u, "memory": 0.1 * 10**v} for u, v in points.tolist()]
    kept = [at for at in all_points if at["step"] <= 0.6][:10]
    assert sum(not math.isnan(trial.steps) for trial in found) == 10
    best = fastest(found)
    assert best is not None
    assert best.steps == pytest.approx(min(steps(at) for at in kept))
    assert best.values == pytest.approx(min(kept, key=steps))


def test_a_search_where_all_diverges_ends_and_an_empty_box_is_refused() -> None:
    found = search(lambda at, most: math.nan, BOX, 3, 10)
    assert len(found) == 3 * DRAWS
    assert fastest(found) is None
    refuses(lambda box: search(lambda at, most: 1.0, box, 3, 10), {}, box={})
    with pytest.raises(ValueError, match=r"^box: step must go from"):
        search(lambda at, most: 1.0, {"step": (1.0, 0.1)}, 3, 10)


def test_what_means_nothing_is_refused() -> None:
    refuses(lambda **changed: replace(SHORT, **changed), {}, optimizer="adamw", target=1.0, batch=0)
    refuses(lambda **changed: replace(SHORT, **changed), {}, network="mlp", trials=0, width=0.0)
