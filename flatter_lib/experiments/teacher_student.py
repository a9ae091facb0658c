r"""When does label noise flatten a student network, and what becomes of its test error? Over step size and momentum.

A student with more hidden units than its teacher starts at an interpolating point (phase 1), and label noise is
switched on (phase 2). Runs are timed by the *excess* of Tr H and of the test error over their values at the flat end
of the drift, as fractions of where the runs began,

.. math:: x_k = \frac{\operatorname{Tr} H(w_k) - T_\infty}{\operatorname{Tr} H(w_0) - T_\infty},
    \qquad e_k = \frac{E(w_k) - E_\infty}{E(w_0) - E_\infty}.

The ends are those of the :func:`flow` that the drift follows for small steps, in the time
:math:`s = k (\eta_{\text{eff}} \varepsilon)^2 / n`. If :math:`s_1` is how long the flow takes,

.. math:: \kappa = \frac{(\eta\varepsilon)^2}{n s_1 (1-\beta)^3}

is the ratio of momentum's time 1/(1-beta) and the drift's.

A configuration is a few cells (step size, memory) of one activation, teacher and noise strength that take about the
same number of steps. All cells start at the same point. A profile holds laws :math:`1-\beta = C\eta^\gamma` that
meet at the middle step size, and some with another C; a scan of momenta at several step sizes; tuned plain SGD and
heavy ball at several noise strengths; runs that come to rest after several times, for the test error at equal Tr H; and
other teachers. Widths, samples, steps and noise are our own choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.timescales import first_passage, settling_time

if TYPE_CHECKING:
    import torch

    from flatter_lib.valleys.teacher import TeacherStudent

Floats = NDArray[np.float64]

#: Excess of Tr H at which a run has arrived, and below which it has settled.
LEVELS = (0.3679, 0.1)
#: The same for the test error, which the noise itself keeps from its end.
ERROR_LEVEL = 0.5


class Landscape(NamedTuple):
    """What sets the scales of an activation's runs.

    Attributes:
        slow: :math:`s_1`, about.
        length: how long the flow is followed.
        lr: the largest step size of laws and scans: eta h is about 1/2 at the start.
        strength: epsilon, small enough that the noise hardly bends the manifold at the momenta of interest.
    """

    slow: float
    length: float
    lr: float
    strength: float


ACTIVATIONS: Mapping[str, Landscape] = {
    "relu": Landscape(slow=1.2, length=16.0, lr=0.04, strength=0.1),
    "erf": Landscape(slow=17.0, length=160.0, lr=0.24, strength=0.02),
}
SAMPLES = 20
GAMMAS = (0.0, 1 / 2, 2 / 3, 0.8)
#: Kappa at the middle step size: of laws that meet there, and on the side to which a smaller step carries each.
KAPPA_MEETING = 1.0
APART = {1 / 2: 0.05, 0.8: 4.0}
#: The same for fixed momentum, gamma = 0.
KAPPA_FIXED = 0.05
#: Step sizes over the largest.
LAW_STEPS = tuple(float(f"{0.7**i:.4g}") for i in range(7))
SCAN_STEPS = LAW_STEPS[::2]
SCAN_KAPPAS = tuple(float(f"{k:.3g}") for k in np.geomspace(0.12, 12, 8))
#: Tuning: noise strengths, step sizes over the largest of the laws, and kappas of heavy ball.
TUNED_STRENGTHS: Mapping[str, tuple[float, ...]] = {"relu": (0.6, 1.2), "erf": (0.3, 0.6)}
TUNED_STEPS = (1.0, 2.0)
TUNED_KAPPAS = (0.03, 0.1, 0.3, 1.0, 3.0)
#: Of heavy ball under strong noise, which wants less momentum.
STRONG_KAPPAS = (0.001, 0.003, 0.01)
#: Rest: times s with the noise on in units of the slow one, and then without, in effective steps.
REST_TIMES = (0.5, 1.0, 2.0)
REST = 300.0
#: Other teachers, and the kappa at which they are looked at, as are runs that rest.
TEACHERS, LOOK_KAPPA = 6, 0.3


@dataclass(frozen=True)
class Configuration:
    """Some cells, and their runs.

    Attributes:
        activation: of student and teacher.
        lr: step size eta of each cell.
        memory: 1 - beta of each cell, in (0, 1].
        strength: epsilon, positive.
        steps: of every run, with the noise on.
        runs: of each cell.
        seed: of the first run's noise; the others count up from it. Cells share it.
        teacher: seed of teacher, inputs and start.
        rests: whether the runs then make steps without noise.
        inputs: d.
        teacher_width: hidden units of the teacher.
        student_width: hidden units of the student.
        samples: n.
    """

    activation: str
    lr: tuple[float, ...]
    memory: tuple[float, ...]
    strength: float
    steps: int
    runs: int
    seed: int
    teacher: int = 0
    rests: bool = False
    inputs: int = 5
    teacher_width: int = 2
    student_width: int = 10
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        checks.fields(self, lr="(0, inf)", memory="(0, 1]", strength="[0, inf)")
        checks.fields(self, steps=1, runs=1, seed=0, teacher=0)
        if len(self.lr) != len(self.memory):
            raise ValueError(f"memory: must be {len(self.lr)} numbers, one for each lr")

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


class Cell(NamedTuple):
    """A step size and 1 - beta, for an activation."""

    activation: str
    lr: float
    memory: float
    strength: float

    @property
    def kappa(self) -> float:
        """The ratio of the two times."""
        slow = SAMPLES * ACTIVATIONS[self.activation].slow
        return (self.lr * self.strength) ** 2 / (slow * self.memory**3)

    @property
    def steps(self) -> float:
        """Steps, well past the time at which runs settle."""
        return (16 + 3.2 / self.kappa) / self.memory


def cell(activation: str, step: float, strength: float, kappa: float) -> Cell:
    """The cell at this much of the largest step size and a kappa; 1 - beta at most 1, numbers of four digits.

    Examples:
        >>> cell("relu", 1.0, 0.1, 1.0)
        Cell(activation='relu', lr=0.04, memory=0.008736, strength=0.1)
    """
    lr = ACTIVATIONS[activation].lr * step
    slow = SAMPLES * ACTIVATIONS[activation].slow
    memory = min(1.0, ((lr * strength) ** 2 / (slow * kappa)) ** (1 / 3))
    return Cell(activation, float(f"{lr:.4g}"), float(f"{memory:.4g}"), strength)


def law(activation: str, gamma: float, kappa: float) -> list[Cell]:
    r"""Cells along :math:`1-\beta = C \eta^\gamma`, with C such that kappa is this at the middle step size.

    Examples:
        >>> [round(c.kappa, 2) for c in law("erf", 2 / 3, 1.0)]
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    here = ACTIVATIONS[activation]
    middle = LAW_STEPS[len(LAW_STEPS) // 2]
    at_middle = cell(activation, middle, here.strength, kappa).memory
    return [
        Cell(
            activation,
            float(f"{here.lr * step:.4g}"),
            float(f"{at_middle * (step / middle) ** gamma:.4g}"),
            here.strength,
        )
        for step in LAW_STEPS
    ]


def scan(activation: str, step: float) -> list[Cell]:
    """Cells at one step size, this much of the largest, over momenta."""
    return [cell(activation, step, ACTIVATIONS[activation].strength, k) for k in SCAN_KAPPAS]


def tuned(activation: str, strength: float) -> tuple[list[Cell], list[Cell]]:
    """Cells of plain SGD, with weak noise at the largest step only, and of heavy ball."""
    strongest = strength == max(TUNED_STRENGTHS[activation])
    plain = [
        Cell(activation, float(f"{ACTIVATIONS[activation].lr * step:.4g}"), 1.0, strength)
        for step in (TUNED_STEPS if strongest else TUNED_STEPS[-1:])
    ]
    kappas = (*TUNED_KAPPAS, *STRONG_KAPPAS)
    return plain, [cell(activation, s, strength, k) for k in kappas for s in TUNED_STEPS]


def resting(activation: str) -> list[Cell]:
    """Plain SGD at its largest step; heavy ball with the same noise, and with that of the laws."""
    lr, strong = ACTIVATIONS[activation].lr * TUNED_STEPS[-1], TUNED_STRENGTHS[activation][0]
    plain = Cell(activation, float(f"{lr:.4g}"), 1.0, strong)
    weak = ACTIVATIONS[activation].strength
    return [plain, *(cell(activation, 1.0, noise, LOOK_KAPPA) for noise in (strong, weak))]


def _grouped(
    cells: Iterable[Cell],
    runs: int,
    seed: int,
    *,
    together: int = 4,
    teacher: int = 0,
) -> list[Configuration]:
    """Configurations of cells that take about as long."""
    ordered = sorted(set(cells), key=lambda c: (c.activation, c.strength, c.steps))
    groups: list[list[Cell]] = []
    for c in ordered:
        last = groups[-1] if groups else []
        fits = last and (last[0].activation, last[0].strength) == (c.activation, c.strength)
        if fits and c.steps < 1.5 * last[0].steps and len(last) < together:
            last.append(c)
        else:
            groups.append([c])
    return [
        _configuration(group, max(c.steps for c in group), runs, seed + 1000 * i, teacher=teacher)
        for i, group in enumerate(groups)
    ]


def _configuration(
    cells: list[Cell], steps: float, runs: int, seed: int, *, teacher: int = 0, rests: bool = False
) -> Configuration:
    return Configuration(
        activation=cells[0].activation,
        lr=tuple(c.lr for c in cells),
        memory=tuple(c.memory for c in cells),
        strength=cells[0].strength,
        steps=int(np.ceil(steps)),
        runs=runs,
        seed=seed,
        teacher=teacher,
        rests=rests,
    )


def _profile(runs: int, few: int, teachers: int) -> list[Configuration]:
    """All cells, each once.

    Args:
        runs: of each cell.
        few: runs of plain SGD, which take long, and of each other teacher.
        teachers: how many others.
    """
    chosen: list[Configuration] = []
    for i, activation in enumerate(ACTIVATIONS):
        seed = 10**7 * i
        main = [c for gamma in GAMMAS for c in law(activation, gamma, KAPPA_MEETING)]
        main += [c for gamma, kappa in APART.items() for c in law(activation, gamma, kappa)]
        main += [c for step in SCAN_STEPS for c in scan(activation, step)]
        plain, strong = [], []
        for strength in TUNED_STRENGTHS[activation]:
            own, heavy = tuned(activation, strength)
            usual = len(TUNED_KAPPAS) * len(TUNED_STEPS)
            plain += own
            main += heavy[:usual]
            strong += heavy[usual:]
        chosen += _grouped(main, runs, seed) + _grouped(plain, few, seed + 10**6, together=1)
        fixed = [c for c in law(activation, 0.0, KAPPA_FIXED) if c not in main]
        chosen += _grouped(fixed, runs, seed + 4 * 10**6)
        chosen += _grouped(strong, runs, seed + 5 * 10**6)
        here = ACTIVATIONS[activation]
        for j, c in enumerate(resting(activation)):
            unit = SAMPLES * here.slow * (c.memory / (c.lr * c.strength)) ** 2
            chosen += [
                _configuration([c], s * unit, runs, seed + 2 * 10**6 + 1000 * j, rests=True)
                for s in REST_TIMES
            ]
        other = cell(activation, 1.0, here.strength, LOOK_KAPPA)
        chosen += [
            _configuration([other], other.steps, few, seed + 3 * 10**6, teacher=teacher, rests=True)
            for teacher in range(1, 1 + teachers)
        ]
    return chosen


PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": [
        _configuration([c], c.steps, 8, 0, rests=True)
        for activation in ACTIVATIONS
        for c in [cell(activation, 1.0, TUNED_STRENGTHS[activation][-1], 0.3)]
    ],
    "laptop": _profile(runs=12, few=8, teachers=TEACHERS),
    "paper": _profile(runs=512, few=128, teachers=8 * TEACHERS),
}

