"""The ledger: claims and rows are one to one, and every verdict is computed from the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from flatter_lib.files import replace_json
from flatter_lib.publish import ledger, twins
from flatter_lib.publish.ledger import Claim, Row
from flatter_lib.publish.project import BookError, Project
from flatter_lib.values import PRINTED, Estimate, Value, estimate

CLAIM: dict[str, Any] = {
    "id": "toy",
    "paper": "this book",
    "place": "the toy chapter",
    "statement": "One is one.",
    "measured": "one",
    "expect": {"equals": 1.0, "tolerance": 0.5},
}
CHANGE: dict[str, Any] = {"commit": "0123abc", "was": {"at_most": 2}, "because": "It was too wide."}


@pytest.fixture
def state(project: Project) -> Callable[..., None]:
    """Writes the claims of a file, each a change of the one above."""

    def write(*changes: dict[str, Any], file: str = "toy.yml") -> None:
        claims = [
            {k: v for k, v in (CLAIM | change).items() if v is not None} for change in changes
        ]
        (project.claims / file).write_text(yaml.safe_dump(claims), encoding="utf-8")

    return write


@pytest.fixture
def record(project: Project) -> Callable[..., None]:
    """Publishes a twin of the toy chapter whose one cell recorded these rows."""

    def write(*changes: dict[str, Any], slug: str = "toy") -> None:
        rows = [{"claim": "toy", "value": 1.0, "where": {"scale": "exact"}} | c for c in changes]
        outputs = [
            new_output(
                "display_data",
                {"text/plain": ""},
                metadata={"flatter": {"role": "claim", "values": [value_of(**row)]}},
            )
            for row in rows
        ]
        cell = new_code_cell("record()", outputs=outputs, execution_count=1)
        chapter = project.chapter_paths(slug)
        chapter.twin.parent.mkdir(exist_ok=True)
        twin, values = twins.clean(new_notebook(cells=[cell]))
        nbformat.write(twin, chapter.twin)
        replace_json(chapter.values, values)
        if slug != "toy":
            chapter.source.write_text("# Another\n", encoding="utf-8")

    return write


def value_of(
    claim: str, value: float, where: dict[str, Any], low: float | None = None, high: float = 0.0
) -> Value:
    number = value if low is None else Estimate(value, low, high)
    return estimate(claim, number, PRINTED) | {"where": where}


def verdicts(project: Project) -> list[str]:
    return [entry.verdict for entry in ledger.entries(project)]


def test_the_row_of_a_real_execution_meets_its_claim(shelf: tuple[Project, Any]) -> None:
    project, _ = shelf
    assert ledger.problems(project) == []
    (entry,) = ledger.entries(project)
    assert entry.claim == Claim(**CLAIM, file="toy.yml")
    assert entry.row == Row("toy", "toy", 1.0, None, None, {"scale": "closed form"}, "1")
    assert entry.verdict == "reproduced"


def test_a_caveat_shows_in_the_verdict(
    project: Project, state: Callable[..., None], record: Callable[..., None]
) -> None:
    state({"caveat": "only here"})
    record({})
    assert verdicts(project) == ["reproduced with a caveat"]


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (1.0, {"universal": True}, "held where tried"),
        (9.0, {"universal": True}, "contradicted"),
        (9.0, {"reading": "as we read it"}, "contradicted under our reading"),
        (9.0, {"misprint": True}, "misprint"),
        (1.0, {"reading": "as we read it", "check": True}, "reproduced"),
    ],
)
def test_the_kind_of_a_claim_shows_in_the_verdict(
    project: Project,
    state: Callable[..., None],
    record: Callable[..., None],
    value: float,
    kind: dict[str, Any],
    said: str,
) -> None:
    state(kind)
    record({"value": value})
    assert verdicts(project) == [said]
    assert ledger.verdicts(project)(value_of("toy", value, {})) == said
    assert ledger.entries(project)[0].counted == ("check" not in kind)


def test_the_history_of_a_band_is_read(project: Project, state: Callable[..., None]) -> None:
    state({"since": "5ff200d", "before_records": False, "changed": [CHANGE]})
    (claim,) = ledger.claims(project)
    assert (claim.since, claim.before_records) == ("5ff200d", False)
    assert claim.changed == (ledger.Change("0123abc", {"at_most": 2}, "It was too wide."),)


@pytest.mark.parametrize(
    ("second", "counted"),
    [
        ({}, [True, True]),
        ({"repeats": "toy"}, [True, False]),
        ({"repeats": "toy", "expect": {"at_least": 3.0}}, [True, True]),  # it says something else
        ({"check": True}, [True, False]),
    ],
)
def test_what_is_counted(
    project: Project,
    state: Callable[..., None],
    record: Callable[..., None],
    second: dict[str, Any],
    counted: list[bool],
) -> None:
    state({}, {"id": "again"} | second)
    record({}, {"claim": "again"})
    assert [entry.counted for entry in ledger.entries(project)] == counted


SAME = "toy.yml: claim toy has the same number as again: say so with `repeats: again`, or drop it"
GONE = "toy.yml: claim again repeats gone, which is not in the ledger: name a row that stands alone"
CHAIN = [
    "toy.yml: claim toy repeats again, which repeats another one: name a row that stands alone",
    "toy.yml: claim again repeats toy, which repeats another one: name a row that stands alone",
]
INTERVAL = {"low": 0.9, "high": 1.1, "where": {"scale": "laptop", "runs": 8}}


@pytest.mark.parametrize(
    ("first", "second", "row", "problems"),
    [
        ({}, {}, {}, [SAME]),
        ({}, {"repeats": "toy"}, {}, []),
        ({}, {}, {"high": 1.2}, []),
        ({}, {}, {"low": None}, []),  # exact numbers are the same by chance: 0, 1
        ({}, {"repeats": "gone"}, {"high": 1.2}, [GONE]),
        ({"repeats": "again"}, {"repeats": "toy"}, {"high": 1.2}, CHAIN),
    ],
)  # fmt: skip
def test_a_number_is_not_judged_twice_in_silence(
    project: Project,
    state: Callable[..., None],
    record: Callable[..., None],
    first: dict[str, Any],
    second: dict[str, Any],
    row: dict[str, Any],
    problems: list[str],
) -> None:
    state(first, {"id": "again"} | second)
    record(INTERVAL, INTERVAL | {"claim": "again"} | row)
    assert ledger.problems(project) == problems


def test_a_claim_recorded_twice_is_a_problem(project: Project, record: Callable[..., None]) -> None:
    record({}, {})
    assert ledger.problems(project) == ["claim toy is recorded 2 times, in toy, toy: keep one"]
    record({})
    assert ledger.problems(project) == []
    record({}, slug="zebra")
    assert ledger.problems(project) == [
        "toy.yml: claim toy is recorded by zebra: move it to zebra.yml",
        "claim toy is recorded 2 times, in toy, zebra: keep one",
    ]


STRAY = "toy: records the claim stray, which no file in book/claims states: add it there"
LAPTOP = {"low": 0.9, "high": 1.1, "where": {"scale": "laptop"}}
UNTESTED = {"expect": None, "measured": None, "untested": "too long"}


@pytest.mark.parametrize(
    ("stated", "rows", "problems"),
    [
        ([{}], [{}], []),
        ([UNTESTED], [], []),
        ([{}], [], ["toy.yml: claim toy has no row: record it in a chapter, or say why not with `untested:`"]),
        ([{}], [{}, {"claim": "stray"}], [STRAY]),
        ([{}, {}], [{}], ["toy.yml: claim toy is also in toy.yml: keep one"]),
        ([UNTESTED], [{}], ["toy.yml: claim toy is called untested, but toy records it: drop `untested:`"]),
        ([{}], [{"where": {}}], ["toy: claim toy does not say its scale: record(..., scale=...)"]),
        ([{}], [LAPTOP | {"where": {"scale": "laptop", "teachers": 8}}], []),
        ([{}], [LAPTOP], ["toy: claim toy does not say its sample size: record(..., runs=...)"]),
    ],
)  # fmt: skip
def test_claims_and_rows_are_one_to_one(
    project: Project,
    state: Callable[..., None],
    record: Callable[..., None],
    stated: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    problems: list[str],
) -> None:
    state(*stated)
    record(*rows)
    assert ledger.problems(project) == problems
    untested = not rows or "untested" in stated[0]
    assert verdicts(project)[0] == ("not tested here" if untested else "reproduced")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "claim without an id lacks id"),
        ({"place": None, "paper": ""}, "claim toy lacks paper, place"),
        ({"statemnt": "x"}, "claim toy has an unknown key statemnt"),
        ({"expect": None}, "claim toy needs either `expect:` and `measured:`, or `untested:`"),
        ({"untested": "why"}, "claim toy needs either `expect:` and `measured:`, or `untested:`"),
        ({"expect": {"equal": 1.0}}, "claim toy: expect: {'equal': 1.0} is no band: {equals"),
        ({"expect": {"at_most": "many"}}, "claim toy: expect: {'at_most': 'many'} is no band"),
        ({"id": [1]}, "claim [1]: id must be a text"),
        (
            {"expect": None, "measured": None, "untested": True},
            "claim toy: untested must be a text",
        ),
        ({"expect": 0.5}, "claim toy: expect: 0.5 is no band: {equals: x, tolerance: t}, {at_most"),
        ({"universal": "yes"}, "claim toy: universal must be true or false"),
        ({"before_records": 1}, "claim toy: before_records must be true or false"),
        ({"reading": True}, "claim toy: reading must be a text"),
        ({"reading": "ours", "misprint": True}, "claim toy has both `reading:` and `misprint:`"),
        ({"since": 1165543}, "claim toy: since must be a text"),
        ({"since": "today"}, "claim toy: since: today is no commit: seven or more hex"),
        (
            {"changed": {"was": {"at_most": 1}}},
            "claim toy: changed is a list of changes, each with",
        ),
        ({"changed": [CHANGE | {"because": ""}]}, "claim toy: changed is a list of changes, each"),
        ({"changed": [CHANGE | {"why": "it"}]}, "claim toy: changed is a list of changes, each"),
        ({"changed": [CHANGE | {"was": 1.0}]}, "claim toy: changed: was: 1.0 is no band: {equals"),
        ({"changed": [CHANGE | {"commit": 1165543}]}, "claim toy: changed: 1165543 is no commit"),
    ],
)
def test_a_malformed_claim_is_named_with_its_file(
    project: Project, state: Callable[..., None], change: dict[str, Any], message: str
) -> None:
    state(change)
    with pytest.raises(BookError) as refused:
        ledger.claims(project)
    assert str(refused.value).startswith(f"toy.yml: {message}")
    assert ledger.problems(project) == [str(refused.value)]


@pytest.mark.parametrize(
    ("band", "said"),
    [
        ("{at_most: 010}", "`010` would be read as 8: write numbers in decimal"),
        ("{at_most: 1, at_most: 2}", "`at_most` is given twice: keep one"),
        ("{at_most: 1e-3}", "claim toy: expect: {'at_most': '1e-3'} is no band: "),
    ],
)
def test_a_band_is_what_it_looks_like(
    project: Project, edit: Callable[..., None], band: str, said: str
) -> None:
    edit(project.claims / "toy.yml", "{equals: 1.0, tolerance: 0.5}", band)
    (problem,) = ledger.problems(project)
    assert problem.startswith(f"toy.yml: {said}")


@pytest.mark.parametrize(
    "text",
    [
        "- id: [",
        "\x00",
    ],
)
def test_a_file_that_is_no_yaml_is_named_in_one_line(project: Project, text: str) -> None:
    (project.claims / "toy.yml").write_text(text)
    with pytest.raises(BookError, match=r"^toy\.yml: not YAML: ") as refused:
        ledger.claims(project)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["3", "id: toy", "- [toy]"])
def test_a_file_that_is_no_list_of_claims_is_named(project: Project, text: str) -> None:
    (project.claims / "toy.yml").write_text(text)
    with pytest.raises(BookError, match=r"^toy\.yml: "):
        ledger.claims(project)


def test_a_book_without_claims_has_an_empty_ledger(project: Project) -> None:
    (project.claims / "toy.yml").write_text("# nothing yet\n")
    assert (ledger.claims(project), ledger.problems(project)) == ([], [])
