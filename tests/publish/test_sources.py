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


def test_every_parameter_of_a_source_is_read_with_type_default_and_help(toy: Chapter) -> None:
    assert sources.parameters(sources.read(toy)) == [
        sources.Parameter("runs", "int", 8, "how many runs"),
        sources.Parameter("rate", "float", 1e-3, "the step size"),
        sources.Parameter("name", "str", "a # b", "what it is called"),
        sources.Parameter("loud", "bool", False, ""),
        sources.Parameter("rates", "list[float]", [0.1, 0.2], "several # rates"),
    ]
    lines = "x: 'list[float]' = [\n    0.1,  # inside\n    -1e-3,\n]  # of all"
    (parameter,) = sources.parameters(notebook(lines))
    assert parameter == sources.Parameter("x", "list[float]", [0.1, -1e-3], "of all")
    assert sources.parameters(notebook()) == []


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x = 3", "line 1: write `name: type = literal"),
        ("x: int = 1\nprint(x)", "line 2: write"),
        ("a.x: int = 1", "line 1: write"),
        ("y: int = 1\nx: int", "line 2: x is not a literal of type int"),
        ("x: int = 1.5", "x is not a literal of type int"),
        ("x: complex = 1j", "x is not a literal of type complex"),
        ("x: list[int] = [1, 'a']", "x is not a literal of type list"),
        ("x: int = y", "x is not a literal of type int"),
        ("y: int = 1\nx: int = = 1", "line 2: not Python"),
        ("%matplotlib inline\nx: int = 1", "line 1: not Python"),
    ],
)
def test_a_misformed_cell_is_refused_with_its_place(cell: str, message: str) -> None:
    with pytest.raises(BookError, match="parameters cell") as refused:
        sources.parameters(notebook(cell))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(BookError, match="more than one cell is tagged parameters"):
        sources.parameters(notebook("x: int = 1", "y: int = 1"))


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        ("int", {"8": 8, " +8 ": 8, "-8": -8, "010": 10}, ["", "1.5", "0x10", "1:30", True, 1.0, None]),
        ("float", {"1e-3": 1e-3, "1": 1.0, ".5": 0.5}, ["", "inf", ".nan", "1e999", ".", True, float("nan")]),
        ("bool", {"true": True, "FALSE": False}, ["", "1", 1, None, "yes", "on"]),
        ("str", {"": "", "8": "8", "010": "010", "a=b": "a=b"}, [8, True, None, ["a"]]),
        ("list[int]", {"[1, 2]": [1, 2]}, ["1", "[1, 2.5]", "[1, {a: 1}]", "[1", "[" * 2000, None]),
        ("list[float]", {"[0, 1e-3]": [0.0, 1e-3], "[]": []}, ["0.5", "[.inf]", "[true]", [[0.5]]]),
        ("list[str]", {"[1, on, 010]": ["1", "on", "010"]}, ["[[a]]", "a"]),
    ],
)  # fmt: skip
def test_what_is_given_becomes_the_parameters_type_or_is_refused_with_an_example(
    kind: str, taken: dict[str, Any], refused: list[Any], tmp_path: Path
) -> None:
    parameter = sources.Parameter("x", kind, None, "")
    for text, value in taken.items():
        assert repr(parameter.convert(text)) == repr(value)
        (tmp_path / "own.yml").write_text(
            f"x: {text or repr(text)}"
        )  # a file means what typing means
        (given,) = sources.given(tmp_path / "own.yml").values()
        assert repr(parameter.convert(given)) == repr(value)
    for given in refused:
        with pytest.raises(BookError) as error:
            parameter.convert(given)
        assert f"x={given}: x takes a value of type {kind}, like None" in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"- runs", b"a: [", b""])
def test_a_file_that_holds_no_parameters_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.yml").write_bytes(content)
    with pytest.raises(BookError, match=r"^--set \S+own\.yml: (cannot be read|write one `name)"):
        sources.given(tmp_path / "own.yml")


