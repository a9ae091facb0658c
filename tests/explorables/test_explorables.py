"""What a reader moves computes what the library computes, and its still picture is what it draws."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from flatter_lib import advice
from flatter_lib.heavy_ball.modes import characteristic_roots
from flatter_lib.nqm import NoisyQuadratic, risk
from flatter_lib.publish.extension.explorable import bundle
from flatter_lib.stats import settling_time
from flatter_lib.valleys import ScalarValley
from flatter_lib.valleys.reduced import reduced_times
from flatter_lib.valleys.scalar import trajectory

HERE = Path(__file__).parent
EXPLORABLES = HERE.parents[1] / "book/explorables"
DRAWINGS = sorted(path.stem for path in EXPLORABLES.glob("*.svg") if path.stem != "readme")
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node here: explorables are not tried")


def node(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [str(NODE), *arguments],
        check=False,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def root_cases(generator: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for step, beta in zip(
        np.r_[4 * generator.random(150), 10 ** -generator.uniform(1, 5, 150)],
        np.r_[generator.random(250), 1 - 10 ** -generator.uniform(1, 5, 50)],
        strict=True,
    ):
        pair = characteristic_roots(step, beta, 1.0)
        weights, w, v = [1.0], 1.0, 0.0
        for _ in range(20):
            v = beta * v + step * w
            w -= v
            weights.append(w)
        pairs = [[float(r.real), float(r.imag)] for r in pair]
        found.append({"step": step, "beta": beta, "pair": pairs, "weights": weights})
    return found


def valley_cases(generator: np.random.Generator) -> list[dict[str, Any]]:
    valley, found = ScalarValley(), []
    for _ in range(200):
        eta, eps = 10 ** generator.uniform(-2, -0.4), 10 ** generator.uniform(-1.3, 0)
        beta, draws = generator.uniform(0, 0.99), generator.standard_normal(60)
        w = trajectory(valley, lr=eta, momentum=beta, label_noise=eps, draws=draws)
        kept = w[np.isfinite(w).all(axis=1)]
        share = valley.imbalance(kept) / valley.initial_imbalance
        settled = settling_time(np.arange(len(kept)), np.abs(share)[None], 0.1)[0]
        # Where growing runs end is one step's matter, and their last digits are nobody's.
        if len(kept) == len(w) and np.abs(w).max() < 10:
            found.append(
                {"eta": eta, "beta": beta, "eps": eps, "draws": draws.tolist()}
                | {"us": kept[:, 0].tolist(), "vs": kept[:, 1].tolist(), "shares": share.tolist()}
                | {"settled": None if np.isnan(settled) else int(settled)}
            )
    assert len(found) > 100
    assert sum(c["settled"] is not None for c in found) > 10
    return found


def quadratic_cases(generator: np.random.Generator) -> dict[str, Any]:
    listed = node(
        "--input-type=module",
        "--eval",
        f"import {{ grid, spectrum }} from '{EXPLORABLES / 'quadratic.math.js'}';"
        "console.log(JSON.stringify({ modes: spectrum(), grid: grid(19) }))",
    )
    modes, grid = json.loads(listed).values()
    model = NoisyQuadratic(*([mode[name] for mode in modes] for name in ("h", "c", "many")))
    whole, found, exact = NoisyQuadratic.power_law(), [], []
    for k in range(120):
        batch, power = 2.0 ** generator.integers(0, 15), generator.choice([0.0, 0.5, 1.0])
        beta, gamma = generator.uniform(0, 0.99), generator.choice([0.0, 0.9, 0.99])
        rate = 10 ** generator.uniform(-3, 0) * (1 + beta)
        setting = {"batch": batch, "beta": beta, "gamma": gamma, "rate": rate}
        given = {"lr": rate, "batch_size": batch, "momentum": beta, "averaging": gamma}
        risks = risk(model, grid, preconditioning=power, **given)
        found.append({"power": power, "setting": setting, "risks": risks.tolist()})
        if k < 5:
            exact.append({"setting": setting, "risks": risk(whole, grid, **given).tolist()})
    begun = risk(model, 0, lr=0.1, batch_size=1)
    return {"quadratic": found, "whole": exact, "grid": grid, "begun": begun}


def map_cases(generator: np.random.Generator) -> dict[str, Any]:
    found = []
    for _ in range(400):
        scaled, steps = 10 ** generator.uniform(-3, 0.6), 10 ** generator.uniform(1, 6)
        momentum = generator.choice([0.0, 1 - 10 ** -generator.uniform(0, 3)])
        most, kind = (
            generator.choice([1.0, 2.0, np.inf]),
            str(generator.choice(list(advice.POWERS))),
        )
        rest = generator.choice([0.0, generator.uniform(0, 0.9)])
        given = advice.advise(
            scaled, momentum, 1.0, steps, carried_by=kind, at_rest=rest, largest_step=most
        )
        setting = {"scaled": scaled, "momentum": momentum, "steps": steps, "carriedBy": kind}
        setting |= {"atRest": rest, "largestStep": most if most < np.inf else None}
        gains = {"asTyped": given.as_typed.value, "tuned": given.tuned.value}
        found.append(
            {"setting": setting, "region": given.region, "momentum": given.momentum} | gains
        )
    assert {case["region"] for case in found} == set(get_args(advice.Region))
    law = {
        kind: {
            "delay": advice.BOOK.delay[kind],
            "border": advice.BOOK.border[kind] if advice.BOOK.border[kind] < np.inf else None,
            "factor": advice.BOOK.factor[kind],
        }
        for kind in advice.POWERS
    }
    return {"map": found, "law": law}


def best_kappa() -> float:
    kappas = np.geomspace(0.1, 2.0, 15)
    times = reduced_times(
        kappas,
        first_level=0.5,
        settling_level=0.1,
        paths=2000,
        generator=np.random.default_rng(0),
    )
    # At a given step and noise 1 - beta goes as kappa^(-1/3).
    curve = np.polynomial.Polynomial.fit(
        np.log(kappas), np.log(times.settling * kappas ** (1 / 3)), 4
    )
    fine = np.linspace(*np.log(kappas[[0, -1]]), 2001)
    return float(np.exp(fine[np.argmin(curve(fine))]))


@needs_node
def test_the_mathematics_is_the_librarys(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    cases = {"roots": root_cases(generator), "valley": valley_cases(generator)}
    cases |= map_cases(generator) | quadratic_cases(generator) | {"bestKappa": best_kappa()}
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    node("--test", str(HERE / "models.test.mjs"), CASES=str(file))


@needs_node
def test_the_still_pictures_are_what_is_drawn(tmp_path: Path) -> None:
    node(str(EXPLORABLES / "still.mjs"), str(tmp_path))
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(f"{name}.svg" for name in [*DRAWINGS, "readme"])
    number = re.compile(r"-?\d+(?:\.\d+)?")
    for name in made:
        kept, drawn = ((folder / name).read_text() for folder in (EXPLORABLES, tmp_path))
        assert number.sub("0", drawn) == number.sub("0", kept), f"node {EXPLORABLES / 'still.mjs'}"
        far = [
            abs(float(a) - float(b))
            for a, b in zip(*map(number.findall, (kept, drawn)), strict=True)
        ]
        assert max(far) < 0.25  # a quarter of a pixel, for other processors' last digits


@needs_node
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_script_is_all_that_it_needs(name: str, tmp_path: Path) -> None:
    text = bundle(EXPLORABLES, name)
    assert "import " not in text.replace("important", "")
    assert text.count("function panel(") == 1
    script = tmp_path / "bundle.mjs"
    script.write_text(text)
    node("--check", str(script))
