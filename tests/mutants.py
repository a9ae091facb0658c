"""Seeded faults in the library: whether the tests notice. Run it with ``make mutants``: half an hour on two cores.

Each fault below changes one constant, sign, comparison or index. The places were drawn at random, one a module, as
``--seed`` draws others; a draw that changes nothing that can be seen was drawn again, and stands in ``NO_FAULTS`` with
the reason. A fault is put into a copy of the tree, and the tests of its module must turn red there.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "flatter_lib/"
ALLOWED_SURVIVORS = 2

# The tests of each module that faults are drawn from; the doctests of the module itself are always among them.
TESTS = {
    "heavy_ball/modes": "tests/heavy_ball/test_modes.py",
    "heavy_ball/rule": "tests/heavy_ball",
    "heavy_ball/scheduler": "tests/heavy_ball/test_scheduler.py",
    "nqm/exact": "tests/nqm/test_exact.py",
    "nqm/powers": "tests/nqm/test_exact.py tests/nqm/test_crossing.py",
    "nqm/crossing": "tests/nqm/test_crossing.py",
    "nqm/bounds": "tests/nqm/test_bounds.py tests/nqm/test_tuning.py",
    "nqm/descent": "tests/nqm/test_tuning.py tests/nqm/test_schedules.py",
    "nqm/schedules": "tests/nqm/test_schedules.py",
    "nqm/tuning": "tests/nqm/test_tuning.py",
    "nqm/spectrum": "tests/nqm/test_spectrum.py",
    "valleys/scalar": "tests/valleys/test_scalar.py",
    "valleys/_scalar_kernel": "tests/valleys/test_scalar.py",
    "valleys/sensing": "tests/valleys/test_sensing.py tests/valleys/test_problems.py",
    "valleys/diagonal": "tests/valleys/test_diagonal.py tests/valleys/test_problems.py",
    "valleys/teacher": "tests/valleys/test_teacher.py tests/valleys/test_problems.py",
    "valleys/factorization": "tests/valleys/test_ranks.py",
    "valleys/ranks": "tests/valleys/test_ranks.py",
    "valleys/reduced": "tests/valleys/test_reduced.py",
    "ensemble/step": "tests/ensemble",
    "ensemble/draws": "tests/ensemble",
    "ensemble/engine": "tests/ensemble",
    "vision/train": "tests/vision/test_train.py",
    "vision/label_noise": "tests/vision/test_label_noise.py",
    "vision/normalization": "tests/vision/test_normalization.py",
    "vision/measure": "tests/vision/test_measure.py",
    "vision/networks": "tests/vision/test_networks.py",
    "vision/objective": "tests/vision/test_train.py tests/vision/test_ensemble.py",
    "vision/ensemble": "tests/vision/test_ensemble.py",
    "curvature": "tests/test_curvature.py",
    "valleys/flattest": "tests/valleys/test_flattest.py",
    "valleys/diagonal_run": "tests/experiments/test_sparse_recovery.py",
    "valleys/drift": "tests/valleys/test_drift.py",
    "experiments/design": "tests/experiments/test_designs.py tests/experiments/test_configurations.py",
    "experiments/stationary_law": "tests/experiments/test_stationary_law.py",
    "experiments/matrix_sensing": "tests/experiments/test_matrix_sensing.py tests/experiments/test_designs.py",
    "experiments/teacher_student": "tests/experiments/test_teacher_student.py tests/experiments/test_designs.py",
    "experiments/sparse_recovery": "tests/experiments/test_sparse_recovery.py tests/experiments/test_designs.py",
    "experiments/mlp_fashion_mnist": "tests/experiments/test_mlp_fashion_mnist.py tests/experiments/test_designs.py",
    "experiments/resnet_cifar10": "tests/experiments/test_resnet_cifar10.py tests/experiments/test_designs.py",
    "evidence/record": "tests/evidence/test_record.py",
    "evidence/judge": "tests/evidence/test_judge.py tests/evidence/test_records.py",
    "evidence/worker": "tests/evidence/test_sweep.py",
    "stats": "tests/test_stats.py",
    "claims": "tests/test_claims.py",
    "values": "tests/test_values.py",
}


@dataclass(frozen=True)
class Fault:
    """A change of one place: in this module, this text, which stands there once, becomes that."""

    module: str
    old: str
    new: str

    @property
    def file(self) -> str:
        return f"{LIBRARY}{self.module}.py"

    @property
    def tests(self) -> str:
        return f"{self.file} {TESTS[self.module]}"

    def __str__(self) -> str:
        pairs = zip(self.old.splitlines(), self.new.splitlines(), strict=True)
        changed = next((old, new) for old, new in pairs if old != new)
        return f"{self.module}: {' -> '.join(line.strip() for line in changed)}"


FAULTS: tuple[Fault, ...] = (
    Fault(
        "heavy_ball/modes",
        "modulus = np.maximum((0.5 * (np.sqrt(np.abs(a)) + np.sqrt(np.abs(b)))) ** 2, root)",
        "modulus = np.maximum((0.75 * (np.sqrt(np.abs(a)) + np.sqrt(np.abs(b)))) ** 2, root)",
    ),
    Fault(
        "heavy_ball/rule",
        "prefactor = (1.0 - beta) / step**power",
        "prefactor = (1.0 - beta) * step**power",
    ),
    Fault(
        "heavy_ball/scheduler",
        'if group.get("dampening", 0) != 0:',
        'if group.get("dampening", 0) != 1:',
    ),
    Fault(
        "nqm/exact",
        "noise, weight = share * model.noise, share * model.initial",
        "noise, weight = share * model.noise, share / model.initial",
    ),
    Fault("nqm/powers", "decay[0] = coefficient", "decay[1] = coefficient"),
    Fault(
        "nqm/crossing",
        "and _risk(steps[0], power, modes, decay, weight, states) <= target",
        "and _risk(steps[0], power, modes, decay, weight, states) < target",
    ),
    Fault("nqm/bounds", "steep = model.curvature > 0", "steep = model.curvature >= 0"),
    Fault("nqm/descent", "todo = todo[steep.any(axis=-1)]", "todo = todo[steep.any(axis=-2)]"),
    Fault(
        "nqm/schedules",
        "gains[k] = -np.expm1(logarithm) / fall if fall != 0.0 else n",
        "gains[k] = -np.expm1(logarithm) / fall if fall != 1.0 else n",
    ),
    Fault("nqm/tuning", "if modes.weight.sum() <= goal:", "if modes.weight.sum() < goal:"),
    Fault("nqm/spectrum", "kept = nodes // 2", "kept = nodes // 3"),
    Fault(
        "stats",
        "return np.where(quiet > 0, times[np.minimum(times.size - quiet, times.size - 1)], np.nan)[()]",
        "return np.where(quiet > 0, times[np.minimum(times.size + quiet, times.size - 1)], np.nan)[()]",
    ),
    Fault(
        "valleys/scalar",
        ').standard_normal(checks.count("steps", steps, 0))',
        ').standard_normal(checks.count("steps", steps, 1))',
    ),
    Fault(
        "valleys/_scalar_kernel",
        "residual = u * v - (target + label_noise * draws[i, j, 0])",
        "residual = u * v - (target - label_noise * draws[i, j, 0])",
    ),
    Fault(
        "valleys/sensing",
        "return ((of_left @ U) * U).sum((-2, -1)) + ((of_right @ V) * V).sum((-2, -1))",
        "return ((of_left @ U) * U).sum((-2, -1)) + ((of_right @ V) * V).sum((-3, -1))",
    ),
    Fault("valleys/diagonal", "seed: int = 0", "seed: int = 1"),
    Fault("valleys/teacher", "seed: int = 0", "seed: int = 1"),
    Fault(
        "valleys/factorization",
        "return float(np.linalg.norm(_gradient(loss, w.reshape(shape)))) - gradient_below",
        "return float(np.linalg.norm(_gradient(loss, w.reshape(shape)))) + gradient_below",
    ),
    Fault(
        "valleys/ranks",
        "r, q = -np.log1p(-2 * eta * a), -np.log1p(-eta * (a - b))",
        "r, q = -np.log1p(-2 * eta / a), -np.log1p(-eta * (a - b))",
    ),
    Fault(
        "valleys/reduced",
        "dt = 0.03 * kappa.max() ** (-1 / 3)",
        "dt = 0.03 / kappa.max() ** (-1 / 3)",
    ),
    Fault(
        "ensemble/step",
        "self.velocity.addcmul_(self._strength * self.batch, noise)",
        "self.velocity.addcmul_(self._strength / self.batch, noise)",
    ),
    Fault(
        "ensemble/draws",
        "noise = torch.from_numpy(drawn.swapaxes(0, 1).copy()).to(self._device, self._dtype)",
        "noise = torch.from_numpy(drawn.swapaxes(1, 1).copy()).to(self._device, self._dtype)",
    ),
    Fault(
        "ensemble/engine",
        "return runs.reshape(len(chosen), len(settings.lr), *runs.shape[1:]).swapaxes(0, 1)",
        "return runs.reshape(len(chosen), len(settings.lr), *runs.shape[2:]).swapaxes(0, 1)",
    ),
    Fault(
        "vision/train",
        "cause = (str(error).splitlines() or [type(error).__name__])[0]",
        "cause = (str(error).splitlines() or [type(error).__name__])[1]",
    ),
    Fault(
        "vision/label_noise",
        "return (noisy - self.strength / (outputs - 1)) / scale if self.centred else noisy",
        "return (noisy - self.strength / (outputs + 1)) / scale if self.centred else noisy",
    ),
    Fault(
        "vision/normalization",
        "if chunks[-1].shape[0] * input.shape[2] * input.shape[3] == 1:",
        "if chunks[-2].shape[0] * input.shape[2] * input.shape[3] == 1:",
    ),
    Fault(
        "vision/measure",
        "* len(f) for f, y in parts) / len(inputs)",
        "* len(f) for f, y in parts) / CHUNK",
    ),
    Fault(
        "vision/networks",
        "sizes = [inputs, *[width] * (layers - 1), outputs]",
        "sizes = [inputs, *[width] * (layers + 1), outputs]",
    ),
    Fault(
        "vision/objective",
        "return 0.5 * (residual * residual).sum() / len(outputs)",
        "return 0.5 * (residual * residual).sum() * len(outputs)",
    ),
    Fault(
        "vision/ensemble",
        "self.weights.mul_(1 - self._lr * self._decay).addcmul_(self._lr, mean / root, value=-1.0)",
        "self.weights.mul_(1 + self._lr * self._decay).addcmul_(self._lr, mean / root, value=-1.0)",
    ),
    Fault("curvature", "return float(top[0])", "return float(top[1])"),
    Fault(
        "experiments/stationary_law",
        "checks.fields(self, chains=1, looks=1, seed=0)",
        "checks.fields(self, chains=1, looks=1, seed=1)",
    ),
    Fault(
        "valleys/flattest",
        "met = Z - pseudo @ (B @ Z - y)",
        "met = Z + pseudo @ (B @ Z - y)",
    ),
    Fault(
        "experiments/teacher_student",
        "shown = np.unique(np.rint(np.geomspace(1, len(steps) - 1, 24)).astype(int))",
        "shown = np.unique(np.rint(np.geomspace(1, len(steps) + 1, 24)).astype(int))",
    ),
    Fault(
        "valleys/diagonal_run",
        "buffer[j] = momentum * buffer[j] + 2.0 / n * force[j] * v[j]",
        "buffer[j] = momentum * buffer[j] - 2.0 / n * force[j] * v[j]",
    ),
    Fault(
        "stats",
        "settled = np.where(above.any(axis=-1), np.minimum(last, n - 1), 0)",
        "settled = np.where(above.any(axis=-1), np.minimum(last, n - 2), 0)",
    ),
    Fault(
        "experiments/resnet_cifar10",
        "generator=torch.Generator().manual_seed(2000 + c.seed),",
        "generator=torch.Generator().manual_seed(2000 - c.seed),",
    ),
    Fault(
        "evidence/record",
        "return hashlib.sha256(text.encode()).hexdigest()[:16]",
        "return hashlib.sha256(text.encode()).hexdigest()[:17]",
    ),
    Fault("claims", "if len(numbers) == 3:", "if len(numbers) == 4:"),
    Fault("values", "if array.ndim > 2:", "if array.ndim >= 2:"),
)

# No test noticed these, when people looked for such by hand.
FAULTS += (
    Fault(
        "nqm/tuning",
        "if (other.steps, other.excess) < (best.steps, best.excess):",
        "if other.steps < best.steps:",
    ),
    Fault("experiments/stationary_law", "(5 if look == 0 else 1)", "(1 if look == 0 else 1)"),
    Fault(
        "experiments/design",
        "(self.landscape.slow * self.memory**3)",
        "(self.landscape.slow * self.memory**2)",
    ),
    Fault(
        "experiments/resnet_cifar10", '"trace_error": trace.error,', '"trace_error": trace.value,'
    ),
    Fault(
        "evidence/judge",
        "apart <= rule.atol + rule.rtol * np.abs(a)",
        "apart <= rule.atol + 10 * rule.rtol * np.abs(a)",
    ),
    Fault("evidence/worker", 'dtype=cell.get("dtype", "float64"),', 'dtype="float64",'),
    Fault(
        "curvature",
        "for t in totals]) / len(inputs)\n"
        "    return TraceEstimate(float(values.mean()), float(values.std()) / probes**0.5)",
        "for t in totals]) / len(inputs)\n"
        "    return TraceEstimate(float(values.mean()), float(values.std()) / probes)",
    ),
)

# Places whose change is no fault, for the reason given.
NO_FAULTS = {
    "nqm/crossing: if open_ and level > LEAF:": (
        "where an interval is walked through rather than halved decides the time that it takes, not what is found"
    ),
    "nqm/crossing: while open_ and steps[0] < steps[top]:": (
        "a step too many is the first step of the next interval, and taken back where it does not cross"
    ),
    "nqm/crossing: value <= target * CLOSE": (
        "a margin for rounding, at whose edge nothing is decided: the exact risk is looked at next"
    ),
    "nqm/powers: if away < 0.5": "two forms of one number, which meet there",
    "nqm/crossing: if turns[SINGLE, m] and rest_after <": (
        "what an infinity gives is below the bound that there is already"
    ),
    "nqm/schedules: if best.steps < SHORT": "from how many steps on a longer search is not worth its time",
    "valleys/factorization: options={": "more digits of a minimum than are asked for",
    "ensemble/engine: _CACHE": "of the processor: how many runs are made together changes no bit",
    "curvature: gradient = torch.autograd.grad(outputs, leaves, signs[k], retain": "when memory is freed",
    "sweep/worker: seconds=": "digits of a clock",
    "valleys/scalar: return 10 ->": (
        "an estimate of memory: how many runs are made together changes no bit of them, which tests hold"
    ),
    "experiments/stationary_law: steps, momenta = ": (
        "other settings, as good as these: no record and no chapter holds them"
    ),
    'experiments/stationary_law: "': "the same: the settings of the profiles",
    "experiments/matrix_sensing: + _configurations(": (
        "lists have no minus: the module could not even be imported"
    ),
    "experiments/matrix_sensing: for cell in law(": "the same",
}


# Drawing


def drawn(seed: int) -> list[Fault]:
    """One fault a module: its kind is drawn first, then its place."""
    faults = []
    for module in TESTS:
        text = (ROOT / f"{LIBRARY}{module}.py").read_text(encoding="utf-8")
        draw = random.Random(f"{seed} {module}")
        kinds: dict[str, list[Fault]] = {}
        for kind, start, end, new in _places(text):
            fault = _fault(module, text, start, end, new)
            if not str(fault).startswith(tuple(NO_FAULTS)):
                kinds.setdefault(kind, []).append(fault)
        faults.append(draw.choice(kinds[draw.choice(sorted(kinds))]))
    return faults


SWAPS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
# What makes a plus one between lists, which have no minus.
LISTS = (ast.List, ast.ListComp, ast.Slice)
COMPARES = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}


def _places(text: str) -> Iterator[tuple[str, int, int, str]]:
    """Kind, start and end of each place that can be changed, and what to put there."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = text.encode()

    def at(line: int | None, column: int | None) -> int:
        assert line is not None
        assert column is not None
        return len(raw[: starts[line - 1] + column].decode())

    def between(left: ast.expr, right: ast.expr, symbol: str) -> tuple[int, int]:
        end = at(left.end_lineno, left.end_col_offset)
        start = text.index(symbol, end, at(right.lineno, right.col_offset))
        return start, start + len(symbol)

    def visit(node: ast.AST, indexed: bool = False) -> Iterator[tuple[str, int, int, str]]:
        match node:
            case ast.FunctionDef(name="cost"):
                return  # about how many seconds a run takes: said before a sweep, and no measurement
            case ast.BinOp(op=op) if type(op) in SWAPS and not any(
                isinstance(part, LISTS) for part in ast.walk(node)
            ):
                old, new = SWAPS[type(op)]
                kind = "sign" if old in "+-" else "factor"
                yield kind, *between(node.left, node.right, old), new
            case ast.Compare(ops=[op], left=left, comparators=[right]) if type(op) in COMPARES:
                old, new = COMPARES[type(op)]
                yield "comparison", *between(left, right, old), new
            case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
                start = at(node.lineno, node.col_offset)
                yield "sign", start, start + 1, ""
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                start, end = (
                    at(node.lineno, node.col_offset),
                    at(node.end_lineno, node.end_col_offset),
                )
                new = repr(value + 1) if isinstance(value, int) else repr(value * 1.5 or 1.0)
                yield "index" if indexed else "constant", start, end, new
        for name, field in ast.iter_fields(node):
            # Annotations, and the words of messages, are no arithmetic.
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Raise):
                    yield from visit(
                        child, indexed or (isinstance(node, ast.Subscript) and name == "slice")
                    )

    yield from visit(ast.parse(text))


