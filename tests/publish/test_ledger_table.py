"""What the page of claims shows beside the measurement: what is counted, and the folded history of a band."""

from __future__ import annotations

from dataclasses import replace

from docutils import nodes

from flatter_lib.publish.extension import ledger_table
from flatter_lib.publish.ledger import Change, Claim, Entry


def entry(verdict: str, counted: bool = True, check: bool = False) -> Entry:
    return Entry(Claim("a", "b", "c", "d", check=check), None, verdict, counted)


def texts(found: list[nodes.Node]) -> list[str]:
    return [node.astext() for node in found]


def test_only_what_counts_is_counted() -> None:
    entries = [
        entry("held where tried"),
        entry("held where tried", counted=False),
        entry("misprint"),
        entry("reproduced", counted=False, check=True),
    ]
    badges = [
        item.astext().split() for item in ledger_table.counts(entries).findall(nodes.list_item)
    ]
    assert [" ".join(badge) for badge in badges] == ["1 held where tried", "1 misprint"]
    (said,) = texts(ledger_table.uncounted(entries))
    assert "1 checks, which come last" in said
    assert "1 rows that come to the verdict of another row" in said
    assert ledger_table.uncounted(entries[:1]) == []


def test_every_verdict_has_a_class_of_its_own() -> None:
    classes = {ledger_table.badge(verdict)["classes"][1] for verdict in ledger_table.VERDICTS}
    assert len(classes) == len(ledger_table.VERDICTS)
    assert "verdict-contradicted-under-our-reading" in classes


def claim(changes: int = 0, before: bool | None = None, since: str = "5ff200d") -> Claim:
    change = Change("5a7a987", {"at_most": 0.01}, "No reason was written.")
    kept = (change,) * changes
    return Claim("a", "b", "c", "d", since=since, before_records=before, changed=kept)


def test_the_history_of_a_band_folds_out() -> None:
    (found,) = ledger_table.history(claim(changes=1, before=False))
    summary = "The band: not written before its records, changed once"
    assert texts(found.children) == [
        f"<details><summary>{summary}</summary>",
        "First in commit 5ff200d.",
        "It was at most 0.01 (as in commit 5a7a987). No reason was written.",
        "</details>",
    ]


def test_the_head_of_a_history_says_what_is_known() -> None:
    def head(claim: Claim) -> str:
        return ledger_table.history(claim)[0].children[0].astext()

    assert "<summary>The band: first written before its records</summary>" in head(
        claim(before=True)
    )
    assert "<summary>The band: changed 2 times</summary>" in head(claim(changes=2))
    assert "<summary>The band</summary>" in head(claim())
    assert ledger_table.history(claim(since="")) == []


def test_a_history_says_a_former_name() -> None:
    (found,) = ledger_table.history(replace(claim(), formerly="flip"))
    (_, first, _) = found.children
    assert first.astext() == "First in commit 5ff200d, for a claim called flip."


def test_a_row_is_linked_to_by_its_name() -> None:
    link = ledger_table.row_link("ff-two-thirds")
    assert (link.astext(), link["refuri"]) == ("ff-two-thirds", "#ledger-ff-two-thirds")
