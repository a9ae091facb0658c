"""How fast networks train: the loop beside one written by hand, and ensembles beside one run after another.

Run it with ``make bench-training``, or ``python benchmarks/training.py --help``. Nothing here is a test: it prints
times. In each round the ways that are compared are timed in turn, each for about a second, in an order that turns with
the round; what is printed of two ways is the median over the rounds of the ratio within a round, with its quartiles.
Both ways make the same draws, the same forward and backward passes and the same steps of ``torch.optim.SGD``. The loop
written by hand does no more: it keeps no mean of the weights, looks for no divergence, and cannot be gone on with.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from flatter_lib.vision.ensemble import Ensemble
from flatter_lib.vision.networks import MLP, flatten
from flatter_lib.vision.objective import half_squared_error
from flatter_lib.vision.residual import ResNet18
from flatter_lib.vision.train import Training

LR, MOMENTUM, NOISE = 0.005, 0.9, 0.5
IMAGES = 1024
#: Runs of an ensemble, and of a large one.
SETTINGS, MANY = 24, 72
WIDTHS = (16, 32, 64, 128, 256)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def mlp(width: int, dtype: torch.dtype) -> MLP:
    """The 6-layer network of Fashion-MNIST."""
    return MLP(28 * 28, width, 10, 6, generator=seeded(1), dtype=dtype)


def images(*shape: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Made up: their values matter to no time."""
    x = torch.randn(IMAGES, *shape, generator=seeded(2), dtype=dtype)
    return x, torch.eye(10, dtype=dtype)[torch.randint(10, (IMAGES,), generator=seeded(3))]


def noisy(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Targets with additive label noise."""
    return targets + NOISE * torch.randn(targets.shape, generator=generator, dtype=targets.dtype)


def by_hand(network: nn.Module, x: Tensor, y: Tensor, batch: int) -> Callable[[int], None]:
    """The loop that everybody writes, as a function of the number of steps."""
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
    generator = seeded(4)
    last = next((p for p in network.parameters() if p.ndim == 4), None)

    def steps(count: int) -> None:
        for _ in range(count):
            rows = torch.randint(len(x), (batch,), generator=generator)
            inputs, targets = x[rows], noisy(y[rows], generator)
            if last is not None:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            half_squared_error(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return steps


def ours(network: nn.Module, x: Tensor, y: Tensor, batch: int) -> Callable[[int], None]:
    """The book's loop, doing the same."""
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
    training = Training(network, x, y, optimizer, batch=batch, generator=seeded(4), noise=noisy)
    return training.run


def ensemble(
    network: MLP, x: Tensor, y: Tensor, batch: int, count: int = SETTINGS, *, shared: bool
) -> Callable[[int], None]:
    """Many settings of it as one program, with draws of their own or with the same."""
    runs = Ensemble(
        network,
        flatten(network).expand(count, -1),
        x,
        y,
        lr=np.geomspace(LR / 10, LR, count).tolist(),
        momentum=MOMENTUM,
        label_noise=NOISE,
        batch=batch,
        generators=[seeded(seed) for seed in range(1 if shared else count)],
        shared=count if shared else 1,
    )
    return runs.run


def products(dtype: torch.dtype, size: int = 1024) -> Callable[[int], None]:
    """Square matrix products."""
    A = torch.full((size, size), 1 / size, dtype=dtype)
    out = torch.empty_like(A)

    def times(count: int) -> None:
        for _ in range(count):
            torch.mm(A, A, out=out)

    return times


def operations(network: MLP, batch: int) -> float:
    """In the products of a step of a run: forward, back but to the images, and for the weights."""
    matrices = [p.numel() for p in network.parameters() if p.ndim == 2]
    return 2.0 * batch * (3 * sum(matrices) - matrices[0])


def rate(work: Callable[[int], None], duration: float) -> float:
    """Steps a second."""
    begin = time.perf_counter()
    work(2)
    once = (time.perf_counter() - begin) / 2
    count = max(2, round(duration / once))
    begin = time.perf_counter()
    work(count)
    return count / (time.perf_counter() - begin)


def compare(
    first: Callable[[int], None], second: Callable[[int], None], rounds: int, duration: float = 1.0
) -> tuple[float, str]:
    """Steps a second of the first, and how many times those of the second that is."""
    table = []
    for i in range(rounds):
        both = [first, second]
        rates = [rate(work, duration) for work in (both if i % 2 else both[::-1])]
        table.append(rates if i % 2 else rates[::-1])
    pace, reference = np.array(table).T
    low, middle, high = np.quantile(pace / reference, [0.25, 0.5, 0.75])
    return float(np.median(pace)), f"{middle:5.2f} ({low:.2f} to {high:.2f})"


def loops(rounds: int) -> None:
    """Print how the loop does beside one written by hand."""
    print("one network, one thread: steps/s, and times as many as by hand (quartiles)")
    residual = partial(ResNet18, 1 / 8, generator=seeded(1))
    cases: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], int]] = [
        ("MLP, width 64, batch 256", lambda: mlp(64, torch.float32), (784,), 256),
        ("MLP, width 512, batch 256", lambda: mlp(512, torch.float32), (784,), 256),
    ]
    for norm in ("none", "batch"):
        text = f"ResNet-18, width 1/8, {norm} normalisation, 16x16 pixels, batch 64"
        make = partial(residual, normalization=norm)
        cases.append((text, partial(_last, make), (3, 16, 16), 64))
    for text, network, shape, batch in cases:
        x, y = images(*shape, dtype=torch.float32)
        pace, times = compare(ours(network(), x, y, batch), by_hand(network(), x, y, batch), rounds)
        print(f"  {text:62} {pace:8.1f} {times}", flush=True)


