"""The encoder against one written by hand in NumPy, its weights by their public names, and the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from flatter_lib.text import Classifier, Encoder, padded, pretrained
from flatter_lib.text.models import encoder_of
from tests.seeding import seeded

WIDTH, HEADS, INNER, LAYERS, WORDS, PLACES = 8, 2, 12, 3, 11, 9
KINDS = ("BERT", "RoBERTa")


def public(kind: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A configuration and random weights, under the names of the public files."""
    roberta = kind == "RoBERTa"
    config = {
        "model_type": kind.lower(),
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "layer_norm_eps": 1e-5,
    }
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (PLACES + 2 * roberta, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
    }
    for i in range(LAYERS):
        for name, (out, into) in {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
        }.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = (out, into)
            shapes[f"encoder.layer.{i}.{name}.bias"] = (out,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{i}.{name}.weight"] = (WIDTH,)
            shapes[f"encoder.layer.{i}.{name}.bias"] = (WIDTH,)
    generator = seeded(5)
    prefix = "roberta." if roberta else ""
    draw = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return config, {prefix + name: w for name, w in draw.items()}


def by_hand(weights: dict[str, torch.Tensor], kind: str, tokens: list[int]) -> np.ndarray:
    """One sequence, without padding."""
    w = {n.removeprefix("roberta."): v.numpy() for n, v in weights.items()}

    def normal(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(1, keepdims=True)
        scale = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def affine(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    first = 2 if kind == "RoBERTa" else 0
    places = w["embeddings.position_embeddings.weight"][first : first + len(tokens)]
    words = w["embeddings.word_embeddings.weight"][tokens]
    x = words + places + w["embeddings.token_type_embeddings.weight"][0]
    x = normal(x, "embeddings.LayerNorm")
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        q, k, v = (affine(x, f"{at}.attention.self.{n}") for n in ("query", "key", "value"))
        heads = []
        for part in np.split(np.arange(WIDTH), HEADS):
            scores = q[:, part] @ k[:, part].T / np.sqrt(WIDTH / HEADS)
            heads.append(softmax(scores, axis=1) @ v[:, part])
        attended = affine(np.concatenate(heads, axis=1), f"{at}.attention.output.dense")
        x = normal(x + attended, f"{at}.attention.output.LayerNorm")
        inner = affine(x, f"{at}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = normal(x + affine(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_is_the_one_written_by_hand_whatever_the_company(kind: str) -> None:
    config, weights = public(kind)
    encoder = encoder_of(config, weights)
    sequences = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
    tokens, padding = padded([torch.tensor(s) for s in sequences])
    found = encoder(tokens, padding)
    lower = encoder(tokens, padding, through=1)
    for layer in encoder.layers[1:]:
        lower = layer(lower, src_key_padding_mask=padding)
    for i, sequence in enumerate(sequences):
        own = by_hand(weights, kind, sequence)
        assert found[i, : len(sequence)].detach().numpy() == pytest.approx(own, abs=1e-10)
        assert lower[i, : len(sequence)].detach().numpy() == pytest.approx(own, abs=1e-10)


def test_the_classifier_is_the_mean_of_the_tokens_and_leaves_the_encoder_alone() -> None:
    sizes: dict[str, int] = {"width": WIDTH, "heads": HEADS, "inner": INNER, "layers": LAYERS}
    encoder = Encoder(WORDS, PLACES, **sizes, generator=seeded()).double()
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    top = Classifier(encoder.layers[2:], WIDTH)
    rows = [torch.tensor([3, 1, 4, 1]), torch.tensor([9, 2])]
    vectors, padding = padded([encoder(r[None], torch.zeros(1, len(r)) > 0, 2)[0] for r in rows])
    optimizer = torch.optim.SGD(top.parameters(), 0.5)
    for _ in range(2):  # the head first: at zero it hands nothing down
        optimizer.zero_grad()
        (top(vectors.detach(), padding)[:, 0] * torch.tensor([1.0, -2.0])).sum().backward()
        optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in encoder.named_parameters())
    assert not torch.equal(top.layers[0].linear1.weight, encoder.layers[2].linear1.weight)
    for row, vector, logits in zip(rows, vectors, top(vectors, padding), strict=True):
        alone = top.layers[0](vector[None, : len(row)])[0].mean(0)
        assert torch.allclose(top.head(alone), logits)


def test_random_weights_come_from_the_generator_alone() -> None:
    sizes: dict[str, int] = {"width": 256, "heads": HEADS, "inner": INNER, "layers": 1}
    one, two = (Encoder(64, PLACES, **sizes, generator=seeded(3)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert float(one.words.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert one.norm.weight.tolist() == [1.0] * 256
    assert not one.layers[0].linear1.bias.any()


def test_the_pretrained_model_reads_and_its_absence_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flatter_lib.text.models.PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match=r"minilm needs .*flatter-lib\[language\]"):
        pretrained("minilm")
    monkeypatch.undo()
    try:
        model = pretrained("minilm")
    except ModuleNotFoundError:
        pytest.skip("the language extra is not installed")
    texts = ["a wonderful film", "a great movie", "the train is late"]
    rows = model.tokens(texts, 16)
    assert rows[0].tolist() == [101, 1037, 6919, 2143, 102]
    tokens, padding = padded(rows)
    vectors = model.encoder(tokens, padding).detach()
    mean = torch.stack([v[~nothing].mean(0) for v, nothing in zip(vectors, padding, strict=True)])
    unit = mean / mean.norm(dim=1, keepdim=True)
    assert unit[0] @ unit[1] > 0.6 > 0.2 > unit[0] @ unit[2]
