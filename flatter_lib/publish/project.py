"""Where things are in a checkout of a book: its chapters in reading order, and what lies beside them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml


class BookError(Exception):
    """Something that a person can mend: the message is one line that says what is wrong and what to do."""


class FailedError(BookError):
    """Something that was asked for rightly and failed: a cell, a download."""


@dataclass(frozen=True)
class Chapter:
    """One chapter: the text that people edit and the executed notebook that readers see.

    Attributes:
        slug: the name of both twins without their endings; also the name of the page.
        source: the MyST text.
        twin: the executed notebook.
    """

    slug: str
    source: Path
    twin: Path

    @property
    def provenance(self) -> Path:
        """What the twin was executed with (JSON): inputs with their hashes, seconds, versions, machine."""
        return self.twin.with_suffix(".provenance.json")

    @property
    def values(self) -> Path:
        """The twin's values (JSON): name -> numbers and the tolerance that they hold to."""
        return self.twin.with_suffix(".values.json")

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All that an execution leaves: the twin, its values and its provenance."""
        return self.twin, self.values, self.provenance

    def at(self, twin: Path) -> Chapter:
        """The chapter with its executed twin elsewhere: a run of one's own."""
        return Chapter(self.slug, self.source, twin)

    @property
    def title(self) -> str:
        """The first heading of the source, or the slug where there is none."""
        lines = self.source.read_text(encoding="utf-8").splitlines() if self.source.exists() else []
        return next((line[2:].strip() for line in lines if line.startswith("# ")), self.slug)


@dataclass(frozen=True)
class Project:
    """A checkout: the folder that holds ``_config.yml``, ``_toc.yml`` and ``book/``."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The project that holds a folder (default: the current one).

        Raises:
            BookError: if neither the folder nor one above it has a ``_toc.yml`` and a ``book/``.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
                return cls(folder)
        raise BookError(
            "no book here: run this inside a checkout, the folder with _toc.yml and book/ or one below it"
        )

    @property
    def book(self) -> Path:
        """Everything that becomes a page."""
        return self.root / "book"

    @property
    def source(self) -> Path:
        """The chapters' texts."""
        return self.book / "source"

    @property
    def executed(self) -> Path:
        """The chapters' executed twins."""
        return self.book / "chapters"

    @property
    def claims(self) -> Path:
        """One YAML file of claims a chapter, and ``not-tested-here.yml``."""
        return self.book / "claims"

    @property
    def results(self) -> Path:
        """Records of long measurements."""
        return self.book / "results"

    @property
    def library(self) -> Path:
        """The source of ``flatter_lib`` in this checkout."""
        return self.root / "flatter_lib"

    @property
    def build(self) -> Path:
        """What can be deleted: the built pages, runs of one's own, failed notebooks."""
        return self.root / "_build"

    @property
    def html(self) -> Path:
        """The published book."""
        return self.build / "html"

    def toc_files(self) -> list[str]:
        """Every document in the table of contents, without endings, in reading order.

        Raises:
            BookError: if the table of contents is missing or is not YAML.
        """
        path = self.root / "_toc.yml"
        try:
            toc = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BookError(f"_toc.yml cannot be read: {' '.join(str(error).split())}") from error
        return list(_files(toc))

    def chapters(self) -> list[Chapter]:
        """The chapters in reading order; sources that the table of contents does not name come last."""
        slugs = [Path(f).name for f in self.toc_files() if Path(f).parent == Path("book/chapters")]
        slugs += sorted(p.stem for p in self.source.glob("*.md") if p.stem not in slugs)
        return [self.chapter_paths(slug) for slug in slugs]

    def chapter_paths(self, slug: str) -> Chapter:
        """Where a chapter's twins are, whether or not they exist."""
        return Chapter(slug, self.source / f"{slug}.md", self.executed / f"{slug}.ipynb")

    def chapter(self, name: str) -> Chapter:
        """The chapter of that slug (a path to either twin serves too).

        Raises:
            BookError: if there is none; the message names the nearest.
        """
        slug = Path(name).name.removesuffix(".md").removesuffix(".ipynb")
        known = {chapter.slug: chapter for chapter in self.chapters()}
        if slug in known:
            return known[slug]
        near = get_close_matches(slug, known, n=3, cutoff=0.4) or list(known)
        raise BookError(
            f"no chapter {name!r}; did you mean {' or '.join(near)}? (`flatter chapters` lists them)"
        )


def _files(node: Any) -> list[str]:
    if isinstance(node, list):
        return [file for item in node for file in _files(item)]
    if not isinstance(node, dict):
        return []
    own = [str(node[key]) for key in ("root", "file") if key in node]
    return own + [f for key in ("parts", "chapters", "sections") for f in _files(node.get(key))]