def test_settings_are_what_differs_from_the_published_values(toy: Chapter) -> None:
    source = sources.read(toy)
    assert sources.settings(source, "laptop", {"runs": "8", "rate": "0.001"}) == {}
    assert sources.settings(source, "laptop", {"rates": "[1]"}) == {"rates": [1.0]}
    assert sources.settings(source, "smoke", {"loud": "true"}) == {"runs": 2, "loud": True}
    assert sources.settings(source, "smoke", {"runs": "5"}) == {"runs": 5}
    with pytest.raises(BookError, match="no profile 'huge'; this chapter has laptop, smoke"):
        sources.settings(source, "huge")
    with pytest.raises(BookError) as refused:
        sources.settings(source, given={"run": "3"})
    assert str(refused.value).splitlines() == [
        "no parameter 'run'; did you mean `runs: int = 8  how many runs`? The chapter's parameters:",
        *(f"  {parameter}" for parameter in sources.parameters(source)),
    ]
    with pytest.raises(BookError, match=r"no parameter 'zzz'\. The chapter's parameters:\n  none"):
        sources.settings(notebook(), given={"zzz": "3"})


@pytest.mark.parametrize(
    ("front_matter", "said"),
    [
        ("flatter: [", "its source is not a MyST notebook: "),
        ("flatter: [1]", "front matter: `flatter: [1]`: write `profiles:`"),
        ("flatter: {profiles: [1]}", "front matter: `profiles: [1]`: write each as `smoke: "),
        ("flatter: {data: mnist}", "front matter: `data: mnist`: write a list of names"),
        ("flatter: {profiles: {smoke: {runs: 010}}}", "front matter: `010` would be read as 8: write"),
        ("flatter: {profiles: {smoke: {runs: 2, runs: 3}}}", "front matter: `runs` is given twice"),
        ("flatter: {profiles: {smoke: {rate: .inf}}}", "front matter: `.inf` would be read as inf"),
    ],
)  # fmt: skip
def test_a_front_matter_is_what_it_may_be(toy: Chapter, front_matter: str, said: str) -> None:
    _, _, rest = toy.source.read_text().partition("flatter:\n  profiles:\n    smoke: {runs: 2}\n")
    toy.source.write_text(f"---\n{front_matter}\n{rest}")
    with pytest.raises(BookError) as refused:
        sources.read(toy)
    assert str(refused.value).startswith(f"toy: {said}")
    assert "\n" not in str(refused.value)


def test_a_source_may_have_no_front_matter_and_windows_line_ends(toy: Chapter) -> None:
    text = toy.source.read_text()
    before = [cell.source for cell in sources.read(toy).cells]
    for changed in (text.replace("\n", "\r\n"), text[text.index("# A toy") :]):
        toy.source.write_bytes(changed.encode())
        assert [cell.source for cell in sources.read(toy).cells] == before
    toy.source.unlink()
    with pytest.raises(BookError, match=r"toy: its source is not .* No such file .*/toy\.md'"):
        sources.read(toy)


def test_saving_a_twin_elsewhere_changes_nothing_in_a_tidy_source(
    project: Project, toy: Chapter, pretend: Callable[[Project, Chapter], None]
) -> None:
    read = sources.read(toy)
    toy.source.write_text(sources.tidy(toy.source.read_text()))
    assert "caption: A line.\n" in toy.source.read_text()
    assert [cell.source for cell in sources.read(toy).cells] == [cell.source for cell in read.cells]
    assert sources.read(toy).metadata["flatter"] == read.metadata["flatter"]
    assert sources.tidy(toy.source.read_text()) == toy.source.read_text()
    settings = Path(__file__).parents[2] / "jupytext.toml"
    (project.root / settings.name).write_text(settings.read_text())
    pretend(project, toy)
    before = toy.source.read_bytes(), toy.twin.read_bytes()
    for newer, older in ((toy.source, toy.twin), (toy.twin, toy.source)):
        os.utime(older, (1, 1))
        os.utime(newer, (2, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jupytext.cli.jupytext(["--sync", "--quiet", str(toy.twin)])
        assert (toy.source.read_bytes(), toy.twin.read_bytes()) == before
