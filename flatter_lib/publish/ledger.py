"""The ledger: every claim that the book tests, with the row that a published chapter recorded for it.

Claims are the YAML files of ``book/claims``; rows are values of the published twins. Nothing but publishing a twin
changes the ledger, and re-executing the chapter holds every row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from flatter_lib.claims import UNTESTED, band, verdict
from flatter_lib.publish import sources, twins
from flatter_lib.publish.project import BookError, Chapter, Project
from flatter_lib.values import Estimate, Value, number_of, written

REQUIRED = ("id", "paper", "place", "statement")
#: What is a text wherever it is given.
TEXTS = (*REQUIRED, "measured", "caveat", "untested", "reading", "repeats", "since", "formerly")
#: What is true or false.
FLAGS = ("universal", "misprint", "check", "before_records")
KEYS = (*TEXTS, *FLAGS, "expect", "changed")
COMMIT = re.compile("[0-9a-f]{7,40}")
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
class Change:
    """A change of a band: a commit that still had the old one, what that was, and why it was changed."""

    commit: str
    was: dict[str, Any]
    because: str


@dataclass(frozen=True)
class Claim:
    """One claim: what is said and where, what is measured, and what the claim allows that number to be.

    ``universal``, ``reading`` and ``misprint`` are those of :func:`flatter_lib.claims.verdict`. A ``check`` is about
    the book's own instruments, or could hardly come out otherwise; ``repeats`` names a row with the same number, or of
    the same statement.
    ``since`` is the commit that first wrote the band (for a claim that was ``formerly`` called otherwise, if it was),
    ``before_records`` whether that was before what it judges was measured, and ``changed`` what became of it since.
    """

    id: str
    paper: str
    place: str
    statement: str
    measured: str = ""
    expect: dict[str, Any] | None = None
    caveat: str = ""
    untested: str = ""
    reading: str = ""
    universal: bool = False
    misprint: bool = False
    check: bool = False
    repeats: str = ""
    since: str = ""
    formerly: str = ""
    before_records: bool | None = None
    changed: tuple[Change, ...] = ()
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
    """A line of the ledger: a claim, its row if it was tested, and the verdict computed from the two.

    Not counted is a check, and a row with the verdict of the one that it repeats.
    """

    claim: Claim
    row: Row | None
    verdict: str
    counted: bool = True


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
    found = [_entry(claim, recorded.get(claim.id)) for claim in claims(project)]
    verdict_of = {entry.claim.id: entry.verdict for entry in found}
    return [replace(e, counted=_counts(e, verdict_of)) for e in found]


def as_data(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it: the claim, the number with its interval and circumstances, the verdict."""
    claim, row = entry.claim, entry.row
    named = (
        "id",
        "paper",
        "place",
        "statement",
        "measured",
        "expect",
        "reading",
        "caveat",
        "untested",
    )
    said = {name: getattr(claim, name) for name in named if getattr(claim, name)}
    numbers = ("value", "low", "high", "where", "chapter")
    found = {name: getattr(row, name) for name in numbers} if row else {}
    return said | found | {"verdict": entry.verdict, "counted": entry.counted}


def _counts(entry: Entry, verdict_of: dict[str, str]) -> bool:
    return not entry.claim.check and verdict_of.get(entry.claim.repeats) != entry.verdict


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
    return [*found, *_repetitions(by_id, recorded)]


def _repetitions(by_id: dict[str, Claim], recorded: list[Row]) -> Iterator[str]:
    """Rows that repeat another one without saying so, or say so of a row that is not there."""
    for claim in by_id.values():
        other = by_id.get(claim.repeats)
        if claim.repeats and (other is None or other.repeats or other is claim):
            why = "repeats another one" if other else "is not in the ledger"
            yield f"{claim.file}: claim {claim.id} repeats {claim.repeats}, which {why}: name a row that stands alone"
    first: dict[tuple[Any, ...], str] = {}
    for row in recorded:
        if row.low is None or row.claim not in by_id:
            continue
        other_id = first.setdefault((row.chapter, row.value, row.low, row.high), row.claim)
        said = {by_id[row.claim].repeats or row.claim, by_id[other_id].repeats or other_id}
        if len(said) > 1:
            cure = f"say so with `repeats: {other_id}`, or drop it"
            yield f"{by_id[row.claim].file}: claim {row.claim} has the same number as {other_id}: {cure}"


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
    said = verdict(
        claim.expect,
        row.value,
        row.low,
        row.high,
        claim.caveat,
        universal=claim.universal,
        reading=claim.reading,
        misprint=claim.misprint,
    )
    return Entry(claim, row, said)


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
        problem = next(_claim_problems(item), "")
        if problem:
            raise BookError(f"{path.name}: claim {item.get('id', 'without an id')}{problem}")
        changed = tuple(Change(**change) for change in item.get("changed", ()))
        yield Claim(**item | {"changed": changed, "file": path.name})


def _claim_problems(item: dict[Any, Any]) -> Iterator[str]:
    """What is wrong with a claim as it is written; each goes on after the claim's name."""
    missing = [key for key in REQUIRED if not item.get(key)]
    unknown = sorted(map(str, set(item) - set(KEYS)))
    if missing:
        yield f" lacks {', '.join(missing)}"
    if unknown:
        yield f" has an unknown key {unknown[0]}"
    for key, kind, name in [(k, str, "a text") for k in TEXTS] + [
        (k, bool, "true or false") for k in FLAGS
    ]:
        if key in item and not isinstance(item[key], kind):
            yield f": {key} must be {name}"
    tested = bool(item.get("expect")) and bool(item.get("measured"))
    if bool(item.get("untested")) == tested:
        yield " needs either `expect:` and `measured:`, or `untested:`"
    if item.get("expect"):
        yield from _band_problems("expect", item["expect"])
    if item.get("reading") and item.get("misprint"):
        yield " has both `reading:` and `misprint:`: keep one"
    if "since" in item and not COMMIT.fullmatch(item["since"]):
        yield f": since: {item['since']} is no commit: seven or more hexadecimal digits"
    yield from _change_problems(item.get("changed", []))


def _change_problems(changed: Any) -> Iterator[str]:
    keys = {"commit", "was", "because"}
    for change in changed if isinstance(changed, list) else [changed]:
        if not isinstance(change, dict) or set(change) != keys or not change["because"]:
            yield ": changed is a list of changes, each with commit, was and because"
        elif not isinstance(change["commit"], str) or not COMMIT.fullmatch(change["commit"]):
            yield f": changed: {change['commit']} is no commit: seven or more hexadecimal digits, in quotes"
        else:
            yield from _band_problems("changed: was", change["was"])


def _band_problems(key: str, expect: Any) -> Iterator[str]:
    try:
        band(dict(expect))
    except (ValueError, TypeError):
        yield f": {key}: {expect} is no band: {BANDS}, in finite numbers"


def _row(chapter: str, value: Value) -> Row:
    number = number_of(value)
    where, words = dict(value.get("where", {})), written(value)
    if isinstance(number, Estimate):
        found = (number.value, number.low, number.high)
        return Row(str(value["name"]), chapter, *found, where, words)
    return Row(str(value["name"]), chapter, number, None, None, where, words)
