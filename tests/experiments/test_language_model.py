"""Training a language model against a loop written by hand, on a text that is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.experiments.language_model import PROFILES, run, signal_and_spread
from flatter_lib.text.characters import chain, counted_loss
from flatter_lib.text.transformer import Transformer
from tests.seeding import seeded

SGD, HEAVY, ADAM = (replace(c, steps=20, probes=4) for c in PROFILES["smoke"])


@pytest.mark.parametrize("c", [SGD, HEAVY, ADAM, replace(ADAM, schedule="linear")])
def test_a_run_is_what_a_hand_written_loop_makes_of_it(c) -> None:
    text = chain(20_000, 12, np.random.default_rng(0))
    train, kept = text.tokens[:18_000], text.tokens[18_000:]
    network = Transformer(
        12, width=16, heads=2, context=8, generator=seeded(0), dtype=torch.float64
    )
    generator, others = seeded(1000), seeded(2000)
    parameters = list(network.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    average = [p.detach().clone() for p in parameters]
    starts = torch.linspace(0, 2_000 - 9, 64).long()

    def loss(rows, source):
        some = torch.tensor(np.stack([source[r : r + 9] for r in rows.flatten().tolist()]))
        chosen = network(some[:, :-1]).log_softmax(-1).gather(-1, some[:, 1:, None])
        return -chosen.mean()

    def gradient(count, source):
        rows = torch.randint(18_000 - 8, (count, 1), generator=source)
        return torch.autograd.grad(loss(rows, train), parameters)

    def probe():
        rows = [torch.cat([g.flatten() for g in gradient(16, others)]) for _ in range(4)]
        squares = [[float(a @ b) for a in rows] for b in rows]
        off = (np.sum(squares) - np.trace(squares)) / 12
        return off, 16 * (np.trace(squares) / 4 - off)

    looks, probes, losses = [8, 9, 10, 11, 13, 14, 16, 18, 20], [probe()], []
    for k in range(20):
        lr = c.step * (1 - k / 20 if c.schedule == "linear" else 1)
        gradients = gradient(8, generator)
        with torch.no_grad():
            for p, g, m, v, a in zip(parameters, gradients, first, second, average, strict=True):
                if c.optimizer == "adam":
                    b2 = 0.5 ** (64 / 512)
                    m.copy_(0.9 * m + 0.1 * g)
                    v.copy_(b2 * v + (1 - b2) * g**2)
                    there = (v / (1 - b2 ** (k + 1))).sqrt() + 1e-8
                    p.sub_(lr * m / (1 - 0.9 ** (k + 1)) / there)
                else:
                    beta = 0.9 if c.optimizer == "momentum" else 0.0
                    m.copy_(beta * m + g)
                    p.sub_(lr * (1 - beta) * m)
                share = min(1, 10 / (k + 1))
                a.copy_((1 - share) * a + share * p)
        if k + 1 in looks:
            with torch.no_grad():
                now = float(loss(starts, kept))
                mine = [p.clone() for p in parameters]
                for p, a in zip(parameters, average, strict=True):
                    p.copy_(a)
                losses.append((now, float(loss(starts, kept))))
                for p, own in zip(parameters, mine, strict=True):
                    p.copy_(own)
        if k + 1 in (8, 16):
            probes.append(probe())
    found = run(c)
    assert c.looks == looks
    assert c.probed == [0, 8, 16]
    assert found["loss"] == pytest.approx([a for a, _ in losses], rel=5e-4)
    assert found["averaged"] == pytest.approx([b for _, b in losses], rel=5e-4)
    assert found["signal"] == pytest.approx([a for a, _ in probes], rel=5e-4)
    assert found["spread"] == pytest.approx([b for _, b in probes], rel=5e-4)
    assert found["counted"] == pytest.approx(counted_loss(train, kept, 12), rel=1e-3)


def test_a_run_ends_at_its_target_and_when_it_diverges() -> None:
    whole = run(replace(HEAVY, probes=0))["loss"]
    ended = run(replace(HEAVY, probes=0, target=max(whole[3:5])))
    both = np.maximum(ended["loss"], ended["averaged"])
    last = int(np.isfinite(both).sum())
    assert ended["loss"][:last] == whole[:last]
    assert last < len(whole)
    assert both[last - 1] <= max(whole[3:5])
    assert (both[: last - 1] > max(whole[3:5])).all()
    assert np.isnan(run(replace(SGD, probes=0, step=1e6, steps=40))["loss"][-1])


def test_signal_and_spread_have_no_bias() -> None:
    generator, mean = seeded(5), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    draws = np.array(
        [
            signal_and_spread(
                mean + 3 / 16**0.5 * torch.randn(6, 3, generator=generator, dtype=torch.float64), 16
            )
            for _ in range(4000)
        ]
    )
    off = (draws.mean(0) - [float(mean @ mean), 27.0]) / (draws.std(0) / 4000**0.5)
    assert np.all(abs(off) < 3.5)
    assert run(replace(ADAM, steps=8))["spread"][0] > 0
