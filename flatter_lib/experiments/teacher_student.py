r"""When does label noise flatten a student network, and what becomes of its test error? Over step size and momentum.

A student with more hidden units than its teacher starts at an interpolating point (phase 1), and label noise is
switched on (phase 2). Runs are timed by the *excess* of Tr H and of the test error over their values at the flat end
of the drift, as fractions of where the runs began,

.. math:: x_k = \frac{\operatorname{Tr} H(w_k) - T_\infty}{\operatorname{Tr} H(w_0) - T_\infty},
    \qquad e_k = \frac{E(w_k) - E_\infty}{E(w_0) - E_\infty}.

The ends are those of the :func:`flatter_lib.valleys.drift.flow` that the drift follows for small steps, in the time
:math:`s = k (\eta_{\text{eff}} \varepsilon)^2 / n`. If :math:`s_1` is how long the flow takes,

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{n s_1 (1-\beta)^3}

is the ratio of momentum's time 1/(1-beta) and the drift's.

A configuration is a cell, some runs of one activation, teacher, step size and momentum; all of a teacher's runs start
at the same point. A profile holds laws :math:`1-\beta = C\eta^\gamma` that meet at the middle step size, and some with
another C; a scan of momenta at several step sizes; plain SGD and heavy ball at two noise strengths, with steps beyond
the edge of stability too; runs that come to rest after several times, for the test error at equal Tr H; and other
teachers. Students ten times as wide, of several teachers, are timed under the `protocol` of all systems, whose momenta
are on a grid of their own. Widths, samples, steps and noise are our own choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.experiments._ensembles import Floats, batch, configurations, made, timed
from flatter_lib.experiments.design import (
    Cell,
    Held,
    Landscape,
    Rung,
    Scan,
    powers,
    rounded,
    rungs,
    short,
    whole,
)
from flatter_lib.stats import first_passage, settling_time

if TYPE_CHECKING:
    from flatter_lib.valleys.drift import Flow
    from flatter_lib.valleys.teacher import TeacherStudent

__all__ = ["PROFILES", "Configuration", "batch", "cost", "run_many"]

#: Excess of Tr H at which a run has arrived, and below which it has settled.
LEVELS = (0.3679, 0.1)
#: The same for the test error, which the noise itself keeps from its end.
ERROR_LEVEL = 0.5
SAMPLES, NARROW = 20, 10

#: Step sizes of the laws over the largest, and of the scans.
LAW_STEPS = tuple(rounded(0.7**i) for i in range(7))
SCAN_STEPS = LAW_STEPS[::2]
SCAN_KAPPAS = tuple(rounded(k, 3) for k in np.geomspace(0.12, 12, 8))


def _landscape(slow: float, lr: float, strength: float) -> Landscape:
    lrs = tuple(lr * step for step in LAW_STEPS)
    return Landscape(SAMPLES * slow, strength, lrs, patience=16, drift=3.2)


#: The time s_1 of each activation's flow, about, and how long it is followed.
SLOW: Mapping[str, float] = {"relu": 1.2, "erf": 17.0}
LENGTH: Mapping[str, float] = {"relu": 16.0, "erf": 160.0}
#: At the largest step size eta h is about 1/2 at the start; the noise is small enough that it hardly bends the manifold
#: at the momenta of interest.
ACTIVATIONS: Mapping[str, Landscape] = {
    "relu": _landscape(SLOW["relu"], lr=0.04, strength=0.1),
    "erf": _landscape(SLOW["erf"], lr=0.24, strength=0.02),
}
GAMMAS = (0.0, 1 / 2, 2 / 3, 0.8)
#: Kappa at the middle step size: of laws that meet there, and on the side to which a smaller step carries each.
KAPPA_MEETING = 1.0
APART = {1 / 2: 0.05, 0.8: 4.0}
#: The same for fixed momentum, gamma = 0.
KAPPA_FIXED = 0.05
#: Tuning: noise strengths, curvature h of the steepest wall at the start, and eta h of either method, to beyond the
#: edge of stability. Settings that would need more than so many steps are not tried.
TUNED_STRENGTHS: Mapping[str, tuple[float, ...]] = {"relu": (0.6, 1.2), "erf": (0.3, 0.6)}
SHARPEST: Mapping[str, float] = {"relu": 13.27, "erf": 2.097}
PLAIN_STEPS = (1.0, 1.5, 1.9, 2.5, 3.2, 4.0)
#: Measured when plain SGD had turned out to be fastest at the largest of these.
LARGER_STEPS = (5.0, 6.5, 8.0)
HEAVY_STEPS = (0.5, 1.0, 1.5, 1.9, 2.75, 3.5)
HEAVY_MEMORIES = powers(0.03, 0.76, per_octave=1.5)
TUNED_LONGEST = 20_000
#: Step of the plain SGD that rests, over the largest of the laws.
REST_STEP = 2.0
#: Rest: times s with the noise on in units of the slow one, and then without, in effective steps.
REST_TIMES = (0.5, 1.0, 2.0)
REST = 300.0
#: Other teachers, and the kappa at which they are looked at, as are runs that rest.
TEACHERS, LOOK_KAPPA = 6, 0.3


#: The protocol of all systems, for students of another size: `relu`, since it is shaken less. How long the flow is
#: followed, in how many steps (64 give the times at `LEVELS` of 1,024 within 0.3 %).
WIDE: Mapping[str, Any] = {
    "activation": "relu",
    "inputs": 20,
    "teacher_width": 4,
    "student_width": 100,
    "samples": 200,
}
PROTOCOL_LENGTH, PROTOCOL_FLOW = 16.0, 160
PROTOCOL_TEACHERS, PROTOCOL_RUNS = 16, 2
#: Excess of Tr H, in place of `LEVELS`; with twice the best momentum for 10 % runs no longer settle there in the pilot.
PROTOCOL_LEVELS = (0.3679, 0.2, 0.1)
#: Step sizes, of which the largest has eta h just below 1 at every start, each with the steps of its runs, about four
#: times the fastest settling at 10 % in a pilot with another teacher; the noise of these, and momenta.
PROTOCOL_LRS: Mapping[float, int] = {
    0.014: 2000,
    0.007: 2900,
    0.0035: 4100,
    0.00175: 6000,
    0.000875: 8600,
}
PROTOCOL_STRENGTH, PROTOCOL_MEMORIES = 2.0, powers(0.001, 0.032)
#: At the largest step, of the first half of the teachers: other strengths of the noise, and momenta for all; plain SGD,
#: one run.
NOISES: Mapping[float, int] = {1.0: 2800, 4.0: 2000, 8.0: 2000}
NOISES_MEMORIES = powers(0.004, 0.128)
NOISES_PLAIN: Mapping[float, int] = {8.0: 60_000, 4.0: 240_000}
#: Half an octave between these, and below them: with the others eight strengths of the same teachers.
NOISES_BETWEEN: Mapping[float, int] = {0.7071: 3500, 1.414: 2400, 2.828: 2000, 5.657: 2000}
#: Under the weakest the lattice goes on to less, so that its best momentum is well inside.
WEAKEST_MEMORIES = powers(0.002, 0.128)
#: Half of the noise, which shakes the clock less, at a quarter and a sixteenth of that step, too, with momenta further
#: down the same lattice and as many more steps as at the largest.
WEAKER, WEAKER_MEMORIES = 1.0, powers(0.0007071, 0.008)
WEAKER_LRS: Mapping[float, int] = {
    lr: round(1.4 * PROTOCOL_LRS[lr]) for lr in list(PROTOCOL_LRS)[2::2]
}


@dataclass(frozen=True)
class Configuration:
    """A cell, and its runs.

    Attributes:
        activation: of student and teacher.
        lr: step size eta.
        memory: 1 - beta, in (0, 1].
        strength: epsilon, positive.
        steps: of every run, with the noise on.
        runs: how many.
        seed: of the first run's noise; the others count up from it. Cells of a rung share it.
        teacher: seed of teacher, inputs and start.
        rests: whether the runs then make steps without noise.
        inputs: d.
        teacher_width: hidden units of the teacher.
        student_width: hidden units of the student.
        samples: n.
    """

    activation: str
    lr: float
    memory: float
    strength: float
    steps: int
    runs: int
    seed: int
    teacher: int = 0
    rests: bool = False
    inputs: int = 5
    teacher_width: int = 2
    student_width: int = NARROW
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", strength="[0, inf)")
        checks.fields(self, steps=1, runs=1, seed=0, teacher=0)

    @property
    def wide(self) -> bool:
        """Whether it belongs to the protocol of all systems."""
        return self.student_width > NARROW

    @property
    def problem(self) -> TeacherStudent:
        """The loss."""
        from flatter_lib.valleys.teacher import TeacherStudent

        return TeacherStudent(
            inputs=self.inputs,
            teacher_width=self.teacher_width,
            student_width=self.student_width,
            activation=self.activation,
            samples=self.samples,
            seed=self.teacher,
        )


def scan(activation: str, step: float) -> list[Cell]:
    """Cells at one step size, this much of the largest, over momenta."""
    here = ACTIVATIONS[activation]
    return here.scan(here.lrs[0] * step, SCAN_KAPPAS)


def tuned(activation: str, strength: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, and of heavy ball, one grid for both noise strengths."""
    here = ACTIVATIONS[activation]
    plain = [
        here.plain(step / SHARPEST[activation], strength) for step in (*PLAIN_STEPS, *LARGER_STEPS)
    ]
    heavy = [
        Cell(rounded(step / SHARPEST[activation]), memory, strength, here)
        for step in HEAVY_STEPS
        for memory in HEAVY_MEMORIES
    ]
    return plain, [cell for cell in heavy if cell.steps <= TUNED_LONGEST]


