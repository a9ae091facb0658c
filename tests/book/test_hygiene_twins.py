"""Each hole in sources and twins, made in a book that is healthy but for it, is found by the check that is for it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from nbformat import NotebookNode, v4

from flatter_lib.publish import freshness

if TYPE_CHECKING:
    from tests.book.conftest import Book

SLUG = "falling-water"
SOURCE = f"book/source/{SLUG}.md"
TWIN = f"book/chapters/{SLUG}.ipynb"
VALUES = f"book/chapters/{SLUG}.values.json"
# Written so that this file holds no path of a machine itself.
HOME = "/" + "home/ada"

Cells = list[NotebookNode]


def only(book: Book, check: str) -> list[str]:
    """What one check reports, when it is the only one that reports anything; each line says what to do."""
    reports = book.reports()
    assert set(reports) == {check}, reports
    assert all(finding.cure for finding in reports[check])
    return [f"{finding.where}: {finding.what}" for finding in reports[check]]


# Source and twin


def test_a_source_without_a_twin(book: Book) -> None:
    for path in (book.chapter.twin, book.chapter.provenance, book.chapter.values):
        path.unlink()
    reports = book.reports()
    # What it recorded went with it.
    assert set(reports) == {"pairs.one_to_one", "references.claims"}
    [finding] = reports["pairs.one_to_one"]
    assert str(finding) == f"{TWIN}: was never executed; execute it: flatter run {SLUG}"


def test_a_twin_without_a_source(book: Book) -> None:
    book.chapter.source.unlink()
    reports = book.reports()
    assert [(f.where, f.what) for f in reports["pairs.one_to_one"]] == [(SOURCE, "is missing")]


def test_a_chapter_that_the_contents_do_not_name(book: Book) -> None:
    book.replace("_toc.yml", f"      - file: book/chapters/{SLUG}\n", "")
    assert only(book, "pairs.one_to_one") == [f"_toc.yml: book/chapters/{SLUG} is not in it"]


def test_a_page_that_the_contents_name_twice(book: Book) -> None:
    line = "      - file: book/references\n"
    book.replace("_toc.yml", line, line * 2)
    assert only(book, "pairs.one_to_one") == ["_toc.yml: book/references is 2 times in it"]


def test_a_chapter_that_the_contents_name_twice(book: Book) -> None:
    line = f"      - file: book/chapters/{SLUG}\n"
    book.replace("_toc.yml", line, line * 2)
    [finding] = book.reports()["pairs.one_to_one"]
    assert finding.what == f"book/chapters/{SLUG} is 2 times in it"


def test_a_stray_file_beside_the_twins(book: Book) -> None:
    book.path("book/chapters/old.values.json").write_text("{}")
    stray = "book/chapters/old.values.json: belongs to no chapter"
    assert only(book, "pairs.one_to_one") == [stray]


def test_a_twin_that_is_no_notebook(book: Book) -> None:
    text = book.chapter.twin.read_text()
    book.chapter.twin.write_text(text[: len(text) // 2])
    [line] = [str(finding) for finding in book.reports()["notebooks.readable"]]
    assert line.startswith(f"{TWIN}: is not a notebook: ")
    assert f"flatter run {SLUG}" in line


def test_a_twin_whose_cells_lack_what_a_notebook_must_have(book: Book) -> None:
    content = json.loads(book.chapter.twin.read_text())
    del content["cells"][0]["id"]
    book.chapter.twin.write_text(json.dumps(content))
    assert "'id' is a required property" in str(book.reports()["notebooks.readable"][0])


# Freshness


def test_a_text_edited_since(book: Book) -> None:
    book.replace(SOURCE, "How long does", "How long did")
    assert set(book.reports()) == {"pairs.fresh", "pairs.equal_cells"}
    assert str(book.reports()["pairs.fresh"][0]) == (
        f"{TWIN}: is not fresh: its text changed; execute it again: flatter run {SLUG}"
    )


def test_a_synced_text_does_not_pass_for_fresh(book: Book) -> None:
    # jupytext --sync carries an edit over: equal cells, old outputs.
    book.replace(SOURCE, "draw(drops)", "draw(1 + drops)")

    def sync(cells: Cells) -> None:
        cells[2].source = cells[2].source.replace("draw(drops)", "draw(1 + drops)")

    book.edit_twin(sync, clean=True)
    assert only(book, "pairs.fresh") == [f"{TWIN}: is not fresh: its code changed"]


def test_measurements_changed_since(book: Book) -> None:
    book.path("book/results/drops.json").unlink()
    assert only(book, "pairs.fresh") == [f"{TWIN}: is not fresh: `drops.json` changed"]


def test_a_changed_library_is_no_finding(book: Book) -> None:
    # Executing the chapter again says whether anything came out otherwise.
    book.replace("flatter_lib/figures.py", "WIDTH = 7", "WIDTH = 8")
    assert freshness.state(book.project, book.chapter).unverified == ("`figures` changed",)
    assert book.reports() == {}


def test_a_twin_without_provenance(book: Book) -> None:
    book.chapter.provenance.unlink()
    assert only(book, "pairs.fresh") == [
        f"{TWIN}: is not fresh: its provenance is missing or damaged"
    ]


def test_parameters_that_are_computed(book: Book) -> None:
    book.replace(SOURCE, "pace: float = 0.125", "pace: float = drops / 8")
    [finding] = book.reports()["pairs.fresh"]
    assert finding.where == SOURCE
    assert "pace is not a literal" in finding.what


# Equal cells


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda cells: cells[2].update(source="figures.show(other)"), "code cell 3: its text"),
        (lambda cells: cells[3].metadata.update(tags=["hide-input"]), "code cell 4: its metadata"),
        (lambda cells: cells[0].metadata.clear(), "code cell 1: its metadata"),
    ],
    ids=["text", "tag", "no-tag"],
)
def test_a_twin_edited_by_hand(book: Book, change: Any, line: str) -> None:
    book.edit_twin(change, clean=True)
    assert only(book, "pairs.equal_cells") == [f"{TWIN}, {line} differ from the source's"]


def test_a_cell_turned_into_another_kind(book: Book) -> None:
    content = json.loads(book.chapter.twin.read_text())
    content["cells"][0]["cell_type"] = "raw"
    book.chapter.twin.write_text(json.dumps(content))
    book.edit_twin(lambda cells: None, clean=True)
    line = f"{TWIN}, text cell 1: its kind differ from the source's"
    assert only(book, "pairs.equal_cells") == [line]


def test_a_cell_too_many(book: Book) -> None:
    content = json.loads(book.chapter.twin.read_text())
    content["cells"].append(v4.new_markdown_cell("Signed, Newton"))
    book.chapter.twin.write_text(json.dumps(content))
    book.edit_twin(lambda cells: None, clean=True)
    assert only(book, "pairs.equal_cells") == [f"{TWIN}: has 7 cells, its source 6"]


def test_a_profile_edited_since(book: Book) -> None:
    book.replace(SOURCE, "drops: 2\n", "drops: 1\n")
    book.stamp()
    assert only(book, "pairs.equal_cells")[0].startswith(f"{TWIN}: profiles or records")


# Marks of a run


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda cells: cells[0].update(id="abcd1234"), "its id abcd1234 is not the stable one"),
        (
            lambda cells: cells[0].metadata.update(execution={"shell.execute_reply": "now"}),
            "its metadata hold marks of a run (execution)",
        ),
        (
            lambda cells: cells[0].metadata.update(papermill={"duration": 1}),
            "its metadata hold marks of a run (papermill)",
        ),
        (
            lambda cells: cells[0].update(outputs=[v4.new_output("stream", text="a")] * 2),
            "its outputs are not cleaned",
        ),
        (
            lambda cells: cells[0].update(
                outputs=[
                    v4.new_output(
                        "display_data",
                        {"text/plain": "x"},
                        metadata={"flatter": {"role": "glue", "values": [{"name": "x"}]}},
                    )
                ]
            ),
            "its values are still in its output",
        ),
    ],
    ids=["id", "execution", "papermill", "cut stream", "value"],
)
def test_a_mark_of_the_run(book: Book, change: Any, line: str) -> None:
    book.edit_twin(change)
    [found] = only(book, "pairs.clean")
    assert found.startswith(f"{TWIN}, code cell 1: {line}")


def test_a_notebook_with_the_marks_of_its_run(book: Book) -> None:
    content = json.loads(book.chapter.twin.read_text())
    content["metadata"]["papermill"] = {"duration": 2.5}
    book.chapter.twin.write_text(json.dumps(content))
    line = f"{TWIN}: its own metadata are not those of a published twin"
    assert only(book, "pairs.clean") == [line]


# Execution


@pytest.mark.parametrize(
    ("count", "line"),
    [(None, "was not executed"), (7, "was executed as number 7, not 2")],
)
def test_a_cell_executed_out_of_order(book: Book, count: int | None, line: str) -> None:
    book.edit_twin(lambda cells: cells[1].update(execution_count=count))
    assert only(book, "outputs.in_order") == [f"{TWIN}, code cell 2: {line}"]


def test_an_error_in_an_output(book: Book) -> None:
    error = v4.new_output("error", ename="ValueError", evalue="no water", traceback=[])
    book.edit_twin(lambda cells: cells[1].outputs.append(error))
    line = f"{TWIN}, code cell 2: ends in an error, ValueError: no water"
    assert only(book, "outputs.in_order") == [line]


@pytest.mark.parametrize("mark", ["# NBVAL_IGNORE_OUTPUT", "nbval-skip", "raises-exception"])
def test_a_cell_that_nbval_is_told_to_pass_over(book: Book, mark: str) -> None:
    if mark.startswith("#"):
        book.edit_source("draw(drops)", f"draw(drops)  {mark}")
    else:
        book.edit_source(":tags: [parameters]", f":tags: [parameters, {mark}]")
    [found] = book.reports()["outputs.in_order"]
    assert found.what == "tells nbval not to hold what it shows"


def test_an_empty_cell(book: Book) -> None:
    book.edit_source("from flatter_lib import figures\nfrom myst_nb import glue\n", "")
    assert only(book, "outputs.in_order") == [f"{TWIN}, code cell 2: is empty"]


# Figures


ALT = "A parabola that opens downwards, with three drops marked on it."


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (f"    alt: {ALT}\n", "    width: 80%\n", "its alternative text is missing"),
        (ALT, "falling-water_3_0.svg", "its alternative text is a file name"),
        (ALT, "fig-fall", "its alternative text only repeats the figure's name or caption"),
        (
            ALT,
            "Height against time, as {cite}`newton1687` has it.",
            "its alternative text only repeats the figure's name or caption",
        ),
        (ALT, "A parabola", "its alternative text is too short to say what is seen ('A parabola')"),
        (
            "    caption: Height against time, as {cite}`newton1687` has it.\n",
            "",
            "shows a figure without a caption",
        ),
    ],
    ids=["no alt", "file name", "alt is name", "alt is caption", "short alt", "no caption"],
)
def test_a_figure_that_cannot_be_read_aloud(book: Book, old: str, new: str, what: str) -> None:
    book.edit_source(old, new)
    assert only(book, "outputs.figures") == [f"{TWIN}, code cell 3: {what}"]


def test_a_figure_without_a_name(book: Book) -> None:
    book.edit_source("    name: fig-fall\n", "")
    assert only(book, "outputs.figures") == [f"{TWIN}, code cell 3: shows a figure without a name"]


def test_a_figure_name_without_its_prefix(book: Book) -> None:
    book.edit_source("name: fig-fall", "name: fall")
    line = f"{TWIN}, code cell 3: its figure name fall does not begin with fig-"
    assert only(book, "outputs.figures") == [line]


def test_a_figure_name_used_twice(book: Book) -> None:
    def copy(cells: Cells) -> None:
        cells[1].metadata, cells[1].outputs = cells[2].metadata, cells[2].outputs

    book.edit_twin(copy)
    assert [str(f) for f in book.reports()["outputs.figures"]] == [
        f"{TWIN}, code cell 3: its figure name fig-fall is also that of {TWIN}, code cell 2; "
        "give each figure a name of its own"
    ]


def test_two_figures_in_one_cell(book: Book) -> None:
    book.edit_twin(lambda cells: cells[2].outputs.extend(cells[2].outputs))
    assert only(book, "outputs.figures") == [f"{TWIN}, code cell 3: shows 2 pictures"]


def test_a_figure_cell_without_a_picture(book: Book) -> None:
    book.edit_twin(lambda cells: cells[2].outputs.clear())
    reports = book.reports()
    line = f"{TWIN}, code cell 3: is named fig-fall but shows no picture"
    assert [f"{f.where}: {f.what}" for f in reports.pop("outputs.figures")] == [line]
    assert [f.what for f in reports.pop("published.values")] == [
        "has fig-fall: height, which no cell shows",
        "has fig-fall: time, which no cell shows",
    ]
    assert not reports


@pytest.mark.parametrize(
    "data",
    [{"image/png": "iVBORw0KGgo="}, {"text/html": "<div><img src='data:image/png;base64,'></div>"}],
)
def test_a_picture_outside_a_figure(book: Book, data: dict[str, str]) -> None:
    book.edit_twin(lambda cells: cells[1].outputs.append(v4.new_output("display_data", data)))
    found = [str(finding).partition(";")[0] for finding in book.reports()["outputs.figures"]]
    assert f"{TWIN}, code cell 2: shows a figure without a name" in found
    assert f"{TWIN}, code cell 2: its alternative text is missing" in found


# Values


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda values: values.pop("fall-time"),
            f"{TWIN}, code cell 4: shows fall-time, which is not among the chapter's values",
        ),
        (
            lambda values: values.update(rise=values["fall-time"]),
            f"{VALUES}: has rise, which no cell shows",
        ),
        (
            lambda values: values["fall-time"].update(numbers=[0.47]),
            f"{TWIN}, code cell 4: shows \"'0.45'\" where its value is '0.47'",
        ),
        (
            lambda values: values["claim free-fall"].update(numbers=[[0.75, 0.74, 0.76]]),
            f"{TWIN}, code cell 4: shows 'claim free-fall: 0.450 [0.440, 0.460] (runs=3, scale=laptop)' "
            "where its value is 'claim free-fall: 0.750 [0.740, 0.760] (runs=3, scale=laptop)'",
        ),
        (
            lambda values: values["fall-time"].pop("numbers"),
            f"{VALUES}: {SLUG}: 'fall-time' of its published values is damaged",
        ),
    ],
    ids=["missing", "left over", "edited", "a row of the ledger edited", "damaged"],
)
def test_values_that_are_not_what_is_shown(book: Book, change: Any, line: str) -> None:
    book.edit_values(change)
    found = book.reports()["published.values"]
    assert [f"{finding.where}: {finding.what}" for finding in found] == [line]


def test_damaged_values(book: Book) -> None:
    book.chapter.values.write_text("{")
    line = f"{VALUES}: {SLUG}: its published values are missing or damaged"
    assert [f"{f.where}: {f.what}" for f in book.reports()["published.values"]] == [line]


def test_a_picture_without_its_numbers(book: Book) -> None:
    book.edit_twin(lambda cells: cells[2].outputs[0].metadata.clear())
    found = [finding.what for finding in book.reports()["published.values"]]
    assert "shows a picture without the numbers behind it" in found


@pytest.mark.parametrize("text", ["drops {} in all", "x_{}", "lr{}, more", "[0 {}]"])
@pytest.mark.parametrize(
    "number",
    ["0.25", "2.5e-3", "1e-16", "1,234.5", "1.e-05", "1.", "0.12", "10.125", "0.1250", "125e-3"],
)
def test_a_number_printed_past_its_value(book: Book, number: str, text: str) -> None:
    book.edit_twin(lambda cells: cells[3].outputs[-1].update(text=f"{text.format(number)}\n"))
    line = f"{TWIN}, code cell 4: prints a bare number, {number}"
    assert only(book, "published.bare_numbers") == [line]


@pytest.mark.parametrize("number", [".25", "-0.1", "-.5e2", "nan"])
def test_a_number_with_a_sign_or_without_a_zero(book: Book, number: str) -> None:
    book.edit_source("from flatter_lib import figures", "from numpy import nan")
    book.edit_twin(lambda cells: cells[3].outputs[-1].update(text=f"drops {number} in all\n"))
    line = f"{TWIN}, code cell 4: prints a bare number, {number}"
    assert only(book, "published.bare_numbers") == [line]


def test_a_number_hidden_in_the_words_of_a_value(book: Book) -> None:
    book.edit_values(lambda values: values["fall-time"].update(words="{:.2f} of 0.731"))
    found = book.reports()["published.bare_numbers"]
    assert [finding.what for finding in found] == ["prints a bare number, 0.731"]


def test_a_number_that_the_code_says_itself_is_a_word(book: Book) -> None:
    said = "below 0.45, a pace of 0.125: lr0.125, section A.3, 3 drops\n"
    book.edit_twin(lambda cells: cells[3].outputs[-1].update(text=said))
    assert book.reports() == {}


def test_a_mark_without_values_hides_no_number(book: Book) -> None:
    marked = v4.new_output("display_data", {"text/plain": "0.731"}, metadata={"flatter": {}})
    book.edit_twin(lambda cells: cells[3].outputs.append(marked))
    line = f"{TWIN}, code cell 4: prints a bare number, 0.731"
    assert only(book, "published.bare_numbers") == [line]


def test_a_glued_text_that_is_no_value(book: Book) -> None:
    data = {"application/papermill.record/text/plain": "'0.47'"}
    bare = v4.new_output("display_data", data, metadata={"scrapbook": {"name": "fall-time"}})
    book.edit_twin(lambda cells: cells[3].outputs.__setitem__(0, bare))
    found = book.reports()["published.bare_numbers"]
    assert [finding.what for finding in found] == ["prints a bare number, 0.47"]


# Traces of machine and moment


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
    shown = [v4.new_output("display_data", {"text/plain": text}) for text in TRACES]
    book.edit_twin(lambda cells: cells[3].outputs.extend(shown))
    expected = [f"{TWIN}, code cell 4: shows {what}" for what in TRACES.values()]
    assert only(book, "traces.outputs") == expected


def test_a_trace_in_printed_text(book: Book) -> None:
    book.edit_twin(lambda cells: cells[3].outputs[-1].update(text="drops 3\ntook 12 s\n"))
    assert only(book, "traces.outputs") == [f"{TWIN}, code cell 4: shows a clock, 12 s"]


def test_the_folder_of_the_checkout_in_an_output(book: Book) -> None:
    shown = v4.new_output("display_data", {"text/html": f"<b>{book.project.root}/x</b>"})
    book.edit_twin(lambda cells: cells[3].outputs.append(shown))
    [line] = only(book, "traces.outputs")
    start = f"{TWIN}, code cell 4: shows a path of the machine, {book.project.root}"
    assert line == start or (line.endswith("...") and start.startswith(line[:-3]))


def test_a_date_in_a_picture(book: Book) -> None:
    def date(cells: Cells) -> None:
        cells[2].outputs[0].data["image/svg+xml"] += "<dc:date>2026-11-22T10:11:12</dc:date>"

    book.edit_twin(date)
    assert only(book, "traces.outputs") == [f"{TWIN}, code cell 3: shows a date, 2026-11-22T10:11"]


def test_anything_on_stderr(book: Book) -> None:
    quiet = v4.new_output("stream", name="stderr", text="all is well")
    book.edit_twin(lambda cells: cells[3].outputs.append(quiet))
    line = f"{TWIN}, code cell 4: writes to stderr: all is well"
    assert only(book, "traces.outputs") == [line]


def test_what_only_looks_like_a_trace(book: Book) -> None:
    text = """
    tau = 12, s = 3, 10 steps, 5 std, 3 sd, 2 s.e.m.
    shape (64, 3) s(10) at 12:30, <figure: s (10), t (10)>
    https://example.org/home/x and ${ROOT}/tmp/x, a/root
    Warnings are errors; 0x1f colours, rate 13/s
    """
    book.edit_twin(lambda cells: cells[3].outputs[-1].update(text=text))
    assert book.reports() == {}


@pytest.mark.parametrize("tracked", [False, True], ids=["no git", "git"])
def test_a_home_in_a_file(book: Book, tracked: bool) -> None:
    book.path("tools").mkdir()
    book.path("tools/plot.py").write_text(f'# plots\nDATA = "{HOME}/data"\n')
    book.path("_build").mkdir()
    book.path("_build/log.txt").write_text(f"{HOME}\n")
    if tracked:
        book.path(".gitignore").write_text("_build/\nignored.txt\n")
        book.path("ignored.txt").write_text(f"{HOME}\n")
        subprocess.run(["git", "init", "-q", str(book.project.root)], check=True)
    line = f"tools/plot.py, line 2: holds a path of this machine, {HOME}"
    assert only(book, "traces.files") == [line]


def test_the_folder_of_the_checkout_in_a_file(book: Book) -> None:
    book.path("run.sh").write_text(f"cd {book.project.root}\n")
    book.path("logo.png").write_bytes(b"\x89PNG\xff\xfe")
    line = f"run.sh, line 1: holds a path of this machine, {book.project.root}"
    assert only(book, "traces.files") == [line]


def test_a_source_that_jupyterlab_would_save_otherwise(book: Book) -> None:
    book.replace(SOURCE, ":tags: [parameters]\n\n", ":tags: [parameters]\n")
    assert only(book, "pairs.tidy") == [f"{SOURCE}: is not as JupyterLab would save it"]
