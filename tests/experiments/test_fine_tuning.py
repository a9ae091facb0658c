"""Fine-tuning against a loop written by hand, on made-up sentences; and what runs have in common."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.experiments.fine_tuning import (
    PROFILES,
    TOY,
    _prepared,
    chosen,
    run,
)
from flatter_lib.text import Classifier, padded
from tests.refusals import refuses

SMALL = replace(TOY, steps=10, batch=3)


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adamw", 0.0)])
def test_a_run_is_what_a_hand_written_loop_makes_of_it(optimizer, momentum: float) -> None:
    c = replace(SMALL, optimizer=optimizer, momentum=momentum)
    parts, layers, _ = _prepared("toy", 1, c.length, "cpu", "float64")
    train, net = parts["train"], Classifier(layers, 16)
    rng = np.random.default_rng(c.seed)
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(train.labels == k))[: c.examples] for k in (0, 1)]
    )
    draws = np.random.default_rng([c.seed, 1]).integers(2 * c.examples, size=(c.steps, c.batch))
    state = {name: [torch.zeros_like(p) for p in net.parameters()] for name in ("m", "v")}
    losses = []
    for k, draw in enumerate(draws, 1):
        loss = torch.zeros((), dtype=torch.float64)
        for i in rows[draw]:  # sentence by sentence
            logits = net(*padded([train.x[i]]))[0]
            loss = loss + (logits.logsumexp(0) - logits[train.labels[i]]) / c.batch
        losses.append(loss.item())
        with torch.no_grad():
            for p, g, m, v in zip(
                net.parameters(), torch.autograd.grad(loss, list(net.parameters())), state["m"],
                state["v"], strict=True,
            ):  # fmt: skip
                if optimizer == "sgd":
                    m.mul_(momentum).add_(g)
                    p.sub_(c.step * (1 - momentum) * m)
                else:
                    m.mul_(0.9).add_(0.1 * g)
                    v.mul_(0.999).add_(0.001 * g**2)
                    p.sub_(c.step * m / (1 - 0.9**k) / ((v / (1 - 0.999**k)).sqrt() + 1e-8))
    found = run(c)
    assert found["loss"] == pytest.approx([np.mean(losses[:5]), np.mean(losses[5:])], rel=1e-3)
    test = parts["test"]
    order = np.random.default_rng(0).permutation(64)
    guessed = [int(net(*padded([test.x[i]])).argmax()) for i in order]
    assert found["test"] == pytest.approx(np.mean(guessed == test.labels[order]), rel=1e-4)
    assert f"{int(found['predicted'], 16):064b}" == "".join(map(str, guessed))


def test_a_run_learns() -> None:
    found = run(replace(TOY, steps=400, examples=64))
    assert np.mean(found["loss"][-8:]) < 0.5 < 0.68 < found["loss"][0] < 0.7
    assert found["test"] > 0.65


def test_examples_are_nested_and_as_many_of_each_class() -> None:
    labels = np.random.default_rng(1).integers(2, size=300)
    few, more = chosen(labels, 16, 42), chosen(labels, 64, 42)
    assert set(few) < set(more)
    assert len(set(more)) == 128
    assert labels[more].sum() == 64
    assert set(few) != set(chosen(labels, 16, 43))
    every = chosen(labels, max(np.bincount(labels)), 42)
    assert sorted(every) == list(range(300))
    refuses(chosen, {"labels": labels, "examples": 3, "seed": 0}, examples=200)


def test_sgd_runs_come_in_pairs_of_equal_effective_step() -> None:
    cells = set(PROFILES["laptop"])
    plain = [c for c in cells if c.optimizer == "sgd" and c.momentum == 0 and c != TOY]
    assert plain
    assert all(replace(c, momentum=0.9) in cells for c in plain)


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^trained: must be "):
        run(replace(SMALL, trained=3))
