"""Sources: what a parameters cell declares, what may be given in its place, and what is refused."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext.cli
import nbformat
import pytest
import yaml
from nbformat import NotebookNode

from flatter_lib.publish import sources
from flatter_lib.publish.project import BookError, Chapter, Project


def notebook(*cells: str, **front_matter: Any) -> NotebookNode:
    """A notebook whose cells are all tagged as parameters."""
    made = nbformat.v4.new_notebook(metadata={"flatter": front_matter})
    made.cells = [
        nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]}) for cell in cells
    ]
    return made


def declared(cell: str) -> sources.Parameter:
    (parameter,) = sources.parameters(notebook(cell))
    return parameter


def test_every_parameter_of_a_source_is_read_with_type_default_and_help(toy: Chapter) -> None:
    assert sources.parameters(sources.read(toy)) == [
        sources.Parameter("runs", "int", 8, "how many runs"),
        sources.Parameter("rate", "float", 1e-3, "the step size"),
        sources.Parameter("name", "str", "a # b", "what it is called"),
        sources.Parameter("loud", "bool", False, ""),
        sources.Parameter("rates", "list[float]", [0.1, 0.2], "several # rates"),
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('x: "int" = 3', ("int", 3, "")),
        ("x: 'list[float]' = [1, 2]  # two", ("list[float]", [1.0, 2.0], "two")),
        ("x: str = '''a\n# b'''  # after the last line", ("str", "a\n# b", "after the last line")),
        ("x: float = -1e-3", ("float", -1e-3, "")),
        ("x: list[float] = [\n    0.1,  # inside\n    0.2,\n]  # of all", ("list[float]", [0.1, 0.2], "of all")),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_python(cell: str, expected: tuple[str, Any, str]) -> None:
    parameter = declared(cell)
    assert (parameter.kind, parameter.default, parameter.help) == expected
    assert type(parameter.default) is type(expected[1])


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x = 3", "line 1: write `name: type = literal"),
        ("y: int = 1\nx: int", "line 2: write"),
        ("x: int = 1\nprint(x)", "line 2: write"),
        ("a.x: int = 1", "line 1: write"),
        ("x: int = 1.5", "x is not a literal of type int"),
        ("x: complex = 1j", "x is not a literal of type complex"),
        ("x: list[int] = [1, 'a']", "x is not a literal of type list"),
        ("y: int = 1\nx: int = = 1", "line 2: not Python"),
        ("%matplotlib inline\nx: int = 1", "line 1: not Python"),
    ],
)
def test_a_misformed_cell_is_refused_with_its_place(cell: str, message: str) -> None:
    with pytest.raises(BookError, match="parameters cell") as refused:
        sources.parameters(notebook(cell))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_parameters_cells_are_refused_and_none_is_fine() -> None:
    with pytest.raises(BookError, match="more than one cell is tagged parameters"):
        sources.parameters(notebook("x: int = 1", "y: int = 1"))
    assert sources.parameters(notebook()) == []


@pytest.mark.parametrize("item", ["010", "1e-3", "on", "1:30", "2024-01-01", ".inf", "~", "8"])
def test_a_file_means_what_typing_means(tmp_path: Path, item: str) -> None:
    for text in (item, f"[{item}]"):
        (tmp_path / "own.yml").write_text(f"x: {text}")
        (given,) = sources.given(tmp_path / "own.yml").values()
        assert given == yaml.load(text, yaml.BaseLoader)


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        ("int", {"8": 8, " +8 ": 8, "-8": -8}, ["", "1.5", "010", "0x10", "1_0", "1:30", "\u0661", True, 1.0, None]),
        ("float", {"1e-3": 1e-3, "1": 1.0, ".5": 0.5}, ["", "inf", ".nan", "1e999", "010.5", ".", True, float("nan")]),
        ("bool", {"true": True, "FALSE": False}, ["", "1", 1, None, "yes", "on"]),
        ("str", {"": "", "8": "8", "010": "010", "a=b": "a=b"}, [8, True, None, ["a"]]),
        ("list[int]", {"[1, 2]": [1, 2]}, ["1", "[1, 2.5]", "[010]", "[1, {a: 1}]", "[1", "[" * 2000, None]),
        ("list[float]", {"[0, 1e-3]": [0.0, 1e-3], "[]": []}, ["0.5", "[.inf]", "[true]", [[0.5]]]),
        ("list[bool]", {"[true, False]": [True, False]}, ["[1]", [1]]),
        ("list[str]", {"[1, on, 010]": ["1", "on", "010"]}, ["[[a]]", "a"]),
    ],
)  # fmt: skip
def test_what_is_given_becomes_the_parameters_type_or_is_refused_with_an_example(
    kind: str, taken: dict[str, Any], refused: list[Any]
) -> None:
    parameter = sources.Parameter("x", kind, None, "")
    for text, value in taken.items():
        assert repr(parameter.convert(text)) == repr(value)
    for given in refused:
        with pytest.raises(BookError) as error:
            parameter.convert(given)
        assert f"x={given}: x takes a value of type {kind}, like None" in str(error.value)


def test_settings_are_what_differs_from_the_published_values(toy: Chapter) -> None:
    source = sources.read(toy)
    assert sources.settings(source) == {}
    assert sources.settings(source, "laptop", {"runs": "8", "rate": "0.001"}) == {}
    assert sources.settings(source, "laptop", {"rates": "[1]"}) == {"rates": [1.0]}
    assert sources.settings(source, "smoke") == {"runs": 2}
    assert sources.settings(source, "smoke", {"runs": "5", "loud": "true"}) == {
        "runs": 5,
        "loud": True,
    }


def test_an_unknown_parameter_is_answered_with_those_there_are(toy: Chapter) -> None:
    with pytest.raises(BookError) as refused:
        sources.settings(sources.read(toy), given={"run": "3"})
    first, *listing = str(refused.value).splitlines()
    assert first == (
        "no parameter 'run'; did you mean `runs: int = 8  how many runs`? The chapter's parameters:"
    )
    assert listing == [
        "  runs: int = 8; rate: float = 0.001; name: str = 'a # b'; loud: bool = False; rates: list[float] =",
        "  [0.1, 0.2]",
    ]
    long = notebook(*(["x: list[int] = " + str(list(range(100)))]))
    with pytest.raises(BookError, match=r"\n  x: list\[int\] = \[0, 1, 2, 3, 4, 5, \[\.\.\.\]$"):
        sources.settings(long, given={"zzz": "3"})
    with pytest.raises(BookError, match=r"no parameter 'zzz'\. The chapter's parameters:"):
        sources.settings(sources.read(toy), given={"zzz": "3"})
    with pytest.raises(BookError, match="parameters:\n  none"):
        sources.settings(notebook(), given={"zzz": "3"})


def test_profiles_are_those_of_the_front_matter_and_laptop() -> None:
    cell = "runs: int = 8"
    both = notebook(cell, profiles={"smoke": {"runs": 2}, "paper": {"runs": 4096}})
    assert [sources.settings(both, p) for p in ("smoke", "laptop", "paper")] == [
        {"runs": 2},
        {},
        {"runs": 4096},
    ]
    with pytest.raises(BookError, match="no profile 'huge'; this chapter has laptop, smoke, paper"):
        sources.settings(both, "huge")
    with pytest.raises(BookError, match=r"this chapter has laptop$"):
        sources.settings(notebook(cell), "smoke")


def test_a_source_that_cannot_be_read_is_named(
    toy: Chapter, edit: Callable[[Path, str, str], None]
) -> None:
    edit(toy.source, "flatter:", "flatter: [")
    with pytest.raises(BookError, match="toy: its source is not a MyST notebook"):
        sources.read(toy)
    toy.source.unlink()
    with pytest.raises(BookError, match=r"toy: its source book/source/toy\.md is missing"):
        sources.read(toy)


@pytest.mark.parametrize(
    ("front_matter", "said"),
    [
        ("- a\n- b", "write `name: value` lines"),
        ("text", "write `name: value` lines"),
        ("flatter: [1]", "`flatter: [1]`: write `profiles:`"),
        ("flatter: {profiles: [1]}", "`profiles: [1]`: write each as `smoke: {name: value}`"),
        ("flatter: {data: mnist}", "`data: mnist`: write a list of names"),
        ("flatter: {records: [1]}", "`records: [1]`: write a list of names"),
        ("flatter: {profiles: {smoke: {runs: 010}}}", "`010` would be read as 8: write numbers in decimal"),
        ("flatter: {profiles: {smoke: {runs: 2, runs: 3}}}", "`runs` is given twice: keep one"),
        ("flatter: {profiles: {smoke: {rate: .inf}}}", "`.inf` would be read as inf"),
        ("flatter: {profiles: {smoke: {name: 2001-01-01}}}", "`2001-01-01` would be read as datetime"),
    ],
)  # fmt: skip
def test_a_front_matter_is_what_it_may_be(toy: Chapter, front_matter: str, said: str) -> None:
    _, _, rest = toy.source.read_text().partition("flatter:\n  profiles:\n    smoke: {runs: 2}\n")
    toy.source.write_text(f"---\n{front_matter}\n{rest}")
    with pytest.raises(BookError) as refused:
        sources.read(toy)
    assert str(refused.value).startswith(f"toy: front matter: {said}")
    assert "\n" not in str(refused.value)


def test_a_source_may_have_no_front_matter_and_windows_line_ends(toy: Chapter) -> None:
    text = toy.source.read_text()
    before = [cell.source for cell in sources.read(toy).cells]
    for changed in (text.replace("\n", "\r\n"), text[text.index("# A toy") :]):
        toy.source.write_bytes(changed.encode())
        assert [cell.source for cell in sources.read(toy).cells] == before
    toy.source.write_bytes(b"\xff\xfe\0")
    with pytest.raises(BookError, match="toy: its source is not a MyST notebook: 'utf-8' codec"):
        sources.read(toy)


def test_saving_a_twin_elsewhere_changes_nothing_in_a_tidy_source(
    project: Project, toy: Chapter, pretend: Callable[[Project, Chapter], None]
) -> None:
    toy.source.write_text(sources.tidy(toy.source.read_text()))
    assert sources.tidy(toy.source.read_text()) == toy.source.read_text()
    settings = Path(__file__).parents[2] / "jupytext.toml"
    (project.root / settings.name).write_text(settings.read_text())
    pretend(project, toy)
    twin = nbformat.read(toy.twin, as_version=4)
    twin.metadata["jupytext"] = {"default_lexer": sources.LEXER}
    nbformat.write(twin, toy.twin)
    before = toy.source.read_bytes(), toy.twin.read_bytes()
    for newer, older in ((toy.source, toy.twin), (toy.twin, toy.source)):
        os.utime(older, (1, 1))
        os.utime(newer, (2, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jupytext.cli.jupytext(["--sync", "--quiet", str(toy.twin)])
        assert (toy.source.read_bytes(), toy.twin.read_bytes()) == before


def test_tidying_changes_nothing_that_is_read(toy: Chapter) -> None:
    before = sources.read(toy)
    toy.source.write_text(sources.tidy(toy.source.read_text()))
    after = sources.read(toy)
    assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]
    assert after.metadata["flatter"] == before.metadata["flatter"]
    assert "caption: A line.\n" in toy.source.read_text()