def resting(activation: str) -> list[Cell]:
    """Plain SGD at its largest step; heavy ball with the same noise, and with that of the laws."""
    here, strong = ACTIVATIONS[activation], TUNED_STRENGTHS[activation][0]
    plain = here.plain(here.lrs[0] * REST_STEP, strong)
    return [plain, *(here.cell(here.lrs[0], LOOK_KAPPA, eps) for eps in (strong, here.strength))]


def _profile(runs: int, few: int, teachers: int) -> list[Configuration]:
    """All cells, each once.

    Args:
        runs: of each cell.
        few: runs of each other teacher; those that are tuned have twice as many.
        teachers: how many others.
    """
    chosen: list[Configuration] = []
    for i, (activation, here) in enumerate(ACTIVATIONS.items()):
        seed, cells = 10**7 * i, partial(configurations, Configuration, activation=activation)
        main = [c for gamma in GAMMAS for c in here.law(gamma, KAPPA_MEETING)]
        main += [c for gamma, kappa in APART.items() for c in here.law(gamma, kappa)]
        main += [c for step in SCAN_STEPS for c in scan(activation, step)]
        plain, larger, heavy = list[Cell](), list[Cell](), list[Cell]()
        for strength in TUNED_STRENGTHS[activation]:
            own, others = tuned(activation, strength)
            plain += own[: len(PLAIN_STEPS)]
            larger += own[len(PLAIN_STEPS) :]
            heavy += others
        fixed = [c for c in here.law(0.0, KAPPA_FIXED) if c not in main]
        chosen += cells(rungs(main, seed), runs=runs)
        chosen += cells(rungs(fixed, seed + 4 * 10**6), runs=runs)
        chosen += cells(rungs(heavy, seed + 6 * 10**6, together=8), runs=2 * few)
        chosen += cells(rungs(plain, seed + 7 * 10**6), runs=2 * few)
        chosen += cells(rungs(larger, seed + 8 * 10**6, longest=4), runs=2 * few)
        ended = [
            Rung([c], int(np.ceil(s * unit)), seed + 2 * 10**6 + 1000 * j)
            for j, c in enumerate(resting(activation))
            for unit in [here.slow * (c.memory / (c.lr * c.strength)) ** 2]
            for s in REST_TIMES
        ]
        chosen += cells(ended, runs=runs, rests=True)
        other = rungs([here.cell(here.lrs[0], LOOK_KAPPA)], seed + 3 * 10**6)
        for teacher in range(1, 1 + teachers):
            chosen += cells(other, runs=few, teacher=teacher, rests=True)
    return chosen


