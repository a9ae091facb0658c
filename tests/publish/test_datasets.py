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

HERE = Location("fashion-mnist", "a copy", Path("/somewhere"), ("x is damaged",))


def test_chapters_name_their_data_and_each_is_asked_for_once(
    project: Project, toy: Chapter, edit: Callable[[Path, str, str], None]
) -> None:
    assert datasets.needed([toy]) == []
    edit(toy.source, "flatter:\n", "flatter:\n  data: [fashion-mnist, others]\n")
    other = project.chapter_paths("other")
    other.source.write_text(toy.source.read_text().replace("[fashion-mnist,", "[more,"))
    assert datasets.needed([toy, other]) == ["fashion-mnist", "others", "more"]


def test_the_listing_names_every_data_set_and_the_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    statuses = {"mnist": DataError("it is missing")}
    monkeypatch.setattr(data, "status", lambda dataset: statuses.get(dataset.name, HERE))
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path))
    lines = list(datasets.listing())
    for dataset in data.catalogue():
        at = lines.index(dataset.name)
        assert lines[at + 1 : at + 4] == [
            f"  what      {dataset.title}: {dataset.size}",
            f"  licence   {dataset.licence}",
            "  not here  it is missing"
            if dataset.name == "mnist"
            else "  found     a copy, in /somewhere; passed over: x is damaged",
        ]
    assert lines[-1] == f"data root: {tmp_path} (set FLATTER_DATA for another)"


def test_source_and_size_are_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = StringIO()

    def get(name: str, report: Callable[[str], None]) -> Location:
        report(f"{name}: fetching 30 MB from [somewhere]")
        assert file.getvalue() == "  fashion-mnist: fetching 30 MB from [somewhere]\n"
        if len(names) > 1:
            raise DataError("no way; put it there yourself")
        return HERE

    names = ["fashion-mnist"]
    monkeypatch.setattr(data, "get", get)
    datasets.get(names[0], Console(file=file, width=100))
    assert file.getvalue().endswith("  data: fashion-mnist (a copy)\n")
    file.truncate(file.seek(0))
    names.append("and fail")
    with pytest.raises(FailedError, match=r"^no way; put it there yourself$"):
        datasets.get(names[0], Console(file=file, width=100))
