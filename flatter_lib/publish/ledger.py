"""The ledger: every claim that the book tests, with the row that a published chapter recorded for it.

Claims are the YAML files of ``book/claims``; rows are values of the published twins. Nothing but publishing a twin
changes the ledger, and re-executing the chapter holds every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flatter_lib.claims import UNTESTED, band, verdict
from flatter_lib.publish import sources, twins
from flatter_lib.publish.project import BookError, Chapter, Project
from flatter_lib.values import Estimate, Value, number_of, written

REQUIRED = ("id", "paper", "place", "statement")
OPTIONAL = ("measured", "expect", "caveat", "untested")
#: How a claim's ``expect`` is written.
BANDS = "{equals: x, tolerance: t}, {at_most: x}, {at_least: x} or {between: [a, b]}"
#: Any of these in a row's ``where`` says how large the sample was.
SAMPLE_SIZES = (
    "runs",
    "seeds",
    "starts",
    "trials",
    "samples",
    "points",
    "settings",
    "problems",
    "instances",
    "teachers",
)


@dataclass(frozen=True)
class Claim:
    """One claim: what is said and where, what is measured, and what the claim allows that number to be."""

    id: str
    paper: str
    place: str
    statement: str
    measured: str = ""
    expect: dict[str, Any] | None = None
    caveat: str = ""
    untested: str = ""
    file: str = ""


@dataclass(frozen=True)
class Row:
    """What a chapter recorded of a claim; ``written`` is the number as the book prints it, to the digits that hold."""

    claim: str
    chapter: str
    value: float
    low: float | None
    high: float | None
    where: dict[str, Any]
    written: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: a claim, its row if it was tested, and the verdict computed from the two."""

    claim: Claim
    row: Row | None
    verdict: str


def claims(project: Project) -> list[Claim]:
    """Every claim, in the order of the files' names and of the lists in them.

    Raises:
        BookError: if a file is not a list of well-formed claims; the message names the file and the claim.
    """
    return [claim for path in sorted(project.claims.glob("*.yml")) for claim in _claims(path)]


def rows(project: Project) -> list[Row]:
    """Every row in the published twins, in reading order.

    Raises:
        BookError: if a twin is damaged.
    """
    return [
        _row(chapter.slug, value)
        for chapter in project.chapters()
        if chapter.twin.exists()
        for value in twins.published_values(chapter).values()
        if value["role"] == "claim"
    ]


def entries(project: Project) -> list[Entry]:
    """The ledger: claims with their rows. Rows without a claim are not here; see :func:`problems`.

    Raises:
        BookError: if a claims file is malformed or a twin is damaged.
    """
    recorded = {row.claim: row for row in rows(project)}
    return [_entry(claim, recorded.get(claim.id)) for claim in claims(project)]


def verdicts(project: Project) -> Callable[[Value], str]:
    """What a row of the ledger amounts to, as a function of its value; empty for a row without a claim.

    Raises:
        BookError: if a claims file is malformed.
    """
    known = {claim.id: claim for claim in claims(project)}

    def amounts_to(value: Value) -> str:
        claim = known.get(str(value["name"]))
        return _entry(claim, _row("", value)).verdict if claim else ""

    return amounts_to


def bands(project: Project, chapter: Chapter) -> dict[str, dict[str, Any]]:
    """What the claims in a chapter's file allow, by their ids.

    Raises:
        BookError: if the file is malformed.
    """
    path = project.claims / f"{chapter.slug}.yml"
    return {c.id: c.expect for c in (_claims(path) if path.exists() else ()) if c.expect}


def problems(project: Project) -> list[str]:
    """Everything that keeps claims and rows from being one to one, each with its cure."""
    try:
        known, recorded = claims(project), rows(project)
    except BookError as error:
        return [str(error)]
    found = []
    by_id: dict[str, Claim] = {}
    for claim in known:
        if claim.id in by_id:
            other = by_id[claim.id].file
            found.append(f"{claim.file}: claim {claim.id} is also in {other}: keep one")
        by_id[claim.id] = claim
    chapters: dict[str, list[str]] = {}
    for row in recorded:
        chapters.setdefault(row.claim, []).append(row.chapter)
        found += _row_problems(row, by_id.get(row.claim))
    cure = "record it in a chapter, or say why not with `untested:`"
    for claim in known:
        if not claim.untested and claim.id not in chapters:
            found.append(f"{claim.file}: claim {claim.id} has no row: {cure}")
    for name, here in chapters.items():
        if len(here) > 1:
            times = f"{len(here)} times, in {', '.join(here)}"
            found.append(f"claim {name} is recorded {times}: keep one")
    return found


def _row_problems(row: Row, claim: Claim | None) -> Iterator[str]:
    if claim is None:
        yield f"{row.chapter}: records the claim {row.claim}, which no file in book/claims states: add it there"
        return
    if claim.file != f"{row.chapter}.yml":
        yield f"{claim.file}: claim {row.claim} is recorded by {row.chapter}: move it to {row.chapter}.yml"
    if claim.untested:
        yield f"{claim.file}: claim {row.claim} is called untested, but {row.chapter} records it: drop `untested:`"
    if "scale" not in row.where:
        yield f"{row.chapter}: claim {row.claim} does not say its scale: record(..., scale=...)"
    if row.low is not None and not any(name in row.where for name in SAMPLE_SIZES):
        yield f"{row.chapter}: claim {row.claim} does not say its sample size: record(..., runs=...)"


def _entry(claim: Claim, row: Row | None) -> Entry:
    if row is None or claim.expect is None:
        return Entry(claim, None, UNTESTED)
    return Entry(claim, row, verdict(claim.expect, row.value, row.low, row.high, claim.caveat))


def _claims(path: Path) -> Iterator[Claim]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        problem = next(sources.surprises(yaml.compose(text, yaml.SafeLoader)), "")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BookError(f"{path.name}: not YAML: {' '.join(str(error).split())}") from error
    if problem:
        raise BookError(f"{path.name}: {problem}")
    for item in content if isinstance(content, list) else [content] if content else []:
        if not isinstance(item, dict):
            raise BookError(f"{path.name}: every item is a claim with {', '.join(REQUIRED)}")
        name = item.get("id", "without an id")
        missing = [key for key in REQUIRED if not item.get(key)]
        unknown = sorted(map(str, set(item) - {*REQUIRED, *OPTIONAL}))
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"has an unknown key {unknown[0]}"
            raise BookError(f"{path.name}: claim {name} {what}")
        for key in ({*REQUIRED, *OPTIONAL} - {"expect"}) & set(item):
            if not isinstance(item[key], str):
                raise BookError(f"{path.name}: claim {name}: {key} must be a text")
        tested = bool(item.get("expect")) and bool(item.get("measured"))
        if bool(item.get("untested")) == tested:
            raise BookError(
                f"{path.name}: claim {name} needs either `expect:` and `measured:`, or `untested:`"
            )
        if item.get("expect"):
            try:
                band(dict(item["expect"]))
            except (ValueError, TypeError):
                what = f"claim {name}: expect: {item['expect']} is no band: {BANDS}"
                raise BookError(f"{path.name}: {what}, in finite numbers") from None
        yield Claim(**item, file=path.name)


def _row(chapter: str, value: Value) -> Row:
    number = number_of(value)
    where, words = dict(value.get("where", {})), written(value)
    if isinstance(number, Estimate):
        found = (number.value, number.low, number.high)
        return Row(str(value["name"]), chapter, *found, where, words)
    return Row(str(value["name"]), chapter, number, None, None, where, words)