def _fault(module: str, text: str, start: int, end: int, new: str) -> Fault:
    """The change of a place, with as many lines before it as make it the only one."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    while text.count(text[first:last]) > 1:
        first = text.rfind("\n", 0, first - 1) + 1
    return Fault(module, text[first:last], text[first:start] + new + text[end:last])


# Running


def run(faults: list[Fault]) -> int:
    """Put each fault into a copy, run its tests there, and say what became of it."""
    moved = [fault for fault in faults if _count(fault) != 1]
    for fault in moved:
        print(f"moved      {fault}: {_count(fault)} such places", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(2):
            copies.put(_copy(Path(folder) / str(number)))
        with ThreadPoolExecutor(2) as pool:
            suites = sorted({fault.tests for fault in faults if fault not in moved})
            print(f"{len(suites)} sets of tests, first without a fault", flush=True)
            seconds: dict[str, float] = {}
            for suite, (caught, took) in _each(pool, copies, suites, _tested):
                seconds[suite] = took
                if caught:
                    print(f"red without a fault: {suite}: {caught}", flush=True)
                    del seconds[suite]
            waiting = [fault for fault in faults if fault.tests in seconds and fault not in moved]
            left = sum(seconds[fault.tests] for fault in waiting)
            survived = []

            def tried(copy: Path, fault: Fault) -> tuple[str, float]:
                return _tried(copy, fault, 3 * seconds[fault.tests] + 120)

            for fault, (caught, _) in _each(pool, copies, waiting, tried):
                left -= seconds[fault.tests]
                if not caught:
                    survived.append(fault)
                how = "caught   " if caught else "SURVIVED "
                after = f"  ({caught})" if caught else ""
                print(f"{how}  {fault}{after}  about {left / 120:.0f} min left", flush=True)
    caught_in_all = len(waiting) - len(survived)
    print(f"{caught_in_all} of {len(faults)} faults caught")
    for fault in faults:
        if fault not in waiting or fault in survived:
            print(f"  {'survived' if fault in survived else 'not tried'}: {fault}")
    return int(len(faults) - caught_in_all > ALLOWED_SURVIVORS)


def _each(
    pool: ThreadPoolExecutor,
    copies: queue.Queue[Path],
    tasks: list[T],
    work: Callable[[Path, T], R],
) -> Iterator[tuple[T, R]]:
    """Each task with what came of it, in the order in which they end; each has a copy to itself."""

    def alone(task: T) -> R:
        copy = copies.get()
        try:
            return work(copy, task)
        finally:
            copies.put(copy)

    futures = {pool.submit(alone, task): task for task in tasks}
    for future in as_completed(futures):
        yield futures[future], future.result()


def _count(fault: Fault) -> int:
    return (ROOT / fault.file).read_text(encoding="utf-8").count(fault.old)


def _copy(to: Path) -> Path:
    """A copy of what the tests need, which Python imports in place of the installed library."""
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "_build")
    shutil.copytree(ROOT, to, ignore=skip)
    asked = [sys.executable, "-c", "import flatter_lib; print(flatter_lib.__file__)"]
    where = subprocess.run(
        asked, cwd=to, env=_environment(to), capture_output=True, text=True, check=True
    )
    if not Path(where.stdout.strip()).is_relative_to(to):
        sys.exit(f"mutants: Python imports {where.stdout.strip()}, not the copy with the fault")
    return to


def _environment(copy: Path) -> dict[str, str]:
    # No compiled code outlives its source: a fault that is as long as the text before it would not be noticed.
    compiled = {"PYTHONDONTWRITEBYTECODE": "1", "FLATTER_CACHE": str(copy / ".cache")}
    return os.environ | compiled | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}


def _tried(copy: Path, fault: Fault, limit: float) -> tuple[str, float]:
    """What catches a fault, or the empty text, and seconds."""
    file = copy / fault.file
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        return _tested(copy, fault.tests, limit)
    finally:
        file.write_text(text, encoding="utf-8")


def _tested(copy: Path, suite: str, limit: float = 1800) -> tuple[str, float]:
    """The first failure of a set of tests, or the empty text, and seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--color=no"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, "-rfE", *shlex.split(suite)],
            cwd=copy,
            env=_environment(copy),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"not done after {limit:.0f} s", limit
        output.seek(0)
        said = output.read()
    first = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", said, re.MULTILINE)
    what = "" if status == 0 else first[1] if first else f"status {status}: {said[-200:]}"
    return what, time.monotonic() - start


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="draw other faults, one a module")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these, by their number")
    parser.add_argument("--list", action="store_true", help="say what they are, and try none")
    chosen = parser.parse_args()
    faults = list(FAULTS) if chosen.seed is None else drawn(chosen.seed)
    numbers = chosen.only or range(1, len(faults) + 1)
    if chosen.list:
        for number in numbers:
            print(f"{number:2} {faults[number - 1]}")
        return 0
    return run([faults[number - 1] for number in numbers])


if __name__ == "__main__":
    sys.exit(main())
