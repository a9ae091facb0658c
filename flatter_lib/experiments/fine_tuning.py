r"""Fine-tuning a pretrained language model on few sentences: does momentum help, tuned or at equal effective step?

The top layers of a small pretrained Transformer and a new affine map to two classes learn, from K examples of each, to
tell sentences that like a film from those that do not. The layers below are frozen, so that what they make of each
sentence is computed once. The steps are those of plain SGD, of SGD with momentum at the same *effective* steps
:math:`\eta/(1-\beta)`, and of AdamW; runs of one split of the data see the same minibatches.

*The Marginal Value of Momentum* (arXiv:2307.15196) fine-tunes RoBERTa-large. Public code that it builds on does so by a
prompt, with K of 16, 64 and 512, these five splits, batches of 8, 1,000 steps, at most 1,000 test sentences. Those
numbers are kept where they fit. Ours are all sentences as a fourth K, the model, its classifier, the step sizes and the
length of the runs. ``paper`` trains all layers of RoBERTa-large, with a classifier in place of the prompt; it has not
been run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.experiments.design import Held, rounded, short

if TYPE_CHECKING:
    import torch

#: All sentences of the larger class, which are more than the smaller one has: the whole of the data.
FULL = 3610
EXAMPLES = (16, 64, 512, FULL)
SPLITS = (13, 21, 42, 87, 100)
MOMENTUM = 0.9
#: Effective steps of SGD with and without momentum, and the steps of AdamW.
STEPS = (0.006, 0.02, 0.06, 0.2, 0.6)
ADAMW_STEPS = (2.5e-5, 1e-4, 4e-4, 1.6e-3)
#: Steps that a mean of the minibatches' losses is over.
BIN = 5


@dataclass(frozen=True)
class Configuration:
    """One run.

    Attributes:
        optimizer: ``sgd`` or ``adamw``.
        step: effective step of SGD, its step as typed over 1 - momentum; of AdamW its step.
        momentum: of SGD, in [0, 1).
        examples: K, training sentences of each class; of a class that has fewer, all.
        seed: of the choice of these and of the minibatches.
        steps: length of the run, a multiple of 5.
        batch: sentences of a step, drawn with replacement.
        model: ``minilm``, ``roberta-large``, or ``toy``, a random encoder with made-up sentences.
        trained: layers that are trained, the top ones.
        length: tokens that are read of a sentence.
        dev: sentences by which a step is chosen.
        test: sentences by which it is judged.
        device: where it runs.
        dtype: precision of weights and vectors.
    """

    optimizer: Literal["sgd", "adamw"]
    step: float
    momentum: float
    examples: int
    seed: int
    steps: int = 200
    batch: int = 8
    model: Literal["minilm", "roberta-large", "toy"] = "minilm"
    trained: int = 1
    length: int = 48
    dev: int = 256
    test: int = 1000
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, optimizer=("sgd", "adamw"), model=("minilm", "roberta-large", "toy"))
        checks.fields(self, step="(0, inf)", momentum="[0, 1)", examples=1, seed=0, steps=BIN)
        checks.fields(self, batch=1, trained=1, length=3, dev=1, test=1)


def _profile(examples: Sequence[int], splits: Sequence[int], **others: Any) -> list[Configuration]:
    """Every optimizer at each of its steps."""
    ways: list[tuple[Literal["sgd", "adamw"], float, float]] = [
        *(("sgd", step, momentum) for momentum, step in product((0.0, MOMENTUM), STEPS)),
        *(("adamw", step, 0.0) for step in ADAMW_STEPS),
    ]
    return [
        Configuration(*way, k, seed, **others) for k, seed, way in product(examples, splits, ways)
    ]


#: A run on made-up sentences, which needs neither the model nor the data: what a reader makes again.
TOY = Configuration(
    "sgd", 0.5, 0.9, 16, 13, steps=40, model="toy", length=8, dev=64, test=64, dtype="float64"
)

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        replace(TOY, steps=10),
        replace(TOY, steps=10, momentum=0.0),
        replace(TOY, steps=10, momentum=0.0, optimizer="adamw", step=0.01),
    ],
    "laptop": [*_profile(EXAMPLES, SPLITS), TOY],
    "paper": _profile(
        EXAMPLES, SPLITS, model="roberta-large", trained=24, steps=1000, length=128, device="cuda"
    ),
}

#: Rounding changes a little of a run in single precision, and at large steps all of it.
HELD: Held = {
    "predicted": None,
    "loss": {"rtol": 0.05, "atol": 0.02, "share": 0.8, "common": "seed"},
    "dev": {"atol": 0.03, "share": 0.8, "common": "seed"},
    "test": {"atol": 0.03, "share": 0.8, "common": "seed"},
}


class Part(NamedTuple):
    """Sentences as the trained layers are given them.

    Attributes:
        x: of each sentence its tokens' vectors, (length, width).
        labels: int64 class of each, (n,).
    """

    x: list[torch.Tensor]
    labels: NDArray[np.int64]


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the run.

    Returns:
        ``data`` and ``model``: name and digest. ``loss``: cross-entropy of the minibatches, the mean of each 5 steps.
        ``dev`` and ``test``: share of the sentences that are classified rightly at the end. ``predicted``: the classes
        of the test sentences as a hexadecimal number.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from flatter_lib.text.encoder import Classifier, padded

    c = configuration
    parts, layers, about = _prepared(c.model, c.trained, c.length, c.device, c.dtype)
    train = parts["train"]
    classifier = Classifier(layers, train.x[0].shape[1])
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(classifier.parameters(), c.step * (1 - c.momentum), c.momentum)
        if c.optimizer == "sgd"
        else torch.optim.AdamW(classifier.parameters(), c.step, weight_decay=0.0)
    )
    rows = chosen(train.labels, c.examples, c.seed)
    draws = np.random.default_rng([c.seed, 1]).integers(len(rows), size=(c.steps, c.batch))
    losses = []
    for picked in rows[draws]:
        labels = torch.tensor(train.labels[picked], device=c.device)
        loss = cross_entropy(classifier(*padded([train.x[i] for i in picked])), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    found: dict[str, Any] = {**about}
    found["loss"] = short(torch.stack(losses).reshape(-1, BIN).mean(1).cpu())
    for name in ("dev", "test"):
        part = parts[name]
        some = np.random.default_rng(0).permutation(len(part.labels))[: getattr(c, name)]
        guessed = _predicted(classifier, [part.x[i] for i in some])
        found[name] = rounded(float((guessed == part.labels[some]).mean()), 5)
    found["predicted"] = f"{int(''.join(map(str, guessed)), 2):x}"
    return found


def chosen(labels: NDArray[np.int64], examples: int, seed: int) -> NDArray[np.int64]:
    """So many sentences of each class, or all that it has, without replacement; fewer are the first of more.

    Raises:
        ValueError: if no class has as many.

    Examples:
        >>> chosen(np.array([0, 1, 0, 1, 1]), 2, seed=13)
        array([2, 0, 1, 4])
    """
    checks.count("examples", examples, 1, int(np.bincount(labels).max()))
    generator = np.random.default_rng(seed)
    order = [generator.permutation(np.flatnonzero(labels == k)) for k in np.unique(labels)]
    return np.concatenate([some[:examples] for some in order])


def _predicted(classifier: torch.nn.Module, x: list[torch.Tensor]) -> NDArray[np.int64]:
    """The class of each sentence; sentences of like length go together."""
    import torch

    from flatter_lib.text.encoder import padded

    order = np.argsort([len(row) for row in x], kind="stable")
    guessed = np.zeros(len(x), dtype=np.int64)
    with torch.no_grad():
        for some in np.split(order, range(64, len(x), 64)):
            guessed[some] = classifier(*padded([x[i] for i in some])).argmax(-1).cpu().numpy()
    return guessed


@lru_cache(maxsize=1)
def _prepared(
    model: str, trained: int, length: int, device: str, dtype: str
) -> tuple[dict[str, Part], Sequence[torch.nn.Module], dict[str, dict[str, str]]]:
    """The three parts of the data as the frozen layers leave them, the layers above these, and what a record names."""
    import torch

    from flatter_lib.text.encoder import Encoder, padded
    from flatter_lib.text.models import pretrained
    from flatter_lib.text.treebank import DIGESTS, sst2

    if model == "toy":
        tokens, data, digest = _toy_sentences(length), {"name": "toy", "digest": "none"}, "none"
        generator = torch.Generator().manual_seed(0)
        encoder = Encoder(64, length, width=16, heads=2, inner=32, layers=2, generator=generator)
    else:
        encoder, _, digest = found = pretrained("minilm" if model == "minilm" else "roberta-large")
        tokens = {
            name: Part(found.tokens(part.texts, length), part.labels)
            for name, part in sst2().items()
        }
        data = {"name": "sst2", "digest": DIGESTS["train"][:16]}
    checks.count("trained", trained, 1, len(encoder.layers))
    encoder = encoder.to(device=device, dtype=getattr(torch, dtype))
    frozen = len(encoder.layers) - trained
    parts = {}
    for name, (sentences, labels) in tokens.items():
        order = np.argsort([len(row) for row in sentences], kind="stable")
        x: list[torch.Tensor] = [torch.empty(0)] * len(sentences)
        for some in np.split(order, range(64, len(order), 64)):
            together, padding = padded([sentences[i].to(device) for i in some])
            with torch.no_grad():
                vectors = encoder(together, padding, through=frozen)
            for i, row, nothing in zip(some, vectors, padding, strict=True):
                x[i] = row[~nothing]
        parts[name] = Part(x, labels)
    about = {"data": data, "model": {"name": model, "digest": digest}}
    return parts, list(encoder.layers[frozen:]), about


def _toy_sentences(length: int) -> dict[str, Part]:
    """Tokens drawn at random; the class says whether most of them are in the upper half of the vocabulary."""
    import torch

    generator = np.random.default_rng(0)
    parts = {}
    for name, count in (("train", 256), ("dev", 64), ("test", 64)):
        lengths = 2 * generator.integers(1, (length - 1) // 2 + 1, size=count) + 1
        tokens = [torch.tensor(generator.integers(64, size=n)) for n in lengths]
        labels = np.array([int((row >= 32).sum() * 2 > len(row)) for row in tokens])
        parts[name] = Part(tokens, labels)
    return parts


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about; on the laptop 60 more for the first."""
    c = configuration
    if c.model == "toy":
        return 0.5
    tokens = 3 * 30 * c.batch * c.steps + 24 * (c.dev + c.test)
    of_a_layer = 4e-5 * (7.1 if c.model == "roberta-large" else 1.0)
    return 0.2 + of_a_layer * tokens * c.trained
