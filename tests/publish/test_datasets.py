"""Data for the command line: what chapters name, what there is, and what is said while it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flatter_lib.publish import datasets
from flatter_lib.publish.project import Chapter, FailedError, Project
from flatter_lib.vision import data
from flatter_lib.vision.data import DataError, Location


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


HERE = Location("fashion-mnist", "a copy", Path("/somewhere/very/long" * 8), ("x is damaged",))


def test_chapters_name_their_data_and_each_is_asked_for_once(
    project: Project, toy: Chapter, edit: Callable[[Path, str, str], None]
) -> None:
    assert datasets.needed([toy]) == []
    edit(toy.source, "flatter:\n", "flatter:\n  data: [fashion-mnist, others]\n")
    assert datasets.needed([toy]) == ["fashion-mnist", "others"]
    other = project.chapter_paths("other")
    other.source.write_text(toy.source.read_text().replace("[fashion-mnist, others]", "[more, others]"))  # fmt: skip
    assert datasets.needed([toy, other]) == ["fashion-mnist", "others", "more"]


def test_the_listing_names_every_data_set_and_the_root(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    statuses = {"mnist": DataError("it is missing")}
    monkeypatch.setattr(data, "status", lambda dataset: statuses.get(dataset.name, HERE))
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path / "[c]"))
    datasets.listing(console)
    lines = text(console).splitlines()
    for dataset in data.catalogue():
        at = lines.index(dataset.name)
        assert lines[at + 1 : at + 3] == [
            f"  what      {dataset.title}: {dataset.size}",
            f"  licence   {dataset.licence}",
        ]
        if dataset.name == "mnist":
            assert lines[at + 3] == "  not here  it is missing"
        else:  # in one piece, however long it is
            assert lines[at + 3].startswith(f"  found     a copy, in {HERE.folder}; passed over")
    assert lines[-1] == f"data root: {tmp_path / '[c]'} (set FLATTER_DATA for another)"


def test_source_and_size_are_said_before_anything_is_fetched(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(name: str, report: Callable[[str], None]) -> Location:
        report(f"{name}: fetching 30 MB from [somewhere]")
        assert "fetching 30 MB from [somewhere]" in text(console)
        return HERE

    monkeypatch.setattr(data, "get", get)
    datasets.get("fashion-mnist", console)
    assert text(console).splitlines() == [
        "  fashion-mnist: fetching 30 MB from [somewhere]",
        "  data: fashion-mnist (a copy)",
    ]


def test_what_cannot_be_fetched_is_a_failure(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(name: str, report: Callable[[str], None]) -> Location:
        raise DataError("no way; put it there yourself")

    monkeypatch.setattr(data, "get", get)
    with pytest.raises(FailedError, match=r"^no way; put it there yourself$"):
        datasets.get("fashion-mnist", console)
