"""Noise on targets: its mean and variance against sums over all outcomes, and what it must not change."""

from __future__ import annotations

import math

import pytest
import torch

from flatter_lib.vision.label_noise import LabelNoise

K = 5
CLEAN = torch.eye(K, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


@pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
def test_strengths_out_of_range(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength: must be in \[0, 1\), got"):
        LabelNoise("flip", strength)


def test_what_else_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: must be one of additive, flip, got 'salt'"):
        LabelNoise("salt", 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"centred flips of 5 classes must be below 0.8, got 0.85"):
        LabelNoise("flip", 0.85)(CLEAN, seeded())
    with pytest.raises(ValueError, match=r"generator: must be a torch.Generator on the CPU"):
        LabelNoise("additive", 0.1)(CLEAN, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"targets: must have shape \(B, K\), got \(5,\)"):
        LabelNoise("additive", 0.1)(CLEAN[0], seeded())
    with pytest.raises(ValueError, match="outputs: must be an integer from 2, got 1"):
        LabelNoise("flip", 0.1).variance(1)
    with pytest.raises(ValueError, match="outputs: must be an integer from 2, got 1"):
        LabelNoise("flip", 0.1)(CLEAN[:, :1], seeded())
    with pytest.raises(ValueError, match="targets: must be one-hot for flips"):
        LabelNoise("flip", 0.1).suits(CLEAN + 1)
    assert LabelNoise("flip", 0.85, centred=False)(CLEAN, seeded()).sum() == K
