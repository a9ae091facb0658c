"""How fast ensembles run, beside one run after another with ``torch.optim.SGD`` and beside this machine's products.

Run it with ``make bench-ensemble``, or ``python benchmarks/ensemble.py --help``. Nothing here is a test: it prints
times, and how far apart both ways' points lie. In each round the two ways and the machine's own rate are timed in turn,
each for about a second; numbers are medians of the rounds. The machine's rate is that of square products of 1024, in
the runs' dtype and on their threads; of the runs' own work only the products are counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flatter_lib.ensemble import noise_stream, run
from flatter_lib.valleys import MatrixSensing, ScalarValley, simulate


class Case(NamedTuple):
    """A problem to be timed.

    Attributes:
        name: of the report.
        problem: as the ensemble sees it.
        start: where runs start.
        plain: outputs as the obvious loop computes them.
        parameters: those of the loop, in the order of the flat vector.
        label_noise: its standard deviation.
        lr: the smallest step size.
        flops: floating-point operations of the products of a step of a run.
    """

    name: str
    problem: MatrixSensing
    start: Tensor
    plain: Callable[[], Tensor]
    parameters: list[Tensor]
    label_noise: float
    lr: float
    flops: float


def sensing(dtype: torch.dtype, size: int = 20, rank: int = 5, measurements: int = 60) -> Case:
    """Matrix sensing."""
    problem = MatrixSensing(size, size, rank, measurements)
    start = problem.start_on_manifold(np.random.default_rng(0))
    A = problem.sensing.flatten(1).to(dtype)
    U, V = (factor.to(dtype).clone().requires_grad_() for factor in problem.factors(start))
    return Case(
        name=f"matrix sensing {size}x{size}, rank {rank}, {measurements} measurements",
        problem=problem,
        start=start,
        plain=lambda: (A @ (U @ V.T).reshape(-1)).unsqueeze(1),
        parameters=[U, V],
        label_noise=0.1,
        lr=1e-4,
        flops=2.0 * size * size * (2 * measurements + 3 * rank),
    )


def one_run(case: Case, steps: int, dtype: torch.dtype, momentum: float = 0.9) -> Tensor:
    """The obvious loop, with the ensemble's numbers of seed 0; returns where it ends, flat."""
    with torch.no_grad():
        sizes = [p.numel() for p in case.parameters]
        for p, part in zip(case.parameters, torch.split(case.start, sizes), strict=True):
            p.copy_(part.view(p.shape))
    optimizer = torch.optim.SGD(case.parameters, lr=case.lr, momentum=momentum)
    clean = case.problem.targets.to(dtype)
    noise = noise_stream(0)
    for _ in range(steps):
        numbers = torch.from_numpy(noise.standard_normal(clean.shape)).to(dtype)
        optimizer.zero_grad()
        r = case.plain() - (clean + case.label_noise * numbers)
        loss = (r * r).sum() / (2 * len(clean))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in case.parameters])


def ensemble(case: Case, settings: int, seeds: int, steps: int, dtype: torch.dtype) -> Tensor:
    """The same with many settings and seeds; returns where the first run ends."""
    result = run(
        case.problem,
        lr=case.lr * np.geomspace(1, 10, settings),
        momentum=0.9,
        label_noise=case.label_noise,
        steps=steps,
        seeds=seeds,
        observe=(),
        start=case.start.numpy(),
        dtype=dtype,
    )
    return torch.from_numpy(result.final[0, 0])


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def product_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """The machine's rate of matrix products, in operations a second."""
    A = torch.full((size, size), 1 / size, dtype=dtype)
    out = A @ A
    once = seconds(lambda: torch.mm(A, A, out=out))
    count = max(3, round(1 / once))
    taken = seconds(lambda: [torch.mm(A, A, out=out) for _ in range(count)])
    return 2.0 * size**3 * count / taken


