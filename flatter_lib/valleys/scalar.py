r"""The scalar valley f = u v: the smallest loss with a manifold of minimisers, and noisy heavy ball in it.

The loss :math:`L(u, v) = (u v - y)^2 / 2` vanishes on the hyperbola :math:`u v = y`. Along it the trace of the
Hessian, :math:`\operatorname{Tr} H = u^2 + v^2`, varies; it is smallest, :math:`2 y`, at the flat point
:math:`u = v = \sqrt y`. The imbalance :math:`D = u^2 - v^2` says where on the hyperbola a run is: plain gradient
flow conserves it, label noise makes it decay, and it is zero at the flat point.

Label noise is additive Gaussian noise on the target, fresh at every step: the gradient at step k is that of
:math:`(u v - y - \varepsilon \xi_k)^2 / 2`, so the gradient noise has covariance :math:`\varepsilon^2 H` on the
hyperbola (Cowsik, Can & Glorioso, arXiv 2210.16400, eq. 1, with this :math:`\sigma`). Heavy ball is exactly
``torch.optim.SGD(lr=lr, momentum=momentum)``. For comparison the noise can also be a sign on the target, or isotropic
and on the gradient itself, and runs can start off the hyperbola.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from flatter_lib import checks
from flatter_lib.checks import Floats, Integers
from flatter_lib.valleys._scalar_kernel import advance

#: Fresh at every step: a normal number times :math:`\varepsilon` on the target (``label``), its sign times
#: :math:`\varepsilon` on the target (``sign``), or two independent normal numbers times :math:`\varepsilon` on the
#: gradient (``gaussian``).
Noise = Literal["label", "sign", "gaussian"]

# Draws of one block of one chunk take half a megabyte: they stay in a core's cache.
_RUNS_A_CHUNK = 32
_STEPS_A_BLOCK = 2048


@dataclass(frozen=True)
class ScalarValley:
    r"""The loss :math:`(u v - y)^2 / 2` and the point on its valley floor where runs start.

    Points are arrays whose last axis holds u and v.

    Attributes:
        target: y, positive.
        start: u at the start, positive; v is ``target / start``, so that runs start on the valley floor.

    Raises:
        ValueError: if either is not positive and finite.

    Examples:
        >>> valley = ScalarValley(target=1.0, start=2.0)
        >>> valley.initial
        array([2. , 0.5])
        >>> float(valley.loss(valley.initial)), float(valley.trace_hessian(valley.initial))
        (0.0, 4.25)
        >>> valley.initial_imbalance
        3.75
    """

    target: float = 1.0
    start: float = 1.6

    def __post_init__(self) -> None:
        checks.fields(self, target="(0, inf)", start="(0, inf)")

    @property
    def initial(self) -> Floats:
        """The starting point (u, v), on the valley floor."""
        return np.array([self.start, self.target / self.start])

    @property
    def initial_imbalance(self) -> float:
        """D at the starting point; zero if runs start at the flat point."""
        return float(self.imbalance(self.initial))

    def displaced(self, residual: float) -> Floats:
        r"""The point with the starting point's imbalance and this residual.

        It lies on the hyperbola :math:`u^2 - v^2 = D_0`, which gradient flow follows down to :attr:`initial`.

        Args:
            residual: u v - y there, above -y.

        Returns:
            The point (u, v), both positive.

        Raises:
            ValueError: for a residual at or below -y, or not finite.

        Examples:
            >>> valley = ScalarValley(target=1.0, start=2.0)
            >>> w = valley.displaced(0.5)
            >>> print(valley.residual(w).round(12), valley.imbalance(w).round(12))
            0.5 3.75
        """
        product = self.target + checks.number("residual", residual, f"({-self.target}, inf)")
        imbalance = self.initial_imbalance
        larger = np.sqrt((np.hypot(imbalance, 2 * product) + abs(imbalance)) / 2)
        pair = [larger, product / larger]
        return np.array(pair if imbalance >= 0 else pair[::-1])

    def residual(self, w: ArrayLike) -> Floats:
        """The residual u v - y, without noise; the displacement across the valley is this over ``|(u, v)|``."""
        u, v = _split(w)
        return u * v - self.target

    def loss(self, w: ArrayLike) -> Floats:
        """The loss (u v - y)^2 / 2, without noise."""
        return self.residual(w) ** 2 / 2

    def trace_hessian(self, w: ArrayLike) -> Floats:
        """Tr H = u^2 + v^2, everywhere; on the valley floor also the only eigenvalue that is not zero."""
        u, v = _split(w)
        return u**2 + v**2

    def imbalance(self, w: ArrayLike) -> Floats:
        """The imbalance D = u^2 - v^2; on the valley floor (Tr H)^2 = D^2 + 4 y^2."""
        u, v = _split(w)
        return u**2 - v**2


@dataclass(frozen=True)
class Runs:
    """What :func:`simulate` measured; S settings, N seeds, L levels, R recorded steps.

    Attributes:
        first_passage: (S, N, L) first step at which D / D_0 is at or below the level; NaN where that never
            happened before the run ended or left.
        settling: (S, N, L) step from which ``|D / D_0|`` stays at or below the level until the last step; NaN
            where it is above the level at the last step, or the run left.
        left: (S, N) step at which an unstable run left the valley (Tr H reached 1e8); NaN for runs that stayed.
        at: (S, R) the recorded steps.
        w: (S, N, R, 2) u and v at those steps; NaN from the step at which the run left.
    """

    first_passage: Floats
    settling: Floats
    left: Floats
    at: Integers
    w: Floats


def label_draws(seed: int, setting: int, steps: int) -> Floats:
    """The standard normal numbers that :func:`simulate` multiplies by the label noise in one run.

    With ``noise="sign"`` it multiplies their signs; with ``noise="gaussian"`` it takes two a step. They depend
    on the seed and on the position of the setting among the settings, and on nothing else: neither the number
    of threads nor the company of other runs changes a run.

    Args:
        seed: the run's seed.
        setting: index of the run's setting.
        steps: how many, one a step.

    Returns:
        (steps,) draws.

    Raises:
        ValueError: for what is no integer from 0.

    Examples:
        >>> draws = label_draws(seed=3, setting=0, steps=1000)
        >>> bool(np.all(label_draws(seed=3, setting=0, steps=10) == draws[:10]))
        True
    """
    return _stream(
        checks.count("seed", seed, 0), checks.count("setting", setting, 0)
    ).standard_normal(checks.count("steps", steps, 0))


def trajectory(
    valley: ScalarValley,
    *,
    lr: float,
    momentum: float,
    label_noise: float,
    draws: ArrayLike,
    start_residual: float = 0.0,
) -> Floats:
    """One run on given noise, every step of it.

    Args:
        valley: the loss and the start.
        lr: step size, positive.
        momentum: heavy-ball momentum, in [0, 1).
        label_noise: standard deviation of the noise on the target, not negative.
        draws: (steps,) numbers that take the place of the standard normal ones.
        start_residual: u v - y at the start; see :meth:`ScalarValley.displaced`.

    Returns:
        (steps + 1, 2): u and v from the start on; NaN from the step at which the run left the valley.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> w = trajectory(ScalarValley(), lr=0.1, momentum=0.9, label_noise=0.0, draws=np.zeros(5))
        >>> bool(np.all(w == [1.6, 0.625]))  # without noise nothing moves on the valley floor
        True
    """
    given = checks.numbers("draws", draws)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"draws: must have shape (steps,), got {given.shape}")
    settings = _Settings.broadcast(
        valley,
        lr=checks.number("lr", lr),
        momentum=checks.number("momentum", momentum),
        label_noise=checks.number("label_noise", label_noise),
        start_residual=checks.number("start_residual", start_residual),
        steps=given.size,
    )
    progress = _Progress.begun(valley, settings, 1, np.empty(0), np.arange(given.size + 1)[None])
    progress.advance((0, slice(None)), given[None, :, None], 0)
    w: Floats = progress.w[0, 0]
    return w


def simulate(
    valley: ScalarValley,
    *,
    lr: ArrayLike,
    momentum: ArrayLike,
    label_noise: ArrayLike,
    steps: ArrayLike,
    seeds: int | Sequence[int],
    levels: Sequence[float] = (),
    at: ArrayLike = (),
    noise: Noise = "label",
    start_residual: ArrayLike = 0.0,
) -> Runs:
    r"""Many runs, settings x seeds, of heavy ball under label noise, measured while they go.

    A run makes, with fresh :math:`\xi_k \sim N(0, 1)` and all buffers zero at the start,

    .. math:: b_{k+1} = \beta b_k + (u_k v_k - y - \varepsilon \xi_k) (v_k, u_k), \qquad
        (u, v)_{k+1} = (u, v)_k - \eta\, b_{k+1}.

    ``noise="sign"`` takes the sign of :math:`\xi_k` in its place, a two-point noise of the same variance.
    ``noise="gaussian"`` adds :math:`\varepsilon\, (\xi_k, \xi'_k)` to the gradient of the clean loss: as strong along
    the valley floor as across it.

    Nothing is stored but what is asked for, so a million steps of a thousand runs fit in memory. Runs are spread
    over ``NUMBA_NUM_THREADS`` threads (default: one a core), whose number changes no result.

    Args:
        valley: the loss and the start.
        lr: step sizes :math:`\eta`, positive.
        momentum: :math:`\beta`, in [0, 1).
        label_noise: :math:`\varepsilon`, not negative.
        steps: steps of every run of a setting, at least 1. These four and ``start_residual`` broadcast to (S,), the
            settings.
        seeds: the seeds, or how many (then 0, 1, ...). See :func:`label_draws` for what they determine.
        levels: fractions of D_0 in (0, 1), for first passage and settling.
        at: steps at which u and v are kept, (R,) or (S, R), not decreasing, from 0 to the setting's ``steps``.
        noise: its kind, see :data:`Noise`.
        start_residual: u v - y at the start, above -y: runs start at :meth:`ScalarValley.displaced`, off the floor
            where this is not 0, with the same D_0.

    Returns:
        The measurements.

    Raises:
        ValueError: for an argument outside its range, or levels where runs start at the flat point.

    Examples:
        >>> runs = simulate(ScalarValley(), lr=[0.05, 0.1], momentum=0.5, label_noise=0.2,
        ...                 steps=20_000, seeds=3, levels=[0.1])
        >>> runs.settling.shape, bool(runs.settling[0].min() > runs.settling[1].max())
        ((2, 3, 1), True)
    """
    settings = _Settings.broadcast(
        valley,
        lr=lr,
        momentum=momentum,
        label_noise=label_noise,
        start_residual=start_residual,
        steps=steps,
    )
    checks.one_of("noise", noise, get_args(Noise))
    seed_list = checks.seeds("seeds", seeds)
    fractions = _valid_levels(levels, valley)
    records = _valid_records(at, settings.steps)

    progress = _Progress.begun(valley, settings, len(seed_list), fractions, records)
    kicks = 2 if noise == "gaussian" else 1

    def finish(chunk: tuple[int, slice]) -> None:
        setting, members = chunk
        last = int(settings.steps[setting])
        streams = [_stream(seed, setting) for seed in seed_list[members]]
        for done in range(0, last, _STEPS_A_BLOCK):
            draws = np.empty((len(streams), min(_STEPS_A_BLOCK, last - done), kicks))
            for stream, row in zip(streams, draws, strict=True):
                stream.standard_normal(out=row)
            if noise == "sign":
                np.copysign(1.0, draws, out=draws)
            progress.advance(chunk, draws, done)

    parts = [slice(i, i + _RUNS_A_CHUNK) for i in range(0, len(seed_list), _RUNS_A_CHUNK)]
    chunks = product(range(len(settings.steps)), parts)
    # A chunk touches its own part of the arrays only, and neither the compiled loop nor the generators hold the lock.
    with ThreadPoolExecutor(max_workers=numba.config.NUMBA_NUM_THREADS) as pool:
        for _ in pool.map(finish, chunks):
            pass
    return progress.measured()


class _Settings(NamedTuple):
    """The checked settings, each (S,)."""

    lr: Floats
    momentum: Floats
    label_noise: Floats
    start_residual: Floats
    steps: Integers

    @classmethod
    def broadcast(cls, valley: ScalarValley, steps: ArrayLike, **given: ArrayLike) -> _Settings:
        above = f"({-valley.target}, inf)"
        ranges = {"lr": "(0, inf)", "momentum": "[0, 1)", "label_noise": "[0, inf)"}
        arrays: dict[str, NDArray[Any]] = {
            name: checks.numbers(name, value, ranges.get(name, above))
            for name, value in given.items()
        }
        arrays["steps"] = checks.counts("steps", steps, 1)
        return cls(**dict(zip(arrays, checks.one_axis(**arrays), strict=True)))


def _valid_levels(levels: Sequence[float], valley: ScalarValley) -> Floats:
    fractions = np.atleast_1d(checks.numbers("levels", levels, "(0, 1)"))
    if fractions.ndim != 1:
        raise ValueError(f"levels: must have shape (levels,), got {fractions.shape}")
    if fractions.size and valley.initial_imbalance == 0:
        raise ValueError(
            "levels: runs start at the flat point, D_0 = 0; start elsewhere or ask for no levels"
        )
    return fractions


def _valid_records(at: ArrayLike, steps: Integers) -> Integers:
    records = checks.counts("at", at)
    if records.ndim not in (1, 2) or (records.ndim == 2 and len(records) != len(steps)):
        raise ValueError(f"at: must have shape (records,) or ({len(steps)}, records)")
    records = np.broadcast_to(records, (len(steps), records.shape[-1]))
    late = records > steps[:, np.newaxis]
    if np.any(late):
        raise ValueError(f"at: must be at most steps, got {records[late].flat[0]}")
    if np.any(np.diff(records, axis=1) < 0):
        raise ValueError("at: must not decrease")
    return np.ascontiguousarray(records)


class _Progress(NamedTuple):
    """Runs on their way; arrays are (S, N, ...), see the compiled loop."""

    valley: ScalarValley
    settings: _Settings
    levels: Floats
    at: Integers
    state: Floats
    first_at_or_below: Integers
    last_above: Integers
    left: Integers
    w: Floats

    @classmethod
    def begun(
        cls, valley: ScalarValley, settings: _Settings, runs: int, levels: Floats, at: Integers
    ) -> _Progress:
        """No step is made."""
        shape = (len(settings.steps), runs)
        starts = np.array(
            [valley.displaced(r) if r else valley.initial for r in settings.start_residual]
        )
        state = np.zeros((*shape, 4))
        state[..., :2] = starts[:, np.newaxis]
        w = np.full((*shape, at.shape[1], 2), np.nan)
        for i, start in enumerate(starts):
            w[i, :, at[i] == 0] = start
        first, last = (np.full((*shape, len(levels)), value) for value in (-1, 0))
        return cls(valley, settings, levels, at, state, first, last, np.full(shape, -1), w)

    def advance(self, chunk: tuple[int, slice], draws: Floats, done: int) -> None:
        """Some runs of one setting, by as many steps as there are draws."""
        settings, setting = self.settings, chunk[0]
        advance(
            self.state[chunk],
            draws,
            done,
            settings.lr[setting],
            settings.momentum[setting],
            settings.label_noise[setting],
            self.valley.target,
            # Where runs start at the flat point there are no levels, and any unit serves.
            self.valley.initial_imbalance or 1.0,
            self.levels,
            self.at[setting],
            self.first_at_or_below[chunk],
            self.last_above[chunk],
            self.left[chunk],
            self.w[chunk],
        )

    def measured(self) -> Runs:
        """When all steps are made."""
        stayed = (self.left < 0)[..., np.newaxis]
        settled = stayed & (self.last_above < self.settings.steps[:, np.newaxis, np.newaxis])
        return Runs(
            first_passage=np.where(self.first_at_or_below >= 0, self.first_at_or_below, np.nan),
            settling=np.where(settled, self.last_above + 1.0, np.nan),
            left=np.where(self.left >= 0, self.left, np.nan),
            at=self.at,
            w=self.w,
        )


def _stream(seed: int, setting: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(setting,))))


def _split(w: ArrayLike) -> tuple[Floats, Floats]:
    points = np.asarray(w, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != 2:
        raise ValueError(f"w: the last axis must hold u and v, got shape {points.shape}")
    return points[..., 0], points[..., 1]