def protocol(teachers: int, runs: int) -> list[Configuration]:
    """The cells of the protocol, of teachers from 1 on, half of them with all noises; each scan has its own draws."""
    lr = next(iter(PROTOCOL_LRS))
    here = Landscape(WIDE["samples"], PROTOCOL_STRENGTH, tuple(PROTOCOL_LRS), 0, 0)
    every = PROTOCOL_MEMORIES
    scans = [
        (i, Scan(lr, here.strength, every, n)) for i, (lr, n) in enumerate(PROTOCOL_LRS.items())
    ]
    scans += [
        (5 + i, Scan(lr, eps, NOISES_MEMORIES, n)) for i, (eps, n) in enumerate(NOISES.items())
    ]
    scans += [(8 + i, Scan(lr, eps, (1.0,), n)) for i, (eps, n) in enumerate(NOISES_PLAIN.items())]
    scans += [
        (10 + i, Scan(step, WEAKER, WEAKER_MEMORIES, n))
        for i, (step, n) in enumerate(WEAKER_LRS.items())
    ]
    scans += [
        (12 + i, Scan(lr, eps, NOISES_MEMORIES if i else WEAKEST_MEMORIES, n))
        for i, (eps, n) in enumerate(NOISES_BETWEEN.items())
    ]
    return [
        c
        for i, scan in scans
        for teacher in range(1, 1 + (teachers if scan.strength == here.strength else teachers // 2))
        for rung in [scan.rung(here, 10**8 + 10**6 * teacher + 10**4 * i)]
        for c in configurations(
            Configuration,
            [rung],
            runs=1 if scan.memories == (1.0,) else runs,
            teacher=teacher,
            **WIDE,
        )
    ]


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        c
        for activation, here in ACTIVATIONS.items()
        for cell in [here.cell(here.lrs[0], LOOK_KAPPA, TUNED_STRENGTHS[activation][-1])]
        for c in configurations(
            Configuration, rungs([cell], 0), activation=activation, runs=8, rests=True
        )
    ],
    "laptop": _profile(runs=12, few=8, teachers=TEACHERS)
    + protocol(PROTOCOL_TEACHERS, PROTOCOL_RUNS),
    "paper": _profile(runs=512, few=128, teachers=8 * TEACHERS) + protocol(64, 16),
}

