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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "flatter_lib/"
ALLOWED_SURVIVORS = 2

# The tests of a module that faults are drawn from, where they are not in the file of its name; the doctests of the
# module itself are always among them.
OTHER_TESTS = {
    "heavy_ball/rule": "tests/heavy_ball",
    "nqm/powers": "tests/nqm/test_exact.py tests/nqm/test_crossing.py",
    "nqm/bounds": "tests/nqm/test_bounds.py tests/nqm/test_tuning.py",
    "nqm/descent": "tests/nqm/test_tuning.py tests/nqm/test_schedules.py",
    "nqm/pieces": "tests/nqm/test_schedules.py",
    "valleys/_scalar_kernel": "tests/valleys/test_scalar.py",
    "valleys/sensing": "tests/valleys/test_sensing.py tests/valleys/test_problems.py",
    "valleys/diagonal": "tests/valleys/test_diagonal.py tests/valleys/test_problems.py",
    "valleys/teacher": "tests/valleys/test_teacher.py tests/valleys/test_problems.py",
    "valleys/factorization": "tests/valleys/test_ranks.py",
    "ensemble/step": "tests/ensemble",
    "ensemble/draws": "tests/ensemble",
    "ensemble/engine": "tests/ensemble",
    "vision/checkpoint": "tests/vision/test_checkpoint.py tests/vision/test_train.py",
    "vision/chain": "tests/vision/test_ensemble.py",
    "vision/objective": "tests/vision/test_train.py tests/vision/test_ensemble.py",
    "valleys/diagonal_run": "tests/experiments/test_sparse_recovery.py",
    "valleys/drift": "tests/valleys/test_drift.py",
    "experiments/design": "tests/experiments/test_designs.py tests/experiments/test_configurations.py",
    "experiments/matrix_sensing": "tests/experiments/test_matrix_sensing.py tests/experiments/test_designs.py",
    "experiments/teacher_student": "tests/experiments/test_teacher_student.py tests/experiments/test_designs.py",
    "experiments/sparse_recovery": "tests/experiments/test_sparse_recovery.py tests/experiments/test_designs.py",
    "experiments/mlp_fashion_mnist": "tests/experiments/test_mlp_fashion_mnist.py tests/experiments/test_designs.py",
    "experiments/resnet_cifar10": "tests/experiments/test_resnet_cifar10.py tests/experiments/test_designs.py",
    "evidence/judge": "tests/evidence/test_judge.py tests/evidence/test_records.py",
    "evidence/worker": "tests/evidence/test_sweep.py",
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
        folder, _, name = self.module.rpartition("/")
        return (
            f"{self.file} {OTHER_TESTS.get(self.module, Path('tests', folder, f'test_{name}.py'))}"
        )

    def __str__(self) -> str:
        pairs = zip(self.old.splitlines(), self.new.splitlines(), strict=False)
        changed = next((old, new) for old, new in pairs if old != new)
        return f"{self.module}: {' -> '.join(line.strip() for line in changed)}"


PLACES: tuple[tuple[str, str, str], ...] = (
    ("heavy_ball/modes", "np.maximum((0.5 * (np.sqrt", "np.maximum((0.75 * (np.sqrt"),
    ("heavy_ball/rule", "1.0 - beta) / step**power", "1.0 - beta) * step**power"),
    ("heavy_ball/scheduler", '("dampening", 0) != 0:', '("dampening", 0) != 1:'),
    ("nqm/exact", "share * model.initial", "share / model.initial"),
    ("nqm/powers", "decay[0] = coefficient", "decay[1] = coefficient"),
    (
        "nqm/crossing",
        "0], power, modes, decay, weight, states) <= target",
        "0], power, modes, decay, weight, states) < target",
    ),
    ("nqm/bounds", "steep = model.curvature > 0", "steep = model.curvature >= 0"),
    ("nqm/descent", "todo[steep.any(axis=-1)]", "todo[steep.any(axis=-2)]"),
    ("nqm/pieces", "fall if fall != 0.0 else n", "fall if fall != 1.0 else n"),
    ("nqm/tuning", "if modes.weight.sum() <= goal:", "if modes.weight.sum() < goal:"),
    ("nqm/spectrum", "    kept = nodes // 2", "    kept = nodes // 3"),
    ("stats", "np.minimum(times.size - quiet,", "np.minimum(times.size + quiet,"),
    ("valleys/scalar", '"steps", steps, 0))', '"steps", steps, 1))'),
    ("valleys/_scalar_kernel", "(target + label_noise *", "(target - label_noise *"),
    ("valleys/sensing", "@ V) * V).sum((-2, -1))", "@ V) * V).sum((-3, -1))"),
    ("valleys/diagonal", "    seed: int = 0", "    seed: int = 1"),
    ("valleys/teacher", "    seed: int = 0", "    seed: int = 1"),
    ("valleys/factorization", "shape)))) - gradient_below", "shape)))) + gradient_below"),
    ("valleys/ranks", "-2 * eta * a), -np.log1p", "-2 * eta / a), -np.log1p"),
    ("valleys/reduced", "0.03 * kappa.max()", "0.03 / kappa.max()"),
    ("ensemble/step", "self._strength * self.batch", "self._strength / self.batch"),
    ("ensemble/draws", "drawn.swapaxes(0, 1)", "drawn.swapaxes(1, 1)"),
    ("ensemble/engine", ", *runs.shape[1:]).swapaxes", ", *runs.shape[2:]).swapaxes"),
    ("vision/chain", "out=self._loss).mul_(0.5 / x", "out=self._loss).mul_(0.5 * x"),
    ("vision/checkpoint", "type(error).__name__])[0]", "type(error).__name__])[1]"),
    ("vision/label_noise", "self.strength / (outputs - 1)", "self.strength / (outputs + 1)"),
    ("vision/normalization", "if chunks[-1].shape[0]", "if chunks[-2].shape[0]"),
    ("vision/measure", "in parts) / len(inputs)", "in parts) / CHUNK"),
    ("vision/networks", "[width] * (layers - 1)", "[width] * (layers + 1)"),
    ("vision/objective", ").sum() / len(outputs)", ").sum() * len(outputs)"),
    ("vision/ensemble", "mul_(1 - self._lr * self._decay)", "mul_(1 + self._lr * self._decay)"),
    ("vision/table_one", "math.sqrt(2 / (9 * before))", "math.sqrt(2 / (10 * before))"),
    ("text/transformer", ".triu(1)", ".triu(2)"),
    ("kfac", "1 - 1 / (self._observed + 1)", "1 - 1 / (self._observed + 2)"),
    ("curvature", "return float(top[0])", "return float(top[1])"),
    ("experiments/stationary_law", "chains=1, looks=1, seed=0)", "chains=1, looks=1, seed=1)"),
    ("valleys/flattest", "met = Z - pseudo @", "met = Z + pseudo @"),
    ("experiments/teacher_student", ", len(steps) - 1, 24))", ", len(steps) + 1, 24))"),
    ("valleys/diagonal_run", "momentum * buffer[j] + 2.0 / n", "momentum * buffer[j] - 2.0 / n"),
    ("stats", "np.minimum(last, n - 1), 0)", "np.minimum(last, n - 2), 0)"),
    ("experiments/resnet_cifar10", "manual_seed(2000 + c.seed)", "manual_seed(2000 - c.seed)"),
    ("evidence/record", ".hexdigest()[:16]", ".hexdigest()[:17]"),
    ("claims", "if high < least or low > most:", "if high <= least or low > most:"),
    ("values", "if array.ndim > 2:", "if array.ndim >= 2:"),
    # No test noticed these, when people looked for such by hand.
    (
        "nqm/tuning",
        "(other.steps, other.excess) < (best.steps, best.excess)",
        "other.steps < best.steps",
    ),
    ("experiments/stationary_law", "(5 if look == 0 else 1)", "(1 if look == 0 else 1)"),
    (
        "experiments/design",
        "self.landscape.slow * self.memory**3)",
        "self.landscape.slow * self.memory**2)",
    ),
    ("experiments/resnet_cifar10", 'trace_error": trace.error,', 'trace_error": trace.value,'),
    ("evidence/judge", "rule.atol + rule.rtol", "rule.atol + 10 * rule.rtol"),
    ("evidence/worker", 'cell.get("dtype", "float64")', '"float64"'),
    ("curvature", "values.std()) / probes**0.5)", "values.std()) / probes)"),
)
FAULTS = [Fault(*place) for place in PLACES]

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
    "experiments/stationary_law: steps, momenta = ": (
        "other settings, as good as these: no record and no chapter holds them"
    ),
    'experiments/stationary_law: "': "the same: the settings of the profiles",
    "experiments/matrix_sensing: + _configurations(": (
        "lists have no minus: the module could not even be imported"
    ),
    "experiments/matrix_sensing: for cell in law(": "the same",
}

SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARES = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
# What makes a plus one between lists, which have no minus.
LISTS = (ast.List, ast.ListComp, ast.Slice)


def drawn(seed: int) -> list[Fault]:
    """One fault a module: its kind is drawn first, then its place."""
    faults = []
    for module in sorted({*OTHER_TESTS, *(fault.module for fault in FAULTS)}):
        text = (ROOT / f"{LIBRARY}{module}.py").read_text(encoding="utf-8")
        kinds: dict[str, list[Fault]] = {}
        for kind, node, new in _places(ast.parse(text)):
            fault = _fault(module, text, node, new)
            if not str(fault).startswith(tuple(NO_FAULTS)):
                kinds.setdefault(kind, []).append(fault)
        draw = random.Random(f"{seed} {module}")
        faults.append(draw.choice(kinds[draw.choice(sorted(kinds))]))
    return faults


def _places(node: ast.AST, indexed: bool = False) -> Iterator[tuple[str, ast.expr, str]]:
    """Kind and expression of each place that can be changed, and what to put there."""
    match node:
        case ast.FunctionDef(name="cost"):
            return  # about how many seconds a run takes: said before a sweep, and no measurement
        case ast.BinOp(left, op, right) if type(op) in SWAPS and not any(
            isinstance(part, LISTS) for part in ast.walk(node)
        ):
            kind = "sign" if isinstance(op, ast.Add | ast.Sub) else "factor"
            yield kind, node, ast.unparse(ast.BinOp(left, SWAPS[type(op)](), right))
        case ast.Compare(left, [op], right) if type(op) in COMPARES:
            yield "comparison", node, ast.unparse(ast.Compare(left, [COMPARES[type(op)]()], right))
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield "sign", node, ast.unparse(operand)
        case ast.Constant(bool()):
            pass
        case ast.Constant(int() | float() as value):
            new = value + 1 if isinstance(value, int) else value * 1.5 or 1.0
            yield "index" if indexed else "constant", node, repr(new)
    for name, field in ast.iter_fields(node):
        # Annotations, and the words of messages, are no arithmetic.
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Raise):
                inside = isinstance(node, ast.Subscript) and name == "slice"
                yield from _places(child, indexed or inside)


