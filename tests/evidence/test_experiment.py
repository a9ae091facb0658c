"""Every experiment of the book is one; what is wrong with others is said in a line."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flatter_lib.evidence.experiment import PROFILES, SweepError, UnknownError, find, names


@pytest.mark.parametrize("name", names())
def test_the_experiments_of_the_book(name: str) -> None:
    experiment = find(name)
    module = experiment.module
    assert module.Configuration.__dataclass_params__.frozen
    for profile in PROFILES:
        configurations = experiment.configurations(profile)
        assert configurations, f"{profile} is empty"
        assert len(configurations) == len(module.PROFILES[profile]), "one stands there twice"
        assert all(isinstance(c, module.Configuration) for c in configurations.values())
        assert all(module.cost(c) > 0 for c in configurations.values())
    assert sum(map(module.cost, module.PROFILES["smoke"])) < 60


def test_an_unknown_name() -> None:
    with pytest.raises(
        UnknownError, match="no experiment 'stationary_lav'; did you mean stationar"
    ):
        find("stationary_lav")
    for name in (
        "no.such",
        ".",
        "..",
        "",
        ".x",
        "x.",
        "a/b.py",
        "[/b]",
        "os.path.nothing",
        "café.\n",
    ):
        said = rf"no experiment {re.escape(repr(name))}; did you mean "
        with pytest.raises(UnknownError, match=said):
            find(name)
    with pytest.raises(UnknownError, match="no profile 'huge'; there are smoke, laptop, paper"):
        find("stationary_law").configurations("huge")


SOUND = """\
from dataclasses import dataclass

@dataclass(frozen=True)
class Configuration:
    number: int

PROFILES = {"smoke": [], "laptop": [], "paper": []}

def run(configuration):
    from flatter_lib import heavy_ball

def cost(configuration):
    return 1.0
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of a text, and gives its dotted name."""
    (tmp_path / "odd").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(text: str) -> str:
        written.append(f"number_{len(written)}")
        (tmp_path / "odd" / f"{written[-1]}.py").write_text(text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "odd"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return f"odd.{written[-1]}"

    return write


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def cost", "def price", "is no experiment: it has no cost$"),
        ("def run", "batch = hash\ndef run", "is no experiment: it has no run_many$"),
        ("@dataclass(frozen=True)", "", "is no experiment: its Configuration is no dataclass$"),
        ('"paper"', '"papers"', "its PROFILES must be smoke, laptop, paper$"),
        (
            '{"smoke": [], "laptop": [], "paper": []}',
            "3",
            "its PROFILES must be smoke, laptop, pap",
        ),
        (
            "def run",
            "import nowhere\ndef run",
            "cannot be imported: ModuleNotFoundError: No module",
        ),
        ("def run", "1 / 0\ndef run", "cannot be imported: ZeroDivisionError: division by zero$"),
        ("def run", "def", r"cannot be imported: SyntaxError: .*number_0\.py, line 9\)$"),
    ],
)
def test_a_module_that_is_no_experiment(
    module: Callable[[str], str], old: str, new: str, said: str
) -> None:
    with pytest.raises(SweepError, match=said) as caught:
        find(module(SOUND.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_a_configuration_that_no_record_holds(module: Callable[[str], str]) -> None:
    experiment = find(module(SOUND.replace('"smoke": []', '"smoke": [Configuration({})]')))
    with pytest.raises(SweepError, match="number: a configuration holds numbers, texts"):
        experiment.configurations("smoke")


def test_the_source_is_that_of_all_that_a_run_uses(module: Callable[[str], str]) -> None:
    first = find(module(SOUND)).source()
    assert first == find("odd.number_0").source()
    assert find(module(SOUND.replace("heavy_ball", "stats"))).source() != first
    assert find(module(SOUND.replace("1.0", "2.0"))).source() != first


def test_how_images_are_found_matters_to_no_run(
    module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {"flatter_lib.vision": "a", "flatter_lib.vision.data.copies": "b"}
    monkeypatch.setattr("flatter_lib.fingerprint.closure", lambda *_: used)
    experiment = find(module(SOUND))
    before = experiment.source()
    used["flatter_lib.vision.data.copies"] = "c"
    assert experiment.source() == before
    used["flatter_lib.vision"] = "c"
    assert experiment.source() != before
