"""What of the papers the ledger covers: their parts, and the claims of each.

``book/coverage.yml`` lists the parts of each paper in the paper's order. A part holds the claims whose ``place`` names
it, those that it lists, and those of the chapters that it lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from flatter_lib.publish.ledger import Claim
from flatter_lib.publish.project import BookError, Project

_LABEL = r"\(?(?:[A-H](?:\.\d+)*|\d+(?:\.\d+)*)[a-f]?\)?(?!\w)"
_PLACE = re.compile(
    rf"\b([Ss]ection|[Ff]igure|[Ee]quation|[Tt]heorem|[Tt]able|[Aa]ppendi)(?:s|x|ces)?\s+"
    rf"({_LABEL}(?:(?:,\s*|\s+and\s+|\s+to\s+){_LABEL})*)"
)


@dataclass(frozen=True)
class Part:
    """A part of a paper, what it says, and the claims of the ledger that are about it."""

    name: str
    about: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Paper:
    """A paper: its key, how far its text is known, its parts in its own order, and its central claims."""

    key: str
    known: str
    central: tuple[str, ...]
    parts: tuple[Part, ...]

    def order(self) -> dict[str, int]:
        """The place of each of its claims: the central ones first, then by the first part that holds them."""
        held = [claim.id for part in self.parts for claim in part.claims]
        return {name: place for place, name in enumerate(dict.fromkeys([*self.central, *held]))}


def papers(project: Project, claims: list[Claim]) -> list[Paper]:
    """The papers of ``book/coverage.yml``, with their claims; none where there is no such file.

    Raises:
        BookError: if the file is no list of papers with their parts, or names a claim that is not there.
    """
    path = project.book / "coverage.yml"
    if not path.exists():
        return []
    known = {claim.id: claim for claim in claims}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [_paper(item, known) for item in content]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise BookError(f"{path.name}: {' '.join(str(error).split())}") from error


def problems(papers: list[Paper]) -> list[str]:
    """The parts that no claim is about."""
    cure = "state its claim, or say in not-tested-here.yml why not"
    return [
        f"coverage.yml: {paper.key}, {part.name}: no claim is about it: {cure}"
        for paper in papers
        for part in paper.parts
        if not part.claims
    ]


def places(text: str) -> set[str]:
    """The parts of a paper that a place names.

    Examples:
        >>> sorted(places("Introduction; Sections 3.2 and 3.7.1, Figure 4"))
        ['Figure 4', 'Section 1', 'Section 3.2', 'Section 3.7.1']
        >>> sorted(places("Appendix D, equations (47) to (49)"))
        ['Appendix D', 'Equation 47', 'Equation 48', 'Equation 49']
        >>> places("Abstract and the two-layer linear model")
        {'Abstract'}
    """
    found = {"Section 1"} if "Introduction" in text else set()
    found |= {"Abstract"} if "Abstract" in text else set()
    for kind, labels in _PLACE.findall(text):
        name = "Appendix" if kind.lower() == "appendi" else kind.capitalize()
        found |= {f"{name} {label}" for label in _labels(labels)}
    return found


def _labels(text: str) -> Iterator[str]:
    """The labels in a list; a range of numbers is all of them."""
    for piece in re.split(r",\s*|\s+and\s+", text):
        first, *last = (label.strip("()") for label in re.split(r"\s+to\s+", piece))
        if last and first.isdigit() and last[0].isdigit():
            yield from map(str, range(int(first), int(last[0]) + 1))
        else:
            yield from (first, *last)


def _paper(item: dict[str, Any], known: dict[str, Claim]) -> Paper:
    key, central = item["paper"], tuple(item.get("central", ()))
    own = [claim for claim in known.values() if claim.paper == key]
    _look_up(central, known)
    return Paper(
        key, item["known"], central, tuple(_part(part, own, known) for part in item["parts"])
    )


def _part(item: dict[str, Any], own: list[Claim], known: dict[str, Claim]) -> Part:
    unknown = set(item) - {"part", "about", "claims", "chapters"}
    if unknown:
        raise ValueError(f"{item['part']} has an unknown key {min(unknown)}")
    files = {f"{slug}.yml" for slug in item.get("chapters", ())}
    # A name with a colon is a sentence of a part, which no place names.
    here = set() if ":" in item["part"] else places(item["part"])
    listed = _look_up(item.get("claims", ()), known)
    placed = [c for c in own if c.file in files or places(c.place) & here]
    claims = {claim.id: claim for claim in [*listed, *placed]}
    return Part(item["part"], item["about"], tuple(claims.values()))


def _look_up(names: Any, known: dict[str, Claim]) -> list[Claim]:
    for name in names:
        if name not in known:
            raise ValueError(f"the claim {name} is in no file of book/claims")
    return [known[name] for name in names]
