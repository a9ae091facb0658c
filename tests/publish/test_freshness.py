"""Freshness: whatever can change a chapter's outputs makes it stale and is named; nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from flatter_lib.evidence.record import Record, encode
from flatter_lib.publish import execute, freshness, twins
from flatter_lib.publish.freshness import State
from flatter_lib.publish.project import BookError, Chapter, Project

Edit = Callable[[Path, str, str], None]

USING = "import flatter_lib.top\nfrom flatter_lib.pack.inner import work"
LIBRARY = {
    "top.py": "def run():\n    from flatter_lib import through\n    return through.g()\n",
    "through.py": "def g():\n    return 2\n",
    "pack/__init__.py": "",
    "pack/inner.py": "from ..uncle import u\nwork = u\n",
    "uncle.py": "u = 7\n",
}


@pytest.fixture
def chapter(
    project: Project, toy: Chapter, edit: Edit, pretend: Callable[[Project, Chapter], None]
) -> Chapter:
    """A fresh chapter that uses a library of several modules and reads a record."""
    assert freshness.state(project, toy) == State(("never executed",))
    for name, text in LIBRARY.items():
        (project.library / name).parent.mkdir(exist_ok=True)
        (project.library / name).write_text(text)
    project.results.mkdir()
    (project.results / "long.json").write_text(measured(2))
    (project.results / "other.json").write_text(measured(3))
    edit(toy.source, "import os\n", f"import os\n{USING}\n")
    edit(toy.source, "flatter:\n", "flatter:\n  records: [long.json]\n")
    pretend(project, toy)
    assert freshness.state(project, toy) == State()
    return toy


def measured(number: int, seconds: float = 1.0) -> str:
    """A file with one record."""
    return f"{encode(Record('fall', {'height': 1}, {'time': number}, seconds=seconds))}\n"


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ('print("runs", runs', 'print("runs:", runs', ("its code changed",)),
        ("runs: int = 8 ", "runs: int = 9 ", ("its code changed", "its parameters changed")),
        (":tags: [parameters]", ":tags: [parameters, hide-input]", ("its code changed",)),
        ("records: [long.json]", "records: [long.json, other.json]", ("`other.json` was added",)),
        ("records: [long.json]", "records: []", ("`long.json` is gone",)),
    ],
)
def test_what_is_computed_makes_stale(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str, reasons: tuple[str, ...]
) -> None:
    edit(chapter.source, old, new)
    assert freshness.state(project, chapter) == State(reasons)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Some text.", "Another text."),
        ("      A line.\n", "      A straight line.\n"),
        ("smoke: {runs: 2}", "smoke: {runs: 3}"),
        ("records: [long.json]", "records: [long.json]\n  data: [fashion-mnist]"),
    ],
)
def test_text_captions_and_front_matter_change_only_the_text(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str
) -> None:
    edit(chapter.source, old, new)
    assert freshness.state(project, chapter) == State(("its text changed",), text_only=True)


def test_a_used_modules_change_leaves_unverified(
    project: Project, chapter: Chapter, edit: Edit
) -> None:
    (project.library / "unrelated.py").write_text("raise SystemExit('never')\n")
    (project.library / "through.py").write_text("# a comment\n" + LIBRARY["through.py"])
    assert freshness.state(project, chapter) == State()
    edit(project.library / "through.py", "return 2", "return 2.5")
    assert freshness.state(project, chapter) == State(unverified=("`through` changed",))
    assert freshness.state(project, chapter).acquittable
    edit(project.library / "figures.py", "return 2", "return '2'")
    found = freshness.state(project, chapter)
    assert found.unverified == (f"{freshness.FIGURES}` changed", "`through` changed")
    assert not found.acquittable
    edit(chapter.source, "Some text.", "Another text.")
    found = freshness.state(project, chapter)
    assert (found.text_only, str(found)) == (
        False,
        "stale: its text changed; `figures` changed; `through` changed",
    )
    edit(chapter.source, "import flatter_lib.top\n", "")
    assert str(freshness.state(project, chapter)) == (
        "stale: its code changed; `figures` changed; `through` is gone; and 1 more"
    )


def test_a_record_that_changed_or_is_missing_is_named(project: Project, chapter: Chapter) -> None:
    record = project.results / "long.json"
    record.write_text(measured(3))
    assert freshness.state(project, chapter) == State(("`long.json` changed",))
    record.unlink()
    assert freshness.state(project, chapter) == State(("`long.json` changed",))
    # Measured again with the same result, and checked out with other line endings.
    record.write_bytes(measured(2, seconds=9.0).replace("\n", "\r\n").encode())
    assert freshness.state(project, chapter) == State()


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ("tolerance: 0.5", "tolerance: 0.7", ("the band of `toy` changed",)),
        ("id: toy", "id: tow", ("the band of `tow` was added", "the band of `toy` is gone")),
        ("One is one.", "One is itself.", ()),
    ],
)
def test_a_band_that_was_edited_is_named(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str, reasons: tuple[str, ...]
) -> None:
    edit(project.claims / "toy.yml", old, new)
    assert freshness.state(project, chapter) == State(reasons)


def test_file_times_and_the_twins_own_content_play_no_part(
    project: Project, chapter: Chapter
) -> None:
    nbformat.write(nbformat.v4.new_notebook(), chapter.twin)  # hygiene compares it with its source
    files = [path for path in project.root.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        os.utime(path, (number, 2_000_000_000 - number))
    assert freshness.state(project, chapter) == State()


@pytest.mark.parametrize("content", ["", "[]", '{"inputs": {"modules": {}, "records": {}}}'])
def test_a_damaged_provenance_or_missing_values_make_stale(
    project: Project, chapter: Chapter, content: str
) -> None:
    before = chapter.provenance.read_text()
    chapter.provenance.write_text(content)
    assert freshness.state(project, chapter) == State(("its provenance is missing or damaged",))
    chapter.provenance.write_text(before)
    chapter.values.unlink()
    assert freshness.state(project, chapter) == State(("its published values are missing",))


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nfrom flatter_lib import uncle",
        "if True:\n    %time x = 1\n    from flatter_lib import uncle",
        "def f():\n    import os, flatter_lib.uncle",
    ],
)
def test_modules_are_found_however_a_cell_imports_them(
    project: Project, chapter: Chapter, cell: str
) -> None:
    found = freshness.modules(project, [cell, "no = = Python"])
    assert set(found) == {"flatter_lib", "flatter_lib.uncle"}


def test_what_cannot_be_read_is_named_with_its_line(
    project: Project, chapter: Chapter, edit: Edit
) -> None:
    edit(project.library / "uncle.py", "u = 7", "u = 7\nu = = 8")
    with pytest.raises(BookError, match=r"^flatter_lib/uncle\.py, line 2: not Python: "):
        freshness.state(project, chapter)
    edit(chapter.source, "runs: int = 8 ", "runs = 8 ")
    with pytest.raises(BookError, match=r"^toy: parameters cell, line 1: write"):
        freshness.state(project, chapter)


def test_a_text_that_changed_is_renewed_without_executing(published: Project, edit: Edit) -> None:
    chapter = published.chapter("toy")
    before = nbformat.read(chapter.twin, as_version=4)
    said = json.loads(chapter.provenance.read_text())
    edit(chapter.source, "Some text.", "Another text.\n\n+++\n\nAnd more.")
    edit(chapter.source, "smoke: {runs: 2}", "smoke: {runs: 3}")
    execute.publish_text(published, chapter)
    after = nbformat.read(chapter.twin, as_version=4)
    assert freshness.state(published, chapter) == State()
    assert [c.source for c in after.cells if c.cell_type == "markdown"] == [
        "# A toy chapter\n\nAnother text.",
        "And more.",
    ]
    assert nbformat.writes(twins.clean(after)[0]) == nbformat.writes(after)
    assert after.metadata.flatter.profiles == {"smoke": {"runs": 3}}
    outputs = [[c.outputs for c in n.cells if c.cell_type == "code"] for n in (before, after)]
    assert outputs[0] == outputs[1]
    renewed = json.loads(chapter.provenance.read_text())
    assert renewed == said | {"inputs": renewed["inputs"]}