def step_rate(work: Callable[[int], object], first: int) -> float:
    """Steps a second of something that makes a given number of them, timed for about a second."""
    once = seconds(lambda: work(first)) / first
    count = max(first, round(1 / once))
    return count / seconds(lambda: work(count))


def compare(case: Case, dtype: torch.dtype, settings: int, seeds: int, rounds: int) -> None:
    """Time both ways in turn, and the machine between them."""
    few = 50
    ends = ensemble(case, settings, seeds, few, dtype), one_run(case, few, dtype)
    table = []
    for _ in range(rounds):
        machine = product_rate(dtype)
        ours = step_rate(lambda steps: ensemble(case, settings, seeds, steps, dtype), 10)
        # A single run is too small for two threads: they would slow it down.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        plain = step_rate(lambda steps: one_run(case, steps, dtype), 100)
        torch.set_num_threads(threads)
        table.append((ours * settings * seeds, plain, machine))
    rate, loop, machine = np.median(table, axis=0)
    times, share = np.median([(a / b, a * case.flops / c) for a, b, c in table], axis=0)
    print(f"{case.name}; {str(dtype)[6:]}, {settings} settings x {seeds} seeds")
    print(f"  ensemble         {rate:11,.0f} step-trajectories/s")
    print(
        f"  torch.optim.SGD  {loop:11,.0f} step-trajectories/s, one run, one thread: {times:.0f} times as many"
    )
    print(
        f"  products         {rate * case.flops / 1e9:11.1f} Gflop/s, {share:.0%} of this machine's {machine / 1e9:.1f}"
    )
    print(
        f"  after {few} steps the points of both are {float((ends[0] - ends[1]).abs().max()):.0e} apart\n"
    )


def growth(dtype: torch.dtype) -> None:
    """Time and memory with settings, seeds and dimension."""
    print("growth: matrix sensing, time of a step of a run, and peak memory of the process so far")
    table = [(20, settings, 16) for settings in (1, 4, 16, 64)]
    table += [(20, 16, seeds) for seeds in (1, 4, 64, 256)]
    table += [(size, 16, 16) for size in (10, 40, 80)]
    for size, settings, seeds in table:
        case = sensing(dtype, size, 5, 3 * size)
        rate = step_rate(partial(_steps, case, settings, seeds, dtype), 10)
        each = 1 / (rate * settings * seeds)
        print(
            f"  {size:3}x{size:<3} {settings:4} settings x {seeds:4} seeds {each * 1e6:9.2f} us"
            f" {each * 1e9 / case.flops:8.3f} ns/flop {peak_memory():8.0f} MB",
            flush=True,
        )
    print()


def _steps(case: Case, settings: int, seeds: int, dtype: torch.dtype, steps: int) -> None:
    ensemble(case, settings, seeds, steps, dtype)


def peak_memory() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def valley(steps: int) -> None:
    """The scalar valley, by its compiled loop."""
    problem, lr, momentum, noise = ScalarValley(), 0.02, 0.9, 0.2

    def compiled(steps: int) -> None:
        simulate(
            problem,
            lr=lr,
            momentum=momentum,
            label_noise=noise,
            steps=steps,
            seeds=1000,
            levels=[0.1],
        )

    compiled(1)
    taken = seconds(lambda: compiled(steps))
    print(
        f"scalar valley, {steps:,} steps of 1000 runs, first passage and settling of each: {taken:.1f} s"
    )


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--rounds", type=int, default=5, help="how often comparisons are timed")
    parser.add_argument("--valley-steps", type=int, default=1_000_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"threads: {arguments.threads}; memory before the first run: {peak_memory():.0f} MB\n")
    for dtype in (torch.float64, torch.float32):
        compare(sensing(dtype), dtype, 16, 64, arguments.rounds)
    growth(torch.float64)
    valley(arguments.valley_steps)
    print(f"peak memory: {peak_memory():.0f} MB")


if __name__ == "__main__":
    main()
