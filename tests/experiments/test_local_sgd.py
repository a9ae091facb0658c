"""Local SGD of networks against a loop written by hand, and what is expected of it against the slow equation."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from flatter_lib.experiments.local_sgd import PROFILES, _expected, run
from flatter_lib.experiments.mlp_fashion_mnist import at_rest, starts_of
from flatter_lib.valleys import slow
from flatter_lib.valleys.local import label_noise
from flatter_lib.vision.networks import MLP, flatten, unflatten

SGD, LOCAL = PROFILES["smoke"]


@pytest.mark.parametrize("c", [SGD, LOCAL], ids=["sgd", "local"])
def test_a_run_is_what_a_hand_written_loop_makes_of_it(c) -> None:
    starts = starts_of(c.network)
    x, y, j = starts.inputs.x, starts.inputs.targets, 1
    K, size = (4, c.batch) if c.period > 1 else (1, 4 * c.batch)
    generators = [torch.Generator().manual_seed(c.seed + K * j + k) for k in range(K)]
    average, averages = starts.floor[j], {}
    for made in range(c.period, c.steps + 1, c.period):
        ends = []
        for generator in generators:
            w = average.clone()
            for _ in range(c.period):
                w.requires_grad_()
                rows = torch.randint(len(x), (size,), generator=generator)
                target = y[rows] + c.noise * torch.randn(
                    size, 10, generator=generator, dtype=w.dtype
                )
                f = functional_call(starts.network, unflatten(starts.network, w), (x[rows],))
                ((f - target).square().sum() / (2 * size)).backward()
                w = w.detach() - c.lr * w.grad
            ends.append(w)
        average = averages[made] = sum(ends) / K
    rest = at_rest(c.network, torch.stack([averages[12], average]))
    found = run(c)
    assert found["steps"] == [0, 4, 12, 24, c.steps]
    for name in ("trace", "accuracy"):
        assert np.array(found[name])[j, [2, 4]] == pytest.approx(rest[name], rel=1e-3)
    assert found["trace"][j][0] == pytest.approx(
        starts.judged(starts.floor, c.images, "trace")[j], rel=1e-2
    )
    first = starts.network, starts.floor[0], x
    assert found["expected"] == pytest.approx(_expected(*first, c.lr, 4, c.period), rel=1e-9)


def test_what_is_expected_is_the_drift_of_the_slow_equation() -> None:
    network = MLP(3, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    generator, w = torch.Generator().manual_seed(1), flatten(network)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)

    def outputs(at: torch.Tensor) -> torch.Tensor:
        return functional_call(network, unflatten(network, at), (x,)).flatten()

    def trace(at: torch.Tensor) -> torch.Tensor:
        return torch.func.jacrev(outputs)(at).square().sum()

    slope, found = torch.func.grad(trace)(w), []
    for workers, period in ((4, 30), (4, 1)):
        # The slow equation counts outputs, the network images: its H is half of ours, and its strength 2^(1/2) less.
        noise = label_noise(1.0, lr=2 * 0.05, workers=workers, period=period)
        found.append(slope @ slow.drift(outputs, w[None], noise)[0])
    fast, slowly = found
    assert _expected(network, w, x, 0.05, 4, 30) == pytest.approx(float(fast / slowly), rel=1e-9)
    assert 1.05 < float(fast / slowly) < 4


def test_workers_share_no_noise() -> None:
    for cells in PROFILES.values():
        seeds = sorted({c.seed for c in cells})
        most = max(c.starts * c.workers for c in cells)
        assert len(seeds) == 1 or most <= min(np.diff(seeds))