#: What other rounding may change: little of `relu`. In long runs of `erf` under weak noise up to a third of the runs
#: settles at another time, and long after that, where the noise goes on to move them along the flat end, nearly all
#: have grown apart. Numbers have four digits, of which the last may turn.
HELD: Held = {
    "": {"rtol": 2e-3, "share": 0.9},
    "settling": {"rtol": 2e-3, "share": 0.75},
    "error_settling": {"rtol": 2e-3, "share": 0.6},
    "late_excess": {"rtol": 2e-3, "share": 0.3},
    "late_error": {"rtol": 2e-3, "share": 0.3},
    "curve": {"rtol": 2e-3, "share": 0.8},
}


@lru_cache(maxsize=32)
def flow_of(problem: TeacherStudent) -> Flow:
    """The flow of a configuration's problem from its start."""
    from flatter_lib.valleys.drift import flow

    start = problem.start_on_manifold(np.random.default_rng(problem.seed))
    if problem.student_width > NARROW:
        return flow(problem, start, PROTOCOL_LENGTH, PROTOCOL_FLOW)
    return flow(problem, start, LENGTH[problem.activation])


def run_many(configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Make the runs of some cells, whose keys of :func:`batch` are equal, and time them.

    Returns:
        Of each cell the times of its runs, :func:`~flatter_lib.experiments._ensembles.timed`, at `LEVELS` of the excess
        of Tr H and `ERROR_LEVEL` of that of the test error. ``late_excess`` and ``late_error``: each run's means of
        excess and test error over the last quarter of its steps. ``curve``: steps, median Tr H and median test error
        over the runs. ``diverged``: how many runs. Where runs rest: ``rest_trace`` and ``rest_error``, of each run,
        after steps without noise. Of a cell of the protocol: the times of Tr H at `PROTOCOL_LEVELS`; ``flow``,
        the times s at which the flow is there; ``late_excess``; ``last_error``, the test error at the last step;
        ``diverged``.
    """
    path = flow_of(configurations[0].problem)
    if configurations[0].wide:
        return _protocol_cells(configurations, path)
    result = made(configurations, path.start, 800)
    found = []
    for i, each in enumerate(configurations):
        trace, error = (result.values[name][i] for name in ("trace", "test_error"))
        measured = _measured(path, result.steps, trace, error)
        measured["diverged"] = int((result.diverged[i] >= 0).sum())
        if each.rests:
            measured |= _at_rest(each, path, result.final[i])
        found.append(measured)
    return found


def _protocol_cells(cells: Sequence[Configuration], path: Flow) -> list[dict[str, Any]]:
    """What the cells of the protocol keep, of which a look is dear: Tr H alone, and half as often."""
    import torch

    c = cells[0]
    result = made(cells, path.start, 400, observe=["trace"], chunk=4)
    steps, late = result.steps, result.steps > 0.75 * result.steps[-1]
    found = []
    for excess, final, diverged in zip(
        path.excess(result.values["trace"]), result.final, result.diverged, strict=True
    ):
        low = np.maximum(excess, 0)
        found.append(
            {
                "first_passage": [
                    whole(first_passage(steps, low, level)) for level in PROTOCOL_LEVELS
                ],
                "settling": [whole(settling_time(steps, low, level)) for level in PROTOCOL_LEVELS],
                "late_excess": short(excess[:, late].mean(1)),
                "last_error": short(c.problem.test_error(torch.from_numpy(final)).numpy()),
                "flow": [rounded(path.passage(level)) for level in PROTOCOL_LEVELS],
                "diverged": int((diverged >= 0).sum()),
            }
        )
    return found


def cost(configuration: Configuration) -> float:
    """Seconds that a cell takes on one core of a laptop, about, with three others in one pass."""
    c = configuration
    return 0.5 + c.steps * (1.1e-4 * c.runs if c.wide else 0.5e-4 + 5e-6 * c.runs)


def _measured(path: Flow, steps: NDArray[np.int64], trace: Floats, error: Floats) -> dict[str, Any]:
    """What a cell keeps of its runs' Tr H and test error, (runs, records)."""
    excess = path.excess(trace)
    # How far below the end a run is does not matter.
    low, right = np.maximum(excess, 0), np.maximum(path.error_excess(error), 0)
    late = steps > 0.75 * steps[-1]
    shown = np.unique(np.rint(np.geomspace(1, len(steps) - 1, 24)).astype(int))
    middle = [np.median(values[:, shown], axis=0) for values in (trace, error)]
    return {
        **timed(steps, low, LEVELS, right, ERROR_LEVEL),
        "late_excess": short(excess[:, late].mean(1)),
        "late_error": short(error[:, late].mean(1)),
        "curve": [whole(steps[shown]), *map(short, middle)],
    }


def _at_rest(c: Configuration, path: Flow, final: Floats) -> dict[str, Any]:
    """Tr H and test error of each run after its noise was off for `REST` effective steps."""
    from flatter_lib import ensemble

    result = ensemble.run(
        c.problem,
        lr=c.lr,
        momentum=1 - c.memory,
        steps=int(np.ceil(REST * c.memory / c.lr + 20 / c.memory)),
        seeds=c.runs,
        start=np.where(np.isfinite(final), final, path.start),
        observe=["trace", "test_error"],
        every=10**9,
    )
    ends = {name: short(values[0, :, -1]) for name, values in result.values.items()}
    return {"rest_trace": ends["trace"], "rest_error": ends["test_error"]}