def _last(make: Callable[[], nn.Module]) -> nn.Module:
    return make().to(memory_format=torch.channels_last)


def ensembles(rounds: int, threads: int) -> None:
    """Print how an ensemble does beside its runs one after another and beside this machine's products, over widths.

    A run by hand is too small for two threads, which would slow it down: it has one.
    """
    print(
        f"\n{SETTINGS} settings of the MLP as one ensemble, beside one run after another by hand on\n"
        "one thread: steps of a run/s, times as many (quartiles), share of this machine's rate of\n"
        "square products of 1,024; each with draws of its own, and all with the same"
    )
    cases = [(torch.float32, batch, width) for batch in (256, 32) for width in WIDTHS]
    for dtype, batch, width in [*cases, (torch.float64, 256, 64)]:
        x, y = images(784, dtype=dtype)
        network = mlp(width, dtype)
        alone = on(1, by_hand(network, x, y, batch), SETTINGS)
        for shared in (False, True):
            print(f"  {str(dtype)[6:]}, batch {batch:3}, width {width:3}, ", end="")
            print("the same draws" if shared else "its own draws ", end="")
            for count in sorted({1, threads}):
                # A step of the ensemble is one of every run.
                runs = on(count, ensemble(network, x, y, batch, shared=shared))
                pace, times = compare(runs, alone, rounds)
                part = SETTINGS * pace * operations(network, batch) / peak(dtype, count)
                print(
                    f"   {count} thread{'s' * (count > 1)} {SETTINGS * pace:7.0f} {times} {part:.2f}",
                    end="",
                )
            print(flush=True)
    network = mlp(128, torch.float32)
    runs = ensemble(network, *images(784, dtype=torch.float32), 256, MANY, shared=True)
    for count in sorted({1, threads}):
        pace = MANY * float(np.median([rate(on(count, runs), 1.0) for _ in range(rounds)]))
        part = pace * operations(network, 256) / peak(torch.float32, count)
        print(f"  {MANY} runs of width 128, {count} threads: {1e3 / pace:.2f} ms, share {part:.2f}")


def peak(dtype: torch.dtype, threads: int) -> float:
    """Operations a second of square products."""
    work = on(threads, products(dtype))
    return 2.0 * 1024**3 * float(np.median([rate(work, 0.5) for _ in range(3)]))


def on(threads: int, work: Callable[[int], None], times: int = 1) -> Callable[[int], None]:
    """The same so many times, on that many threads."""

    def steps(count: int) -> None:
        torch.set_num_threads(threads)
        work(times * count)

    return steps


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="of ensembles, beside one"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often each comparison is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loops(arguments.rounds)
    ensembles(arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
