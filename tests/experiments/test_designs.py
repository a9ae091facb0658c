"""The experiments' designs are those that were measured, and what a cell gives does not depend on its company."""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from flatter_lib.evidence import load
from flatter_lib.evidence.experiment import PROFILES, find
from flatter_lib.evidence.judge import judge
from flatter_lib.evidence.record import plain
from flatter_lib.experiments import (
    matrix_sensing,
    mlp_fashion_mnist,
    scalar_phase,
    sparse_recovery,
    teacher_student,
)
from flatter_lib.experiments._ensembles import timed
from flatter_lib.experiments.design import Landscape, rungs

PUBLISHED = sorted(Path(__file__).parents[2].glob("book/results/*.jsonl"))
#: Seconds that a published profile may take on one core.
LONGEST = 2 * 3600
IN_BATCHES = (matrix_sensing, mlp_fashion_mnist, teacher_student)
VALLEY = Landscape(slow=3.0, strength=0.2, lrs=(0.4, 0.2, 0.1), patience=10.0, drift=3.0)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_laptop_profile_is_what_the_published_records_hold(path: Path) -> None:
    experiment, recorded = find(path.stem), {record.key for record in load(path)}
    published = experiment.configurations("laptop")
    known = {
        k for profile in experiment.module.PROFILES for k in experiment.configurations(profile)
    }
    assert published.keys() <= recorded <= known
    assert len(published) == len(experiment.module.PROFILES["laptop"])
    assert sum(map(experiment.module.cost, published.values())) < LONGEST


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_rules_of_an_experiment_name_what_it_measures(path: Path) -> None:
    held, recorded = find(path.stem).module.HELD, load(path)
    names = {name: None for record in recorded for name in record.measurements}
    assert {name.partition(".")[0] for name in held} <= {"", *names}
    longest = max(recorded, key=lambda record: len(record.measurements))
    assert all(v.passed for v in judge([(longest, longest)], held).values())


@pytest.mark.parametrize("module", IN_BATCHES, ids=lambda module: module.__name__)
def test_a_cell_alone_is_what_it_is_in_company(module) -> None:
    together = defaultdict(list)
    for c in module.PROFILES["smoke"]:
        together[module.batch(c)].append(c)
    some = max(together.values(), key=len)
    for c, measured in zip(some, module.run_many(some), strict=True):
        assert plain(measured) == plain(module.run_many([c])[0])


@pytest.mark.parametrize("module", IN_BATCHES, ids=lambda module: module.__name__)
def test_what_cannot_be_made_in_one_pass_has_another_key(module) -> None:
    first, *others = module.PROFILES["laptop"]
    assert any(module.batch(c) == module.batch(first) for c in others)
    for field in dataclasses.fields(first):
        value = getattr(first, field.name)
        if type(value) in (int, float) and field.name not in ("lr", "memory", "seed"):
            other = dataclasses.replace(first, **{field.name: value + 1})
            assert module.batch(other) != module.batch(first), field.name


def test_a_run_far_below_its_end_has_not_settled() -> None:
    steps, x = (
        np.arange(0, 50, 10),
        np.array([[1.0, 0.05, -0.5, 0.05, 0.04], [1.0, 0.2, 0.3, 0.2, 0.2]]),
    )
    found = timed(steps, x, (0.1, 0.25), x[::-1], 0.045)
    assert plain(found) == {
        "first_passage": [[10, "NaN"], [10, 10]],
        "settling": [[30, "NaN"], [30, 30]],
        "error_first_passage": ["NaN", 20],
        "error_settling": ["NaN", 40],
    }


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("module", [scalar_phase, sparse_recovery], ids=lambda m: m.__name__)
def test_each_cell_has_random_numbers_of_its_own(module, profile: str) -> None:
    cells = module.PROFILES[profile]
    assert len({cell.seed for cell in cells}) == len(set(cells)) == len(cells)
    most = max(cell.runs * getattr(cell, "problems", 1) for cell in cells)
    assert min(np.diff(sorted(cell.seed for cell in cells))) >= most


@pytest.mark.parametrize("gamma", [0.0, 1 / 2, 2 / 3, 0.8])
@pytest.mark.parametrize("at", [None, 0.4])
def test_a_law_has_its_exponent_and_its_kappa_where_laws_meet(
    gamma: float, at: float | None
) -> None:
    cells = VALLEY.law(gamma, 0.7, at=at)
    lr, memory = (np.array([getattr(c, name) for c in cells]) for name in ("lr", "memory"))
    assert tuple(lr) == VALLEY.lrs
    assert np.polyfit(np.log(lr), np.log(memory), 1)[0] == pytest.approx(gamma, abs=1e-3)
    assert cells[1 if at is None else 0].kappa == pytest.approx(0.7, rel=2e-3)


def test_a_cell_has_its_kappa_and_time_for_it() -> None:
    cell = VALLEY.cell(0.3, 0.5, 0.7)
    drift = VALLEY.slow * (cell.memory / (0.3 * 0.7)) ** 2
    assert cell.kappa == pytest.approx(1 / (cell.memory * drift))
    assert cell.kappa == pytest.approx(0.5, rel=2e-3)
    assert cell.steps == pytest.approx(10 / cell.memory + 3 * drift)
    assert VALLEY.cell(0.3, 1e-9) == VALLEY.plain(0.3)


def test_rungs_hold_each_cell_once_with_others_that_take_as_long() -> None:
    kappas = np.random.default_rng(0).uniform(0.1, 10, 30).tolist()
    cells = [c for eps in (0.2, 0.5) for c in VALLEY.scan(0.2, kappas, eps)]
    found = rungs(cells * 2, 7, together=3, longest=1.2)
    assert sorted(c for rung in found for c in rung.cells) == sorted(set(cells))
    assert [rung.seed for rung in found] == [7 + 1000 * i for i in range(len(found))]
    for rung in found:
        steps = [c.steps for c in rung.cells]
        assert len(steps) <= 3
        assert len({c.strength for c in rung.cells}) == 1
        assert max(steps) <= rung.steps < max(steps) + 1
        assert max(steps) < 1.2 * min(steps) or len(steps) == 1
