r"""Noisy heavy ball, many runs at once.

Each run makes the steps of ``torch.optim.SGD(lr, momentum)``, equation (1) of Cowsik, Can & Glorioso (arXiv 2210.16400)
up to the sign of the momentum,

.. math:: v_{k+1} = \beta v_k + g_k, \qquad w_{k+1} = w_k - \eta v_{k+1}, \qquad v_0 = 0,

with the noisy gradient :math:`g_k` of its problem's loss at :math:`w_k`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from flatter_lib import checks
from flatter_lib.checks import Floats, Integers
from flatter_lib.ensemble.chunk import Chunk
from flatter_lib.ensemble.draws import NOISES
from flatter_lib.ensemble.step import Recipe, Settings
from flatter_lib.valleys.problem import TILE, Observable, Problem

#: Records a factor of ten in the step number, where records are spaced logarithmically.
RECORDS_A_DECADE = 20

#: Bytes that the runs of a chunk keep: where a core's cache holds them on a CPU, and the most on either device.
_CACHE = 2**21
_MOST = {"cpu": 2**30, "cuda": 2**33}
#: Bytes of runs that are worth a thread.
_WORTH = 2**18
#: If a cache holds fewer runs than this, it is of no use to a chunk.
_FEW_FIT = 8


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured; S settings, N seeds, R records, P parameters.

    Attributes:
        steps: (R,) the recorded steps, int64, from 0 to the last.
        values: by name, (S, N, R) float64, the observables there; NaN from the step at which a run diverged.
        diverged: (S, N) int64, the step k at which a run diverged: the first at whose parameters the loss, with the
            noise of the step to come, was not finite or above the limit; -1 for runs that did not.
        final: (S, N, P) the parameters after the last step, in the runs' dtype; NaN for runs that diverged.
    """

    steps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    diverged: NDArray[np.int64]
    final: NDArray[Any]


