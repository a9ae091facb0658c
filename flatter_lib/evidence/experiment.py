"""What an experiment is, and finding one by its name.

An experiment is a module: ``Configuration``, a frozen dataclass whose fields are numbers, texts, truth values or None;
``PROFILES``, those of ``smoke``, ``laptop`` and ``paper``, perhaps of others; ``cost(configuration)``, the seconds that
a run takes on one core of a laptop, about; and ``run(configuration)``, which returns what was measured by name. Where
many runs cost little more than one, it has ``batch(configuration)`` instead, which returns a key, and
``run_many(configurations)``, which makes up to ``TOGETHER`` runs of equal keys in one pass and returns what was
measured of each. What a run gives must depend on its configuration alone, not on its company, so its seed, if it has
one, is a field called ``seed``. Fields called ``device`` and ``dtype`` say where it runs and in which precision;
without them it is ``cpu`` and ``float64``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatter_lib import experiments, fingerprint
from flatter_lib.evidence.record import configuration_of, key

PROFILES = ("smoke", "laptop", "paper")
#: Finds and decodes images. A run names its data by the hash of their content, so it matters to no result how they
#: came here.
UNCOUNTED = "flatter_lib.vision.data"
#: Runs of equal ``batch`` that are made in one pass, where an experiment does not say.
TOGETHER = 8


class SweepError(Exception):
    """Something that stops a sweep; the message is one line that says what to do."""


class UnknownError(SweepError):
    """There is no such experiment or profile."""


@dataclass(frozen=True)
class Experiment:
    """An experiment's module, and what its records and commands call it."""

    name: str
    module: Any

    def configurations(self, profile: str) -> dict[str, Any]:
        """The configurations of a profile by their keys, each once.

        Raises:
            UnknownError: if there is no such profile.
            SweepError: if a configuration holds what a record cannot.
        """
        if profile not in (known := self.module.PROFILES):
            raise UnknownError(f"no profile {profile!r}; there are {', '.join(known)}")
        try:
            return {key(self.name, configuration_of(c)): c for c in self.module.PROFILES[profile]}
        except ValueError as error:
            raise SweepError(f"{self.name}: {error}") from None

    def source(self) -> str:
        """The hash of the code that a run is computed with: its module and what that uses of this library.

        Except for what finds and decodes images: runs name their data by the hash of their content.

        Raises:
            SweepError: if some of that code is not Python.
        """
        module = self.module.__name__
        tops = {module.partition(".")[0], "flatter_lib"}
        places = {top: Path(next(iter(sys.modules[top].__path__))) for top in tops}
        try:
            used = fingerprint.closure(places, [module])
        except SyntaxError as error:
            file = Path(str(error.filename)).name
            raise SweepError(f"{file}, line {error.lineno}: not Python: {error.msg}") from None
        return fingerprint.digest(
            {name: v for name, v in used.items() if not f"{name}.".startswith(f"{UNCOUNTED}.")}
        )

    def commit(self) -> str:
        """The commit of the checkout that the module is in, if it is in one."""
        return fingerprint.commit(Path(self.module.__file__).parent)


def measured(module: Any, configurations: Sequence[Any]) -> list[Mapping[str, Any]]:
    """What an experiment's module measures of configurations, in one pass if it can."""
    if hasattr(module, "run_many"):
        return list(module.run_many(configurations))
    return [module.run(configuration) for configuration in configurations]


def names() -> list[str]:
    """The experiments of the book."""
    found = {module.name for module in pkgutil.iter_modules(experiments.__path__)}
    return sorted(name for name in found - {"design"} if not name.startswith("_"))


def find(name: str) -> Experiment:
    """An experiment of the book, or with a dotted name the one in that module.

    Raises:
        UnknownError: if there is none; the message names the nearest.
        SweepError: if the module is not an experiment.
    """
    dotted = name if "." in name else f"{experiments.__name__}.{name}"
    try:
        if not all(part.isidentifier() for part in dotted.split(".")):
            raise ModuleNotFoundError(name=dotted)
        module: Any = importlib.import_module(dotted)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{dotted}.".startswith(f"{error.name}."):
            near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4) or names()
            raise UnknownError(
                f"no experiment {name!r}; did you mean {' or '.join(near)}? (`flatter results` lists them)"
            ) from None
        raise SweepError(f"{dotted} cannot be imported: {type(error).__name__}: {error}") from error
    run = ("batch", "run_many") if hasattr(module, "batch") else ("run",)
    wanted = ("Configuration", "PROFILES", "cost", *run)
    if missing := [part for part in wanted if not hasattr(module, part)]:
        raise SweepError(f"{dotted} is no experiment: it has no {', '.join(missing)}")
    if not dataclasses.is_dataclass(module.Configuration):
        raise SweepError(f"{dotted} is no experiment: its Configuration is no dataclass")
    if not isinstance(module.PROFILES, Mapping) or not set(module.PROFILES) >= set(PROFILES):
        raise SweepError(f"{dotted}: its PROFILES must be {', '.join(PROFILES)}")
    return Experiment(name, module)