def _fault(module: str, text: str, node: ast.expr, new: str) -> Fault:
    """The change of an expression, with as many lines before it as make it the only one."""
    lines = text.encode().splitlines(keepends=True)

    def at(line: int | None, column: int | None) -> int:
        return len((b"".join(lines[: (line or 1) - 1]) + lines[(line or 1) - 1][:column]).decode())

    start, end = at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    while text.count(text[first:last]) > 1:
        first = text.rfind("\n", 0, first - 1) + 1
    return Fault(module, text[first:last], text[first:start] + new + text[end:last])


def run(faults: list[Fault]) -> int:
    """Put each fault into a copy, run its tests there, and say what became of it."""
    suites: dict[str, list[Fault]] = {}
    for fault in faults:
        suites.setdefault(fault.tests, []).append(fault)
    became: dict[Fault, str] = {}
    copies: queue.Queue[Path] = queue.Queue()

    def tried(suite: str) -> None:
        """The faults of a set of tests, which must be green without them."""
        copy = copies.get()
        red, seconds = _tested(copy, suite)
        for fault in suites[suite]:
            found = (
                f"not tried: red without a fault: {red}" if red else _tried(copy, fault, seconds)
            )
            became[fault] = found
            print(f"{len(became)} of {len(faults)}: {found}: {fault}", flush=True)
        copies.put(copy)

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(2) as pool:
        for number in range(2):
            copies.put(_copy(Path(folder) / str(number)))
        list(pool.map(tried, suites))
    others = [fault for fault in faults if not became[fault].startswith("caught")]
    print(f"{len(faults) - len(others)} of {len(faults)} faults caught")
    for fault in others:
        print(f"  {became[fault]}: {fault}")
    return int(len(others) > ALLOWED_SURVIVORS)


def _copy(to: Path) -> Path:
    """A copy of what the tests need, which Python imports in place of the installed library."""
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "_build")
    shutil.copytree(ROOT, to, ignore=skip)
    asked = [sys.executable, "-c", "import flatter_lib; print(flatter_lib.__file__)"]
    where = subprocess.check_output(asked, cwd=to, env=_environment(to), text=True).strip()
    if not Path(where).is_relative_to(to):
        sys.exit(f"mutants: Python imports {where}, not the copy with the fault")
    return to


def _environment(copy: Path) -> dict[str, str]:
    # No compiled code outlives its source: a fault that is as long as the text before it would not be noticed.
    compiled = {"PYTHONDONTWRITEBYTECODE": "1", "FLATTER_CACHE": str(copy / ".cache")}
    return os.environ | compiled | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}


def _tried(copy: Path, fault: Fault, seconds: float) -> str:
    """What becomes of a fault whose tests take so many seconds without it."""
    file = copy / fault.file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        return f"not tried: moved, {text.count(fault.old)} such places"
    try:
        file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        caught, _ = _tested(copy, fault.tests, 3 * seconds + 120)
    finally:
        file.write_text(text, encoding="utf-8")
    return f"caught ({caught})" if caught else "SURVIVED"


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
