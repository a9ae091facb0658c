"""A page that is no longer part of the book does not stay among the built pages of a second build."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Remove leftovers when the other pages are written."""
    app.connect("build-finished", _remove)


def _remove(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for page in (out / "book").rglob("*.html"):
        if page.relative_to(out).with_suffix("").as_posix() not in app.env.found_docs:
            page.unlink()
