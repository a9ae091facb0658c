"""Noise on targets: its mean and variance against sums over all outcomes, and what it must not change."""

from __future__ import annotations

import math

import pytest
import torch

from flatter_lib.vision.label_noise import LabelNoise

from ..refusals import refuses
from ..seeding import seeded

K = 5
CLEAN = torch.eye(K, dtype=torch.float64)


@pytest.mark.parametrize("p", [0.1, 0.6])
@pytest.mark.parametrize("centred", [False, True])
def test_flips_against_the_sum_over_all_outcomes(p: float, centred: bool) -> None:
    """The outcomes for a label of class 0: itself, and each of the others."""
    noise = LabelNoise("flip", p, centred)
    seen = noise(CLEAN[:1].expand(400, K), seeded())
    outcomes = torch.unique(seen, dim=0)
    assert len(outcomes) == K
    likely = torch.full((K,), p / (K - 1), dtype=torch.float64)
    likely[outcomes.argmax(-1) == 0] = 1 - p
    mean = likely @ outcomes
    if centred:
        torch.testing.assert_close(mean, CLEAN[0], rtol=0, atol=1e-12)
    else:
        assert set(outcomes.unique().tolist()) == {0.0, 1.0}
    variance = (likely @ (outcomes - mean) ** 2).mean()
    assert math.isclose(noise.variance(K), float(variance), rel_tol=1e-12)


def test_the_share_of_flips() -> None:
    n, p = 20_000, 0.3
    flipped = (
        LabelNoise("flip", p, centred=False)(CLEAN[:1].expand(n, K), seeded(4)).argmax(-1) != 0
    )
    share = float(flipped.double().mean())
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_additive_noise_is_normal_on_every_output() -> None:
    noisy = LabelNoise("additive", 2.0)(CLEAN, seeded(1))
    drawn = torch.randn(K, K, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(noisy, CLEAN + 2.0 * drawn)
    assert LabelNoise("additive", 2.0).variance(K) == 4.0


def test_no_noise_draws_nothing() -> None:
    generator = seeded(2)
    before = generator.get_state()
    assert LabelNoise("additive", 0.0)(CLEAN, generator) is CLEAN
    assert LabelNoise("flip", 0.0)(CLEAN, generator) is CLEAN
    assert torch.equal(generator.get_state(), before)


def test_the_dtype_stays() -> None:
    for kind in ("additive", "flip"):
        assert LabelNoise(kind, 0.2)(CLEAN.float(), seeded()).dtype == torch.float32


def test_bad_arguments() -> None:
    refuses(LabelNoise, {"kind": "flip", "strength": 0.1}, kind="salt", strength=1.0)
    flips, good = LabelNoise("flip", 0.1), {"targets": CLEAN, "generator": seeded()}
    refuses(flips, good, targets=CLEAN[0], generator=None)
    refuses(flips.variance, {}, outputs=1)
    refuses(flips.suits, {}, targets=CLEAN + 1)
    with pytest.raises(ValueError, match=r"centred flips of 5 classes must be below 0.8, got 0.85"):
        LabelNoise("flip", 0.85)(CLEAN, seeded())
    assert LabelNoise("flip", 0.85, centred=False)(CLEAN, seeded()).sum() == K