def run(
    problem: Problem,
    *,
    lr: ArrayLike,
    momentum: ArrayLike = 0.0,
    label_noise: ArrayLike = 0.0,
    batch_size: int | None = None,
    noise: str = "label",
    steps: int,
    seeds: int | Sequence[int],
    observe: Iterable[str] | Mapping[str, str | Observable] = ("loss", "trace"),
    every: int | None = None,
    start: ArrayLike | None = None,
    limit: float = 1e6,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    chunk: int | None = None,
) -> Result:
    r"""Run every setting with every seed.

    The loss is :math:`\frac{1}{2n} \sum |f(w) - y|^2` over the n samples, or :math:`\frac{1}{2B} \sum` over B of them
    drawn at every step, independently and with replacement. Kinds of noise, of strength :math:`\varepsilon`
    (``label_noise``):

    - ``"label"``: targets :math:`y + \varepsilon \xi`, :math:`\xi \sim N(0, 1)` fresh for each target that a step
      sees. On the manifold of minimisers the gradient noise has covariance :math:`(\varepsilon^2 / B) H`, B = n without
      minibatches (with one output a sample).
    - ``"minibatch"``: none but that of the samples drawn; ``label_noise`` must be 0.
    - ``"gaussian"``: :math:`\varepsilon \zeta` added to the gradient, :math:`\zeta \sim N(0, I_P)`: isotropic.

    Which numbers a run draws depends on its seed only, see `flatter_lib.ensemble.draws`; runs of one seed share them.

    Args:
        problem: the loss, for instance `flatter_lib.valleys.sensing.MatrixSensing`.
        lr: step sizes :math:`\eta`, positive.
        momentum: :math:`\beta`, in [0, 1).
        label_noise: :math:`\varepsilon`, not negative. These three broadcast to (S,), the settings.
        batch_size: B, at least 1; None for every sample, once each.
        noise: its kind.
        steps: how many, at least 1.
        seeds: the seeds, or how many (then 0, 1, ...).
        observe: names of observables, or a mapping from names of your own to such names or to functions that take
            parameters of shape (runs, P) and return (runs,). Every problem knows ``distance``, :math:`|w_k - w_0|`;
            for the others see its ``observables``: as a rule ``loss`` (without noise), ``trace`` (Tr H on the manifold)
            and ``test_error``. They are taken in the runs' dtype.
        every: distance of the records; None spaces them evenly in the logarithm of the step. The start and the last
            step are always recorded.
        start: where runs start, of shape (P,), (seeds, P) or (settings, seeds, P). If left out, all at
            ``problem.start_on_manifold(np.random.default_rng(0))``.
        limit: a run has diverged when its noisy loss is not finite, or above this many times the loss of outputs that
            are all zero, :math:`\frac{1}{2n} \sum |y|^2` (1/2 if the targets are all zero too).
        dtype: ``torch.float64`` or ``torch.float32``.
        device: where runs go; random numbers are drawn on the CPU, so that they are the same on every device.
        chunk: runs advanced together; if left out, as many as a core's cache holds, at least 64 and at most a gigabyte
            of them, or half of all runs where a cache holds hardly any. Multiples of 64 give the same bits on a CPU,
            other numbers differ by rounding.

    Returns:
        The measurements.

    Raises:
        ValueError: for an argument outside its range, with the range.

    Examples:
        >>> from flatter_lib.valleys.sensing import MatrixSensing
        >>> problem = MatrixSensing(rows=5, columns=5, rank=1, measurements=8, width=2)
        >>> result = run(problem, lr=[0.01, 0.02, 10.0], momentum=0.9, label_noise=0.5, steps=200, seeds=4)
        >>> result.values["trace"].shape == (3, 4, result.steps.size)
        True
        >>> result.diverged[:2].max(), bool(result.diverged[2].min() > 0)
        (np.int64(-1), True)
    """
    numbers = checks.one_axis(
        lr=checks.numbers("lr", lr, "(0, inf)"),
        momentum=checks.numbers("momentum", momentum, "[0, 1)"),
        label_noise=checks.numbers("label_noise", label_noise, "[0, inf)"),
    )
    settings = Settings(*numbers)
    chosen = checks.seeds("seeds", seeds)
    targets = problem.targets
    _check_noise(noise, settings.label_noise, batch_size)
    records = recorded_steps(steps, every)
    points = _starts(problem, start, len(settings.lr), len(chosen))
    observables = _observables(observe, [*problem.observables(), "distance"])
    checks.number("limit", limit, "(0, inf]")
    checks.one_of("dtype", dtype, (torch.float64, torch.float32))
    if chunk is not None:
        checks.count("chunk", chunk)
    where = torch.device(device)
    zero_loss = float(targets.square().sum()) / (2 * len(targets))
    recipe = Recipe(
        problem=problem,
        noise=noise,
        batch_size=batch_size,
        records=records,
        observables=observables,
        limit=limit * (zero_loss or 0.5),
        dtype=dtype,
        device=where,
    )
    # Seeds vary slowest, so that the runs of a chunk share as many random numbers as can be.
    count = len(settings.lr) * len(chosen)
    size = chunk or _chunk_size(count, problem.numbers_per_run * dtype.itemsize, where.type)
    index = np.arange(count)
    setting, seed = index % len(settings.lr), index // len(settings.lr)
    chunks = [
        Chunk(
            recipe,
            Settings(*(values[setting[part]] for values in settings)),
            [chosen[j] for j in seed[part]],
            points[setting[part], seed[part]],
        )
        for part in (slice(i, i + size) for i in range(0, count, size))
    ]
    _advance(chunks, torch.get_num_threads() if where.type == "cpu" else 1)

    def gather(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        runs = np.concatenate(list(parts))
        return runs.reshape(len(chosen), len(settings.lr), *runs.shape[1:]).swapaxes(0, 1)

    return Result(
        steps=records,
        values={name: gather(c.values[name] for c in chunks) for name in observables},
        diverged=gather(c.diverged for c in chunks),
        final=gather(c.w for c in chunks),
    )


def recorded_steps(steps: int, every: int | None) -> Integers:
    """The steps to record: the first and the last, and between them every so many, or evenly in the logarithm.

    Args:
        steps: the last step, at least 1.
        every: distance; None for `RECORDS_A_DECADE` records a decade, fewer where they would coincide.

    Raises:
        ValueError: for what is no integer from 1.

    Examples:
        >>> recorded_steps(10, 4)
        array([ 0,  4,  8, 10])
        >>> recorded_steps(100_000, None).size
        92
    """
    checks.count("steps", steps, most=checks.MOST_STEPS)
    if every is not None:
        checks.count("every", every)
        return np.unique(np.append(np.arange(0, steps, every), steps))
    count = 2 + int(np.ceil(RECORDS_A_DECADE * np.log10(steps)))
    return np.unique(np.append(0, np.rint(np.geomspace(1, steps, count)).astype(np.int64)))


def _advance(chunks: Sequence[Chunk], threads: int) -> None:
    """Make all steps of all chunks, each with one thread for torch's own operations: so threads change no bit."""
    before = torch.get_num_threads()
    stop = threading.Event()

    def advance(chunk: Chunk) -> None:
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                chunk.advance(stop)
        except BaseException:
            stop.set()
            raise

    try:
        with ThreadPoolExecutor(min(threads, len(chunks))) as pool:
            try:
                list(pool.map(advance, chunks))
            finally:
                stop.set()  # a person may have interrupted
    finally:
        # A thread's number is its own, but new threads take over what was set last in any.
        torch.set_num_threads(before)


def _check_noise(kind: str, label_noise: Floats, batch_size: int | None) -> None:
    checks.one_of("noise", kind, NOISES)
    if batch_size is not None:
        checks.count("batch_size", batch_size)
    if kind == "minibatch" and batch_size is None:
        raise ValueError('batch_size: noise="minibatch" needs one, of at least 1')
    if kind == "minibatch" and np.any(label_noise > 0):
        raise ValueError('label_noise: must be 0 with noise="minibatch", whose labels are clean')


def _observables(
    observe: Iterable[str] | Mapping[str, str | Observable], known: Iterable[str]
) -> dict[str, str | Observable]:
    """What to record, by name."""
    if isinstance(observe, str):
        observe = [observe]
    named = observe if isinstance(observe, Mapping) else {name: name for name in observe}
    for what in named.values():
        if not callable(what) and what not in known:
            raise ValueError(
                f"observe: one of {', '.join(sorted(known))}, or a name with a function, got {what!r}"
            )
    return dict(named)


def _chunk_size(count: int, bytes_per_run: int, device: str) -> int:
    """Runs of a chunk, whatever the number of threads: bits must not depend on it."""
    most = max(1, _MOST.get(device, _MOST["cpu"]) // bytes_per_run)
    if device != "cpu":
        return most
    # Two chunks at least, for two cores.
    half = -(-count // 2)
    fit = _CACHE // bytes_per_run
    if fit < _FEW_FIT:
        return min(most, half)
    half = max(half, _WORTH // bytes_per_run)
    return min(most, max(TILE, fit - fit % TILE), TILE * -(-half // TILE))


def _starts(
    problem: Problem, start: ArrayLike | None, settings: int, seeds: int
) -> NDArray[np.float64]:
    """Where each run starts, (S, N, P)."""
    shape = (settings, seeds, problem.dimension)
    if start is None:
        start = problem.start_on_manifold(np.random.default_rng(0)).numpy()
    points = checks.numbers("start", start)
    if points.ndim not in (1, 2, 3) or points.shape != shape[-points.ndim :]:
        raise ValueError(
            f"start: must have shape {shape[2:]}, {shape[1:]} or {shape}, got {points.shape}"
        )
    return np.broadcast_to(points, shape)
