"""A chapter is read in a quarter of an hour: what is not folded away is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from flatter_lib.publish import sources
from flatter_lib.publish.project import Project

BOOK = Project.find(Path(__file__).parent)
#: Words of open prose and lines of open code: a quarter of an hour, and what two screens hold.
WORDS, LINES = 2900, 130
#: Chapters with a reason to be longer.
LONGER = {
    "the-scalar-valley-in-full": "the appendix of the first chapter",
    "momentum-in-a-noisy-valley": "the derivation that all other chapters stand on",
}
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
#: Proofs and solutions are folded; formulas, tables and drawings are no words.
NO_PROSE = re.compile(
    r"^(:{3,})\{(?:prf:proof|solution)\}.*?^\1$|^`{3}.*?^`{3}$|^\$\$.*?^\$\$|^\|.*?$",
    re.DOTALL | re.MULTILINE,
)


def opened(notebook: NotebookNode) -> tuple[int, int]:
    """Words of prose and lines of code that a page shows before anything is unfolded."""
    words = lines = level = 0
    folded = None  # the level of the heading whose rest is folded
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if folded is None and not HIDDEN & set(cell.metadata.get("tags", ())):
                lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            continue
        start, *sections = HEADING.split(cell.source)
        for marks, part in (("", start), *zip(sections[::2], sections[1::2], strict=True)):
            if marks:
                level = len(marks)
                folded = folded if folded and level > folded else None
            if folded:
                continue
            shown, fold, _ = part.partition("```{in-full}")
            words += len(NO_PROSE.sub("", shown).split())
            folded = level if fold else None
    return words, lines


@pytest.mark.parametrize("slug", [c.slug for c in BOOK.chapters() if c.slug not in LONGER])
def test_a_chapter_is_read_in_a_quarter_of_an_hour(slug: str) -> None:
    chapter = next(c for c in BOOK.chapters() if c.slug == slug)
    words, lines = opened(sources.read(chapter))
    assert words <= WORDS, (
        f"{words} words: fold what a first reader can do without, with {{in-full}}"
    )
    assert lines <= LINES, f"{lines} lines of code: hide what is no idea, with the tag hide-input"


def test_what_is_folded_is_not_counted() -> None:
    shown = new_code_cell("a = 1\n\nb = 2")
    hidden = new_code_cell("c = 3", metadata={"tags": ["hide-input"]})
    prose = "Two words.\n\n:::{prf:proof}\nMany more words.\n:::\n\n$$\nx\n$$"
    fold = "## Three words here\n\nOne.\n\n```{in-full}\n```\n\nAll of this.\n\n### And this"
    cells = [new_markdown_cell(prose), hidden, new_markdown_cell(fold), shown]
    assert opened(new_notebook(cells=cells)) == (2 + 3 + 1, 0)
    after = [new_markdown_cell("## Next\n\nOpen."), new_code_cell(shown.source)]
    assert opened(new_notebook(cells=[*cells, *after])) == (2 + 3 + 1 + 2, 2)
