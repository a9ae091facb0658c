"""The language model: its counts by arithmetic, a layer by hand, what it may see, where its weights come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from flatter_lib.text.transformer import Transformer
from tests.refusals import refuses
from tests.seeding import seeded

F64 = torch.float64
TOKENS = torch.randint(11, (3, 6), generator=seeded(1))


def small(layers: int = 2) -> Transformer:
    network = Transformer(
        11, width=8, heads=2, layers=layers, context=7, generator=seeded(), dtype=F64
    )
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape, generator=seeded(p.numel()), dtype=F64), alpha=0.1)
    return network


def test_parameters_of_the_base_model_are_as_many_as_its_sizes_say() -> None:
    width, symbols = 512, 1000
    network = Transformer(symbols, width=width, heads=8, context=4, generator=seeded())
    attention = 4 * (width**2 + width)
    inner = width * 2048 + 2048 + 2048 * width + width
    expected = symbols * width + 2 * (attention + inner + 4 * width)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_one_layer_is_what_its_equations_say() -> None:
    network = small(layers=1)
    E, into, into_b, out, out_b, up, up_b, down, down_b, *norms = network.parameters()
    for i, tokens in enumerate(TOKENS):
        x = E[tokens] * math.sqrt(8)
        for t in range(6):
            for j in range(4):
                x[t, 2 * j] += math.sin(t / 10 ** (4 * 2 * j / 8))
                x[t, 2 * j + 1] += math.cos(t / 10 ** (4 * 2 * j / 8))
        Q, K, V = (x @ into.T + into_b).view(6, 3, 2, 4).unbind(1)
        seen = torch.zeros(6, 2, 4, dtype=F64)
        for t in range(6):
            for h in range(2):
                scores = torch.stack([Q[t, h] @ K[s, h] for s in range(t + 1)]) / 2
                seen[t, h] = scores.softmax(0) @ V[: t + 1, h]
        x = layer_norm(x + seen.reshape(6, 8) @ out.T + out_b, (8,), norms[0], norms[1])
        inner = (x @ up.T + up_b).relu() @ down.T + down_b
        x = layer_norm(x + inner, (8,), norms[2], norms[3])
        torch.testing.assert_close(network(TOKENS)[i], x @ E.T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_seen_of_what_follows(training: bool) -> None:
    network = small().train(training)
    with torch.no_grad():
        logits = network(TOKENS)
        for t in range(5):
            other = TOKENS.clone()
            other[:, t + 1 :] = (other[:, t + 1 :] + 1) % 11
            torch.testing.assert_close(network(other)[:, : t + 1], logits[:, : t + 1])
            assert (network(other)[:, t + 1] - logits[:, t + 1]).abs().max() > 1e-3
        torch.testing.assert_close(network(TOKENS[:, :4]), logits[:, :4])


def test_first_weights_have_the_variance_of_the_rule_and_are_the_generators() -> None:
    networks = [
        Transformer(40, width=32, heads=4, context=4, generator=seeded(seed)) for seed in (3, 3, 4)
    ]
    for mine, same, other in zip(*(n.named_parameters() for n in networks), strict=True):
        name, p = mine
        assert torch.equal(p, same[1])
        if p.ndim > 1:
            assert not torch.equal(p, other[1])
            rel = 5 / p.numel() ** 0.5
            assert float(p.detach().var()) * p.shape[1] == pytest.approx(1, rel=rel), name
        else:
            scales = name in [f"layers.{i}.norm{k}.weight" for i in (0, 1) for k in (1, 2)]
            assert torch.equal(p, torch.full_like(p, float(scales)))


def test_what_means_nothing_is_refused() -> None:
    good = {"symbols": 5, "width": 8, "heads": 2, "context": 4, "generator": seeded()}
    refuses(Transformer, good, symbols=0, width=0, heads=3, layers=0, context=0, generator=None)
    with pytest.raises(ValueError, match=r"^tokens: must have at most 7 places, got 8"):
        small()(torch.zeros(1, 8, dtype=torch.int64))