#: What other rounding may change: little of `relu`. In long runs of `erf` under weak noise up to a third of the runs
#: settles at another time, and long after that, where the noise goes on to move them along the flat end, nearly all
#: have grown apart. Numbers have four digits, of which the last may turn.
HELD: Mapping[str, Mapping[str, Any] | None] = {
    "": {"rtol": 2e-3, "share": 0.9},
    "settling": {"rtol": 2e-3, "share": 0.75},
    "error_settling": {"rtol": 2e-3, "share": 0.6},
    "late_excess": {"rtol": 2e-3, "share": 0.3},
    "late_error": {"rtol": 2e-3, "share": 0.3},
    "curve": {"rtol": 2e-3, "share": 0.8},
}


class Flow(NamedTuple):
    """The drift in the limit of small steps.

    Attributes:
        start: where it begins, (P,).
        time: s, (R,).
        trace: Tr H there, (R,).
        error: test error there, (R,).
    """

    start: Floats
    time: Floats
    trace: Floats
    error: Floats

    def excess(self, trace: Floats) -> Floats:
        """Tr H as a fraction of the way that the flow makes."""
        fraction: Floats = (trace - self.trace[-1]) / (self.trace[0] - self.trace[-1])
        return fraction

    def error_excess(self, error: Floats) -> Floats:
        """The same for the test error."""
        fraction: Floats = (error - self.error[-1]) / (self.error[0] - self.error[-1])
        return fraction


