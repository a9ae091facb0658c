"""What an experiment is, and finding one by its name.

An experiment is a module: ``Configuration``, a frozen dataclass whose fields are numbers, texts, truth values, None or
tuples of them; ``PROFILES``, the configurations of ``smoke``, ``laptop`` and ``paper``; ``run(configuration)``, which
returns what was measured by name; and ``cost(configuration)``, the seconds that takes on one core of a laptop, about.
Where many runs cost little more than one, ``batch(configuration)`` returns a key and ``run_many(configurations)`` makes
up to ``TOGETHER`` (default 8) runs of equal keys in one pass, and returns what was measured of each. What a run gives
must depend on its configuration alone, not on its company, so its seed, if it has one, is a field called ``seed``.
Fields called ``device`` and ``dtype`` say where it runs and in which precision; without them it is ``cpu`` and
``float64``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
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
    """An experiment's module, and what it is called.

    Attributes:
        name: what its records and commands call it.
        module: dotted name of the module.
        type: the configurations' type.
        run: makes one run.
        cost: estimates how long that takes, in seconds on one core.
        profiles: name -> configurations.
        batch: configurations with equal keys can be made together; None if each is made alone.
        run_many: makes runs of equal keys.
        together: how many at most.
    """

    name: str
    module: str
    type: type[Any]
    run: Callable[[Any], Mapping[str, Any]]
    cost: Callable[[Any], float]
    profiles: Mapping[str, Sequence[Any]]
    batch: Callable[[Any], Hashable] | None
    run_many: Callable[[Sequence[Any]], Sequence[Mapping[str, Any]]]
    together: int

    def configurations(self, profile: str) -> dict[str, Any]:
        """The configurations of a profile by their keys, each once.

        Raises:
            UnknownError: if there is no such profile.
            SweepError: if a configuration holds what a record cannot.
        """
        if profile not in self.profiles:
            raise UnknownError(f"no profile {profile!r}; there are {', '.join(self.profiles)}")
        try:
            return {key(self.name, configuration_of(c)): c for c in self.profiles[profile]}
        except ValueError as error:
            raise SweepError(f"{self.name}: {error}") from None

    def source(self) -> str:
        """The hash of the code that a run is computed with: its module and what that uses of this library.

        Except for what finds and decodes images: runs name their data by the hash of their content.

        Raises:
            SweepError: if some of that code is not Python.
        """
        tops = {self.module.partition(".")[0], "flatter_lib"}
        try:
            used = fingerprint.closure({top: _place(top) for top in tops}, [self.module])
        except SyntaxError as error:
            file = Path(str(error.filename)).name
            raise SweepError(f"{file}, line {error.lineno}: not Python: {error.msg}") from None
        counted = {
            name: content
            for name, content in used.items()
            if not f"{name}.".startswith(f"{UNCOUNTED}.")
        }
        return fingerprint.digest(counted)

    def commit(self) -> str:
        """The commit of the checkout that the module is in, if it is in one."""
        return fingerprint.commit(Path(str(sys.modules[self.module].__file__)).parent)


def names() -> list[str]:
    """The experiments of the book."""
    found = {module.name for module in pkgutil.iter_modules(experiments.__path__)}
    return sorted(found - {"design"})


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
        module = importlib.import_module(dotted)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{dotted}.".startswith(f"{error.name}."):
            near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4) or names()
            raise UnknownError(
                f"no experiment {name!r}; did you mean {' or '.join(near)}? (`flatter results` lists them)"
            ) from None
        raise SweepError(f"{dotted} cannot be imported: {type(error).__name__}: {error}") from error
    wanted = ("Configuration", "PROFILES", "run", "cost")
    if missing := [part for part in wanted if not hasattr(module, part)]:
        raise SweepError(f"{dotted} is no experiment: it has no {', '.join(missing)}")
    kind: type[Any] = module.Configuration
    if not dataclasses.is_dataclass(kind):
        raise SweepError(f"{dotted} is no experiment: its Configuration is no dataclass")
    if not isinstance(module.PROFILES, Mapping) or set(module.PROFILES) != set(PROFILES):
        raise SweepError(f"{dotted}: its PROFILES must be {', '.join(PROFILES)}")
    batch, many = getattr(module, "batch", None), getattr(module, "run_many", None)
    if (batch is None) != (many is None):
        raise SweepError(f"{dotted}: batch and run_many go together, and it has only one of them")
    together = getattr(module, "TOGETHER", TOGETHER)
    if not isinstance(together, int) or together < 1:
        raise SweepError(f"{dotted}: TOGETHER must be a whole number from 1 on, got {together!r}")
    return Experiment(
        name,
        dotted,
        kind,
        module.run,
        module.cost,
        dict(module.PROFILES),
        batch,
        many or (lambda configurations: [module.run(c) for c in configurations]),
        together,
    )


def _place(package: str) -> Path:
    """The folder of a top-level package."""
    return Path(next(iter(sys.modules[package].__path__)))
