"""Each hole in sources and twins, made in a book that is healthy but for it, is found by the check that is for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from nbformat import NotebookNode, v4

from flatter_lib.publish import freshness, hygiene, sources, twins

from .conftest import Book, name_of

SLUG = "falling-water"
SOURCE = f"book/source/{SLUG}.md"
TWIN = f"book/chapters/{SLUG}.ipynb"
VALUES = f"book/chapters/{SLUG}.values.json"
ALT = "A parabola that opens downwards, with three drops marked on it."
CAPTION = "Height against time, as Newton has it."
# Written so that this file holds no path of a machine itself.
HOME = "/" + "home/ada"

Cells = list[NotebookNode]
#: A way to break the book.
Break = Callable[[Book], object]


def shown(text: str, kind: str = "text/plain", **metadata: Any) -> NotebookNode:
    """What a cell displays."""
    return v4.new_output("display_data", {kind: text}, metadata=metadata)


def edited(name: str, old: str, new: str) -> Break:
    """A file edited, and nothing executed."""

    def broken(book: Book) -> None:
        text = book.path(name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        book.path(name).write_text(text.replace(old, new), encoding="utf-8")

    return broken


def source(old: str, new: str) -> Break:
    """The source edited, and executed again."""

    def broken(book: Book) -> None:
        edited(SOURCE, old, new)(book)
        book.tidy()
        book.execute()

    return broken


def content(change: Callable[[NotebookNode], object], *, clean: bool = False) -> Break:
    """The twin changed; ``clean``: and published as cleaned."""

    def broken(book: Book) -> None:
        made = v4.reads_json(book.chapter.twin.read_text())
        change(made)
        made = twins.clean(made)[0] if clean else made
        book.chapter.twin.write_text(v4.writes_json(made))

    return broken


def twin(change: Callable[[Cells], object], *, clean: bool = False) -> Break:
    """The code cells of the twin changed; see :func:`content`."""
    return content(lambda made: change(sources.code_cells(made)), clean=clean)


def cell(number: int, **parts: Any) -> Break:
    """Parts of a cell of the twin changed, and published as cleaned."""
    return twin(lambda cells: cells[number].update(**parts), clean=True)


def more(number: int, *outputs: NotebookNode) -> Break:
    """A cell that shows more than it did."""
    return twin(lambda cells: cells[number].outputs.extend(outputs))


def values(change: Callable[[dict[str, Any]], object]) -> Break:
    """The published values changed."""

    def broken(book: Book) -> None:
        published = json.loads(book.chapter.values.read_text())
        change(published)
        book.chapter.values.write_text(json.dumps(published))

    return broken


def written(name: str, text: str) -> Break:
    """A file that is not the book's."""
    return lambda book: book.path(name).write_text(text)


def unlinked(*parts: str) -> Break:
    """Files of the chapter removed."""
    return lambda book: [getattr(book.chapter, part).unlink() for part in parts]


def profiled(book: Book) -> None:
    """Profiles of the source edited, and the twin passed for fresh."""
    edited(SOURCE, "drops: 2\n", "drops: 1\n")(book)
    book.stamp()


