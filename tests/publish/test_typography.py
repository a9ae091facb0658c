"""Formulas keep the marks that follow them, and no other text moves."""

from __future__ import annotations

from docutils import nodes
from docutils.utils import new_document
from sphinx.application import Sphinx

from flatter_lib.publish.extension import typography


def test_texts_that_are_equal_are_not_taken_for_each_other() -> None:
    paragraph = nodes.paragraph("", "")
    paragraph += [nodes.strong("", "32"), nodes.Text(", "), nodes.math("", "x")]
    paragraph += [nodes.Text(", "), nodes.math("", "y"), nodes.Text("; then")]
    document = new_document("a page")
    document += paragraph
    before = paragraph.astext()
    joins: list[object] = []

    class Builder:
        def connect(self, event: str, join: object) -> None:
            joins.append(join)

    app: Sphinx = Builder()  # type: ignore[assignment]
    typography.setup(app)
    (join,) = joins
    join(app, document)  # type: ignore[operator]
    assert paragraph.astext() == before
    joined = [node.astext() for node in paragraph.findall(nodes.inline)]
    assert joined == ["x,", "y;"]
