"""Data for the command line: what chapters name, what there is, and what is said while it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flatter_lib.publish import datasets
from flatter_lib.publish.project import BookError, Chapter, FailedError, Project
from flatter_lib.vision import data
from flatter_lib.vision.data import DataError, Location
from flatter_lib.vision.data.layouts import Watch


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


def test_what_is_here_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "status", lambda dataset, watch: HERE)
    names, found, said = zip(*datasets.statuses(), strict=True)
    assert names == tuple(dataset.name for dataset in data.catalogue())
    assert set(found) == {True}
    assert set(said) == {f"a copy, in {HERE.folder}; passed over: x is damaged"}


def test_what_is_missing_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "status", lambda dataset, watch: DataError("it is missing; get it"))
    assert {*datasets.statuses()} == {
        (dataset.name, False, "it is missing; get it") for dataset in data.catalogue()
    }


def test_the_listing_names_every_data_set_and_the_root(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    statuses = {"mnist": DataError("it is missing")}
    monkeypatch.setattr(data, "status", lambda dataset, watch: statuses.get(dataset.name, HERE))
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


def test_a_data_set_that_is_not_known_is_answered_with_those_that_are(console: Console) -> None:
    with pytest.raises(
        BookError, match="no data set 'imagenet'; there are fashion-mnist"
    ) as refused:
        datasets.get("imagenet", console)
    assert not isinstance(refused.value, FailedError)


def test_source_and_size_are_said_before_anything_is_fetched(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(name: str, report: Callable[[str], None], watch: Watch | None) -> Location:
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
    def get(name: str, report: Callable[[str], None], watch: Watch | None) -> Location:
        raise DataError("no way; put it there yourself")

    monkeypatch.setattr(data, "get", get)
    with pytest.raises(FailedError, match=r"^no way; put it there yourself$"):
        datasets.get("fashion-mnist", console)


def test_decoding_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(name: str, report: Callable[[str], None], watch: Watch | None) -> Location:
        assert (watch is not None) == terminal
        if watch is not None:
            assert "decoding" not in text(console)  # nothing, while there is nothing to decode
            for done in range(250, 1001, 250):
                watch(done, 1000)
        return HERE

    monkeypatch.setattr(data, "get", get)
    for terminal in (True, False):
        console = Console(file=StringIO(), width=100, force_terminal=terminal)
        datasets.get("cifar10", console)
        assert ("decoding cifar10, once" in text(console)) == terminal
        assert ("1000/1000" in text(console)) == terminal
