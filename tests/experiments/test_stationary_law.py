"""The stationary law's variance, by a loop written by hand."""

from dataclasses import replace

import numpy as np
import pytest

from flatter_lib.experiments.stationary_law import PROFILES, Configuration, run


def test_a_run_is_what_a_hand_written_loop_makes_of_it() -> None:
    c = Configuration(lr=0.1, momentum=0.5, curvature=2.0, chains=3, looks=2, seed=7)
    # The mode is underdamped: its amplitude falls as momentum**(k / 2), so by exp(-2) in 5.8 steps.
    noise = np.random.default_rng(7).standard_normal((6 * 6, 3))
    w, v, squares = np.zeros(3), np.zeros(3), {}
    for k in range(1, 37):
        v = 0.5 * v + 2.0 * w + noise[k - 1]
        w = w - 0.1 * v
        squares[k] = (w**2).mean()
    # First after five times as many steps, when the start is forgotten.
    assert run(c)["variance"] == pytest.approx((squares[30] + squares[36]) / 2, rel=1e-12)


def test_the_law_holds() -> None:
    settings = [replace(c, chains=4096, looks=8, seed=1) for c in PROFILES["smoke"]]
    ratios = np.array([run(c)["ratio"] for c in settings])
    # The mean of 4096 x 8 squares of normal numbers, nearly independent, has a standard error of about 0.8 %.
    np.testing.assert_allclose(ratios, 1.0, atol=0.04)
    assert len(set(ratios)) == len(settings)
