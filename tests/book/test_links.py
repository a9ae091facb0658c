"""Links that no build follows, and the anchors that are promised to stay."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from flatter_lib.fingerprint import git
from flatter_lib.publish import ledger
from flatter_lib.publish.checks import links
from flatter_lib.publish.project import Project

from .conftest import Book, Site, write

HERE = Project.find(Path(__file__).parent)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](gone.md)", "gone.md leads to nothing"),
        ("![a](gone.svg)", "gone.svg leads to nothing"),
        ('<img alt="a" src="gone.png">', "gone.png leads to nothing"),
        ("[a](OTHER.md#three)", "OTHER.md#three leads to a heading that is not there"),
        ("[a](#two)", "#two leads to a heading that is not there"),
        ("[a](OTHER.md#two-and-a-half), [b](#a-little-book), [c](book) and [d](mailto:a@b.c)", ""),
        ("Code: `[a](gone.md)`,\n\n    [a](gone.md)\n", ""),
        ("[a](https://example.org/gone)", ""),
    ],
)
def test_a_link_of_a_document(book: Book, text: str, problem: str) -> None:
    readme = (book.path("README.md")).read_text()
    write(
        book.project.root, {"README.md": f"{readme}\n{text}\n", "OTHER.md": "## Two, and a half\n"}
    )
    found = [f"its link {problem}"] if problem else []
    assert [finding.what for finding in links.documents(book.project)] == found


def test_addresses_on_other_hosts_are_listed_with_their_places(book: Book, site: Site) -> None:
    site.add('<a href="https://example.org/a">a</a> <a href="#top">b</a>')
    page = "html/book/chapters/falling-water.html"
    assert links.external(book.project, site.html) == {
        "https://example.org/a": [page],
        "https://example.org/home/page": ["README.md"],
        "https://example.org/x.js": [page],
    }


def test_what_does_not_answer_is_told() -> None:
    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        said = dict(links.tried([f"{home}/there", f"{home}/gone", "http://127.0.0.1:9/"]))
        server.shutdown()
    assert said[f"{home}/there"] == ""
    assert said[f"{home}/gone"] == "404 Not Found"
    assert "refused" in said["http://127.0.0.1:9/"]


def test_rows_that_are_cited_are_there() -> None:
    cited = yaml.safe_load((HERE.root / "CITATION.cff").read_text(encoding="utf-8"))
    prefix = "book/claims.html#ledger-"
    names = {item["value"].removeprefix(prefix) for item in cited["identifiers"]}
    assert names <= {claim.id for claim in ledger.claims(HERE)}


def test_no_anchor_of_the_ledger_is_lost() -> None:
    """From the commit on that promises it in CITATION.cff."""
    promised = git(HERE.root, "log", "--format=%H", "-S#ledger-", "--", "CITATION.cff").split()
    if not promised:
        pytest.skip("no history here that goes back to the promise")
    stated = git(HERE.root, "grep", "-hE", r"^- *\{?id: ", promised[-1], "--", "book/claims")
    before = set(re.findall(r"id: *([\w-]+)", stated))
    now = {name for claim in ledger.claims(HERE) for name in (claim.id, claim.formerly)}
    assert len(before) > 400
    assert before <= now, "keep these rows, or name them under `formerly:` of what replaces them"