def flow(problem: TeacherStudent, start: torch.Tensor, length: float, steps: int = 800) -> Flow:
    r"""Follow the drift :math:`dw/ds = -\frac14 P \nabla \operatorname{Tr} H` along the manifold.

    P projects on the null space of the residuals' derivative. Each step is one of the midpoint rule and a way back to
    the manifold, by two Gauss-Newton steps. A ``relu`` student's Tr H has kinks; the flow slides along them to within a
    step.

    Args:
        problem: outputs and Tr H.
        start: an interpolating point, float64, shape (P,).
        length: how far to go in s.
        steps: how many.

    Returns:
        The flow, recorded at every step.

    Examples:
        >>> problem = Configuration("erf", (), (), 0.0, 1, 1, 0).problem
        >>> path = flow(problem, problem.start_on_manifold(np.random.default_rng(0)), length=1.0, steps=10)
        >>> bool((np.diff(path.trace) < 0).all())
        True
    """
    import torch

    n, dimension = len(problem.targets), problem.dimension
    differential = problem.differential(n, dtype=torch.float64, device=torch.device("cpu"))
    y = problem.targets.squeeze(1)

    def linear(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Residuals, their derivative J, and J J^T."""
        f = differential.outputs(w.expand(n, dimension), None)[0].clone()
        J = torch.zeros(n, dimension, dtype=torch.float64)
        differential.pull_back(torch.eye(n, dtype=torch.float64), J)
        gram = J @ J.T
        return f - y, J, gram + 1e-13 * gram.diagonal().mean() * torch.eye(n, dtype=torch.float64)

    def velocity(w: torch.Tensor) -> torch.Tensor:
        at = w.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(problem.trace(at), at)
        _, J, gram = linear(w)
        along: torch.Tensor = gradient - J.T @ torch.linalg.solve(gram, J @ gradient)
        return -along / 4

    w, ds = start, length / steps
    path = [w]
    for _ in range(steps):
        w = w + ds * velocity(w + ds / 2 * velocity(w))
        for _ in range(2):
            r, J, gram = linear(w)
            w = w - J.T @ torch.linalg.solve(gram, r)
        path.append(w)
    points = torch.stack(path)
    return Flow(
        start.numpy(),
        np.linspace(0.0, length, steps + 1),
        problem.trace(points).numpy(),
        problem.test_error(points).numpy(),
    )


@lru_cache(maxsize=32)
def flow_of(activation: str, teacher: int) -> Flow:
    """The flow of a configuration's problem from its start."""
    problem = Configuration(activation, (), (), 0.0, 1, 1, 0, teacher).problem
    start = problem.start_on_manifold(np.random.default_rng(teacher))
    return flow(problem, start, ACTIVATIONS[activation].length)


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the runs and time them.

    Returns:
        Lists with an entry a cell. ``first_passage`` and ``settling``: for each of `LEVELS`, the step of each run at
        which the excess of Tr H first is at or below the level, and from which it stays there (NaN if it never does).
        ``error_first_passage`` and ``error_settling``: the same for the test error and `ERROR_LEVEL`.
        ``late_excess`` and ``late_error``: each run's means of excess and test error over the last quarter of its
        steps. ``curve``: steps, median Tr H and median test error over the runs. ``diverged``: how many runs. Where
        runs rest: ``rest_trace`` and ``rest_error``, of each run, after steps without noise.
    """
    from flatter_lib import ensemble

    c = configuration
    path = flow_of(c.activation, c.teacher)
    result = ensemble.run(
        c.problem,
        lr=c.lr,
        momentum=1 - np.array(c.memory),
        label_noise=c.strength,
        steps=c.steps,
        seeds=range(c.seed, c.seed + c.runs),
        start=path.start,
        observe=["trace", "test_error"],
        every=max(1, c.steps // 800),
        progress=False,
    )
    cells = [
        _measured(path, result.steps, trace, error)
        for trace, error in zip(result.values["trace"], result.values["test_error"], strict=True)
    ]
    measured: dict[str, Any] = {name: [cell[name] for cell in cells] for name in cells[0]}
    measured["diverged"] = (result.diverged >= 0).sum(axis=1).tolist()
    if c.rests:
        measured |= _at_rest(c, path, result.final)
    return measured


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    return 2.0 + c.steps * (2e-4 + 5e-6 * c.runs * len(c.lr))


def _measured(path: Flow, steps: NDArray[np.int64], trace: Floats, error: Floats) -> dict[str, Any]:
    """What a cell keeps of its runs' Tr H and test error, (runs, records)."""
    excess, wrong = path.excess(trace), path.error_excess(error)
    late = steps > 0.75 * steps[-1]
    shown = np.unique(np.rint(np.geomspace(1, len(steps) - 1, 24)).astype(int))
    return {
        "first_passage": [_whole(first_passage(steps, excess, level)) for level in LEVELS],
        "settling": [_whole(_settled(steps, excess, level)) for level in LEVELS],
        "error_first_passage": _whole(first_passage(steps, wrong, ERROR_LEVEL)),
        "error_settling": _whole(_settled(steps, wrong, ERROR_LEVEL)),
        "late_excess": _short(excess[:, late].mean(1)),
        "late_error": _short(error[:, late].mean(1)),
        "curve": [
            _whole(steps[shown].astype(float)),
            _short(np.median(trace[:, shown], axis=0)),
            _short(np.median(error[:, shown], axis=0)),
        ],
    }


def _settled(steps: NDArray[np.int64], excess: Floats, level: float) -> Floats:
    """From when on the excess stays at or below the level; how far below does not matter."""
    times: Floats = settling_time(steps, np.maximum(excess, 0), level)
    return times


def _at_rest(c: Configuration, path: Flow, final: Floats) -> dict[str, Any]:
    """Tr H and test error of each run, a list a cell, after its noise was off for `REST` effective steps."""
    from flatter_lib import ensemble

    rests = [
        ensemble.run(
            c.problem,
            lr=lr,
            momentum=1 - memory,
            steps=int(np.ceil(REST * memory / lr + 20 / memory)),
            seeds=c.runs,
            start=np.where(np.isfinite(final[i]), final[i], path.start),
            observe=["trace", "test_error"],
            every=10**9,
            progress=False,
        )
        for i, (lr, memory) in enumerate(zip(c.lr, c.memory, strict=True))
    ]
    return {
        "rest_trace": [_short(r.values["trace"][0, :, -1]) for r in rests],
        "rest_error": [_short(r.values["test_error"][0, :, -1]) for r in rests],
    }


def _whole(times: Floats) -> list[float]:
    """Times as short numbers: steps are whole."""
    return [t if np.isnan(t) else int(t) for t in times.tolist()]


def _short(values: Floats) -> list[float]:
    """Four digits, which is more than the runs' scatter leaves meaning to."""
    return [float(f"{value:.4g}") for value in values]
