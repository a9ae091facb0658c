"""Freshness: whatever can change a chapter's outputs makes it stale and is named; nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import jupytext
import nbformat
import pytest

from flatter_lib.evidence.record import Record, encode
from flatter_lib.publish import execute, freshness, twins
from flatter_lib.publish.freshness import State
from flatter_lib.publish.project import BookError, Chapter, Project

Edit = Callable[[Path, str, str], None]

USING = "import flatter_lib.top\nfrom flatter_lib.pack.inner import work"
LIBRARY = {
    "top.py": '''\
"""A module."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flatter_lib import only_types


def run():
    """A function."""
    from flatter_lib import through

    return through.g()
''',
    "through.py": "def g():\n    return 2\n",
    "only_types.py": "class T:\n    pass\n",
    "pack/__init__.py": "",
    "pack/inner.py": "from ..uncle import u\nwork = u\n",
    "uncle.py": "u = 7\n",
}


@pytest.fixture
def chapter(
    project: Project, toy: Chapter, edit: Edit, pretend: Callable[[Project, Chapter], None]
) -> Chapter:
    """A fresh chapter that uses a library of several modules and reads two records."""
    for name, text in LIBRARY.items():
        (project.library / name).parent.mkdir(exist_ok=True)
        (project.library / name).write_text(text)
    project.results.mkdir()
    (project.results / "long.json").write_text(measured(2))
    (project.results / "other.json").write_text(measured(3))
    edit(toy.source, "import os\n", f"import os\n{USING}\n")
    edit(toy.source, "flatter:\n", "flatter:\n  records: [long.json]\n")
    pretend(project, toy)
    assert freshness.state(project, toy) == State(())
    return toy


def measured(number: int, seconds: float = 1.0) -> str:
    """A file with one record."""
    return f"{encode(Record('fall', {'height': 1}, {'time': number}, seconds=seconds))}\n"


def reasons(project: Project, chapter: Chapter) -> tuple[str, ...]:
    state = freshness.state(project, chapter)
    found = (*state.reasons, *state.unverified)
    assert state.fresh == (not found)
    assert not state.text_only
    return found


def test_a_chapter_is_at_first_not_executed(project: Project, toy: Chapter) -> None:
    assert reasons(project, toy) == ("never executed",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('print("runs", runs', 'print("runs:", runs', ("its code changed",)),
        ("runs: int = 8 ", "runs: int = 9 ", ("its code changed", "its parameters changed")),
        (":tags: [parameters]", ":tags: [parameters, hide-input]", ("its code changed",)),
        ("records: [long.json]", "records: [long.json, other.json]", ("`other.json` was added",)),
        ("records: [long.json]", "records: []", ("`long.json` is gone",)),
        (
            "import os\n",
            "import os\nfrom flatter_lib import unrelated\n",
            ("its code changed", "`unrelated` was added"),
        ),
        (
            "import flatter_lib.top\n",
            "",
            ("its code changed", "`through` is gone", "`top` is gone"),
        ),
    ],
)
def test_what_is_computed_makes_stale(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str, expected: tuple[str, ...]
) -> None:
    edit(chapter.source, old, new)
    assert reasons(project, chapter) == expected


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
    state = freshness.state(project, chapter)
    assert state == State(("its text changed",), text_only=True)
    assert not state.fresh


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("top", "return through", "return 2 * through"),
        ("through", "return 2", "return 2.5"),
        ("uncle", "u = 7", "u: int = 7"),
        ("figures", "return 2", "return '2'"),
    ],
)
def test_a_used_modules_change_is_named(
    project: Project, chapter: Chapter, edit: Edit, module: str, old: str, new: str
) -> None:
    edit(project.library / f"{module}.py", old, new)
    assert reasons(project, chapter) == (f"`{module}` changed",)


def test_a_module_that_becomes_a_package_is_the_same_if_its_code_is(
    project: Project, chapter: Chapter
) -> None:
    (project.library / "uncle").mkdir()
    (project.library / "uncle.py").rename(project.library / "uncle" / "__init__.py")
    assert reasons(project, chapter) == ()


@pytest.mark.parametrize(
    "module",
    [
        "unrelated",
        "only_types",
    ],
)
def test_a_module_that_is_not_used_does_not_count(
    project: Project, chapter: Chapter, module: str
) -> None:
    (project.library / f"{module}.py").write_text("raise SystemExit('never')\n")
    assert reasons(project, chapter) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""\n', '"""A module, said otherwise."""\n# and a comment\n'),
        ('"""A function."""', '"""A function.\n\n    Told at length.\n    """'),
        ("return through.g()", "return (\n        through.g()\n    )"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str
) -> None:
    edit(project.library / "top.py", old, new)
    assert reasons(project, chapter) == ()


def test_the_hash_of_a_module_does_not_depend_on_the_version_of_python(project: Project) -> None:
    # This digest is the same under all of them: 3.12 added fields and empty pieces, 3.13 prints trees otherwise.
    (project.library / "versions.py").write_text(
        "def f(x, *y, z=None, **w):\n    return f'{x!r:>{z}}', [*y], {**w, 'a': 0}, lambda: ...\n"
    )
    found = freshness.modules(project, ["import flatter_lib.versions"])
    assert found["flatter_lib.versions"] == "4546a097841e25e9"


def test_a_record_that_changed_or_is_missing_is_named(project: Project, chapter: Chapter) -> None:
    record = project.results / "long.json"
    record.write_text(measured(3))
    assert reasons(project, chapter) == ("`long.json` changed",)
    record.unlink()
    assert reasons(project, chapter) == ("`long.json` changed",)
    (project.results / "other.json").write_text("[]")
    # Measured again with the same result, and checked out with other line endings.
    record.write_bytes(measured(2, seconds=9.0).replace("\n", "\r\n").encode())
    assert reasons(project, chapter) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tolerance: 0.5", "tolerance: 0.7", ("the band of `toy` changed",)),
        ("equals: 1.0, tolerance: 0.5", "at_least: 0", ("the band of `toy` changed",)),
        ("id: toy", "id: tow", ("the band of `tow` was added", "the band of `toy` is gone")),
        ("One is one.", "One is itself.", ()),
    ],
)
def test_a_band_that_was_edited_is_named(
    project: Project, chapter: Chapter, edit: Edit, old: str, new: str, expected: tuple[str, ...]
) -> None:
    edit(project.claims / "toy.yml", old, new)
    assert reasons(project, chapter) == expected


def test_file_times_play_no_part(project: Project, chapter: Chapter) -> None:
    files = [path for path in project.root.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        os.utime(path, (number, 2_000_000_000 - number))
    assert reasons(project, chapter) == ()


def test_pairing_by_jupytext_is_no_execution(
    project: Project, chapter: Chapter, edit: Edit
) -> None:
    synced = jupytext.read(chapter.source)
    published = chapter.twin.read_text()
    nbformat.write(synced, chapter.twin)
    assert reasons(project, chapter) == ()
    # Edited in JupyterLab, both sides: their cells are equal, and the outputs are those of before.
    edit(chapter.source, 'print("runs", runs', 'print("runs:", runs')
    nbformat.write(jupytext.read(chapter.source), chapter.twin)
    assert reasons(project, chapter) == ("its code changed",)
    # Back by hand, and the twin as it was published.
    edit(chapter.source, 'print("runs:", runs', 'print("runs", runs')
    chapter.twin.write_text(published)
    assert reasons(project, chapter) == ()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "not JSON",
        "[]",
        '{"inputs": {"modules": {}, "records": {}}}',
    ],
)
def test_a_missing_or_damaged_provenance_makes_stale(
    project: Project, chapter: Chapter, content: str | None
) -> None:
    chapter.provenance.unlink()
    if content is not None:
        chapter.provenance.write_text(content)
    assert reasons(project, chapter) == ("its provenance is missing or damaged",)


def test_missing_values_and_edited_hashes_make_stale(project: Project, chapter: Chapter) -> None:
    stored = json.loads(chapter.provenance.read_text())
    stored["inputs"]["hash"] = "0" * 16
    chapter.provenance.write_text(json.dumps(stored))
    assert reasons(project, chapter) == ("its provenance was edited",)
    chapter.values.unlink()
    assert reasons(project, chapter) == ("its published values are missing",)


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nfrom flatter_lib import uncle",
        "if True:\n    %time x = 1\n    from flatter_lib import uncle",
        "!ls\nfrom flatter_lib import uncle",
        "import os, flatter_lib.uncle",
        "def f():\n    from flatter_lib import uncle",
    ],
)
def test_modules_are_found_however_a_cell_imports_them(
    project: Project, chapter: Chapter, cell: str
) -> None:
    assert set(freshness.modules(project, [cell])) == {"flatter_lib", "flatter_lib.uncle"}


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
    edit(chapter.source, "      A line.\n", "      A straight line.\n")
    assert freshness.state(published, chapter).text_only
    execute.publish_text(published, chapter)
    after = nbformat.read(chapter.twin, as_version=4)
    assert freshness.state(published, chapter) == State(())
    assert [c.source for c in after.cells if c.cell_type == "markdown"] == [
        "# A toy chapter\n\nAnother text.",
        "And more.",
    ]
    assert nbformat.writes(twins.clean(after)[0]) == nbformat.writes(after)
    assert after.metadata.flatter.profiles == {"smoke": {"runs": 3}}
    assert "A straight line" in str(after.cells)
    assert [c.outputs for c in after.cells if c.cell_type == "code"] == [
        c.outputs for c in before.cells if c.cell_type == "code"
    ]
    renewed = json.loads(chapter.provenance.read_text())
    assert {k: v for k, v in renewed.items() if k != "inputs"} == {
        k: v for k, v in said.items() if k != "inputs"
    }