def halved(book: Book) -> None:
    text = book.chapter.twin.read_text()
    book.chapter.twin.write_text(text[: len(text) // 2])


def twice(cells: Cells) -> None:
    """A figure in two cells."""
    cells[1].metadata, cells[1].outputs = cells[2].metadata, cells[2].outputs


MARKED = shown("x", flatter={"role": "glue", "values": [{"name": "x"}]})
ERROR = v4.new_output("error", ename="ValueError", evalue="no water", traceback=[])
SIGNED = v4.new_markdown_cell("Signed")
GLUED = "application/papermill.record/"
OTHER_CELLS = f"{TWIN}: its cells are not those of its source"
UNHELD = "tells nbval not to hold what it shows"
UNSEEN = "code cell 3: its alternative text does not say"

#: Ways to break the book, by the check that finds them, each with what one of its lines says.
BROKEN: dict[str, list[tuple[Break, str]]] = {
    "pairs.one_to_one": [
        (unlinked("twin", "provenance", "values"), f"{TWIN}: was never executed"),
        (unlinked("source"), f"{SOURCE}: is missing"),
        (written("book/chapters/old.values.json", "{}"), "old.values.json: belongs to no chapter"),
    ],
    "notebooks.readable": [
        (halved, f"{TWIN}: is not a notebook: "),
        (content(lambda made: made["cells"][0].pop("id")), "'id' is a required property"),
    ],
    "pairs.tidy": [
        (edited(SOURCE, "[parameters]\n\n", "[parameters]\n"), f"{SOURCE}: is not as JupyterLab"),
    ],
    "pairs.fresh": [
        (edited(SOURCE, "How long does", "How long did"), "is not fresh: its text changed"),
        (edited(SOURCE, "pace: float = 0.125", "pace: float = drops / 8"), "pace is not a literal"),
    ],
    "pairs.equal": [
        (cell(2, source="figures.show(other)"), "code cell 3: differs in id and source"),
        (cell(3, metadata={"tags": ["hide-input"]}), "code cell 4: differs in metadata"),
        (content(lambda made: made["cells"][0].update(cell_type="raw"), clean=True), OTHER_CELLS),
        (content(lambda made: made["cells"].append(SIGNED), clean=True), OTHER_CELLS),
        (profiled, f"{TWIN}: differs in metadata or front matter"),
        (twin(lambda cells: cells[0].update(id="abcd1234")), "code cell 1: differs in id from"),
        (twin(lambda cells: cells[0].metadata.update(papermill={})), "cell 1: differs in metadata"),
        (
            content(lambda made: made["metadata"].update(papermill={"duration": 2.5})),
            f"{TWIN}: differs in metadata or front matter",
        ),
        (more(0, MARKED), "code cell 1: differs in outputs"),
        (
            twin(lambda cells: cells[1].update(execution_count=7)),
            "code cell 2: differs in execution_count",
        ),
    ],
    "outputs.done": [
        (
            twin(lambda cells: cells[1].update(execution_count=None)),
            "code cell 2: was not executed",
        ),
        (more(1, ERROR), "code cell 2: ends in an error, ValueError: no water"),
        (
            source("from flatter_lib import figures\nfrom myst_nb import glue\n", ""),
            "code cell 2: is empty",
        ),
        (source("draw(drops)", "draw(drops)  # NBVAL_IGNORE_OUTPUT"), UNHELD),
        (source(":tags: [parameters]", ":tags: [parameters, nbval-skip]"), UNHELD),
        (source(":tags: [parameters]", ":tags: [parameters, raises-exception]"), UNHELD),
    ],
    "outputs.figures": [
        (source(f"    alt: {ALT}\n", "    width: 80%\n"), UNSEEN),
        (source(ALT, "falling-water_3_0.svg"), UNSEEN),
        (source(ALT, CAPTION), UNSEEN),
        (source(ALT, "A parabola"), f"{UNSEEN} what is seen ('A parabola')"),
        (source(f"    caption: {CAPTION}\n", ""), "code cell 3: shows a figure without a caption"),
        (
            source("    name: fig-fall\n", ""),
            "code cell 3: shows a figure called nothing, not fig-",
        ),
        (source("name: fig-fall", "name: fall"), "code cell 3: shows a figure called fall, not"),
        (twin(twice), "code cell 3: its figure name fig-fall is also that of another"),
        (twin(lambda cells: cells[2].outputs.extend(cells[2].outputs)), "shows 2 pictures"),
        (twin(lambda cells: cells[2].outputs.clear()), "code cell 3: shows 0 pictures"),
        (more(1, shown("iVBORw0KGgo=", "image/png")), "code cell 2: shows a figure called nothing"),
        (more(1, shown("<p><img src='data:,'></p>", "text/html")), "cell 2: shows a figure called"),
    ],
    "outputs.glued": [
        (
            source(" It takes {glue:text}`fall-time`.", ""),
            "code cell 4: glues fall-time, which no text shows",
        ),
    ],
    "published.values": [
        (values(lambda made: made.pop("fall-time")), "shows fall-time, which is not among"),
        (
            values(lambda made: made.update(rise=made["fall-time"])),
            f"{VALUES}: has rise, which no cell shows",
        ),
        (
            values(lambda made: made["fall-time"].update(numbers=[0.47])),
            "code cell 4: shows \"'0.45'\" where its value is '0.47'",
        ),
        (
            values(lambda made: made["claim free-fall"].update(numbers=[[0.75, 0.74, 0.76]])),
            "where its value is 'claim free-fall: 0.750 [0.740, 0.760]",
        ),
        (
            values(lambda made: made["fall-time"].pop("numbers")),
            f"{VALUES}: {SLUG}: 'fall-time' of its published values is damaged",
        ),
        (
            twin(lambda cells: cells[2].outputs[0].metadata.clear()),
            "shows a picture without the numbers behind it",
        ),
    ],
    "published.bare_numbers": [
        (
            values(lambda made: made["fall-time"].update(words="{:.2f} of 0.731")),
            "prints a bare number, 0.731",
        ),
        (more(3, shown("0.731", flatter={})), "code cell 4: prints a bare number, 0.731"),
        (more(3, shown("'0.47'", f"{GLUED}text/plain", scrapbook={"name": "fall-time"})), "0.47"),
    ],
    "traces.outputs": [
        (
            twin(lambda cells: cells[3].outputs[-1].update(text="drops 3\ntook 12 s\n")),
            "code cell 4: shows a clock, 12 s",
        ),
        (
            more(2, shown("<svg><dc:date>2026-11-22T10:11:12", "image/svg+xml")),
            "a date, 2026-11-22",
        ),
        (
            more(3, v4.new_output("stream", name="stderr", text="all is well")),
            "code cell 4: writes to stderr: all is well",
        ),
        (
            lambda book: more(3, shown(f"<b>{book.project.root}/x", "text/html"))(book),
            "code cell 4: shows a path of the machine, ",
        ),
    ],
    "links.documents": [
        (written("MORE.md", "[a](gone.md)\n"), "its link gone.md leads to nothing"),
    ],
    "traces.files": [
        (
            lambda book: written("run.sh", f"cd {book.project.root}\n")(book),
            "run.sh, line 1: holds a path of this machine, ",
        ),
    ],
}
CASES = [(check, *case) for check, cases in BROKEN.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "broken", "line"), CASES, ids=[f"{check}: {line}" for check, _, line in CASES]
)
def test_what_is_broken_is_found(book: Book, check: str, broken: Break, line: str) -> None:
    broken(book)
    reports = book.reports(check)
    assert any(line in found for found in reports[check]), reports


def test_every_check_has_something_to_find() -> None:
    assert set(map(name_of, hygiene.BEFORE_BUILD)) == set(BROKEN)


def test_a_changed_library_is_no_finding(book: Book) -> None:
    # Executing the chapter again says whether anything came out otherwise.
    for broken, how in (
        (edited("flatter_lib/__init__.py", "", "WIDTH = 7"), "`flatter_lib` changed"),
        (lambda book: book.path("flatter_lib/figures.py").unlink(), "`figures` is gone"),
    ):
        broken(book)
        assert how in freshness.state(book.project, book.chapter).unverified
    assert book.reports() == {}


@pytest.mark.parametrize("text", ["drops {} in all", "x_{}", "lr{}, more", "[0 {}]"])
@pytest.mark.parametrize(
    "number",
    ["0.25", "2.5e-3", "1e-16", "1,234.5", "1.e-05", "1.", "0.12", "10.125", "0.1250", "125e-3"],
)
def test_a_number_printed_past_its_value(book: Book, number: str, text: str) -> None:
    twin(lambda cells: cells[3].outputs[-1].update(text=f"{text.format(number)}\n"))(book)
    line = f"{TWIN}, code cell 4: prints a bare number, {number}"
    assert book.reports() == {"published.bare_numbers": [line]}


@pytest.mark.parametrize("number", [".25", "-0.1", "-.5e2", "nan"])
def test_a_number_with_a_sign_or_without_a_zero(book: Book, number: str) -> None:
    source("from flatter_lib import figures", "from numpy import nan")(book)
    twin(lambda cells: cells[3].outputs[-1].update(text=f"drops {number} in all\n"))(book)
    line = f"{TWIN}, code cell 4: prints a bare number, {number}"
    assert book.reports() == {"published.bare_numbers": [line]}


def test_a_number_that_the_code_says_itself_is_a_word(book: Book) -> None:
    said = "below 0.45, a pace of 0.125: lr0.125, section A.3, 3 drops\n"
    twin(lambda cells: cells[3].outputs[-1].update(text=said))(book)
    assert book.reports() == {}


@pytest.mark.parametrize("role", ["{glue}", "{glue:text}", "{glue:md}"])
def test_glued_values_shown_on_another_page(book: Book, role: str) -> None:
    source(" It takes {glue:text}`fall-time`.", "")(book)
    name = "chapters/falling-water.ipynb::fall-time"
    text = f"```{role} {name}\n```" if role == "{glue:md}" else f"{role}`{name}:s`"
    book.path("book/index.md").write_text(f"# Book\n\n{text}\n")
    assert book.reports() == {}


TRACES = {
    f"read {HOME}/data.csv": f"a path of the machine, {HOME}",
    "'/" + "root/data'": "a path of the machine, /" + "root",
    "/" + "Users/ada/data": "a path of the machine, /" + "Users/ada",
    "C:" + r"\Users\ada": "a path of the machine, C:" + r"\Users\ada",
    "saved /" + "tmp/x.npz": "a path of the machine, /" + "tmp/x.npz",
    "in lib/site-packages/a/b.py": "a path of the machine, lib/site-packages/a/b.py",
    "<Model at 0x7f12ab34cd>": "a memory address, 0x7f12ab34cd",
    "UserWarning: divided by zero": "a warning, UserWarning:",
    "a.py:3: DeprecationWarning: old": "a warning, DeprecationWarning:",
    "WARNING no data": "a warning, WARNING",
    "begun 2026-11-22T10:11": "a date, 2026-11-22T10:11",
    "at 10:11:12": "a clock, 10:11:12",
    "took 12 s": "a clock, 12 s",
    "in 35ms,": "a clock, 35ms",
    "in 3 seconds.": "a clock, 3 seconds",
    "Wall time: many": "a clock, Wall time",
    "41%|####      |": "a clock, 41%|",
    "12it/s": "a clock, 2it/s",
}


def test_traces_in_outputs(book: Book) -> None:
    twin(lambda cells: cells[3].outputs.extend(map(shown, TRACES)))(book)
    lines = [f"{TWIN}, code cell 4: shows {what}" for what in TRACES.values()]
    assert book.reports() == {"traces.outputs": lines}


def test_what_only_looks_like_a_trace(book: Book) -> None:
    text = """
    tau = 12, s = 3, 10 steps, 5 std, 3 sd, 2 s.e.m.
    shape (64, 3) s(10) at 12:30, <figure: s (10), t (10)>
    https://example.org/home/x and ${ROOT}/tmp/x, a/root
    Warnings are errors; 0x1f colours, rate 13/s
    """
    twin(lambda cells: cells[3].outputs[-1].update(text=text))(book)
    assert book.reports() == {}


@pytest.mark.parametrize("tracked", [False, True], ids=["no git", "git"])
def test_a_home_in_a_file(book: Book, tracked: bool) -> None:
    for name in ("tools/plot.py", "_build/log.txt", "logo.png"):
        book.path(name).parent.mkdir(exist_ok=True)
        book.path(name).write_bytes(b"\x89PNG\xff\xfe" if "png" in name else HOME.encode())
    if tracked:
        book.path(".gitignore").write_text("_build/\nignored.txt\n")
        book.path("ignored.txt").write_text(HOME)
        subprocess.run(["git", "init", "-q", str(book.project.root)], check=True)
    line = f"tools/plot.py, line 1: holds a path of this machine, {HOME}"
    assert book.reports() == {"traces.files": [line]}
