"""Files: replaced whole or not at all, with nothing left beside them."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any

import pytest

from flatter_lib.files import probe, replace_json, replace_text


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.txt"
    replace_text(path, "one ²\n")
    replace_text(path, "two ³\n")
    assert path.read_text(encoding="utf-8") == "two ³\n"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "content",
    [
        math.nan,
        object(),
    ],
)
def test_what_is_not_json_leaves_the_old_file(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.json"
    replace_json(path, [1])
    with pytest.raises((ValueError, TypeError)):
        replace_json(path, {"a": content})
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space"),
        KeyboardInterrupt(),
    ],
)
def test_whatever_happens_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    replace_text(path, "old")

    def stopped(self: Path, target: Path) -> None:
        assert self.read_text() == "new"  # it is there, complete, when it is interrupted
        raise error

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(type(error)):
        replace_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_probing_finds_out_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    probe(tmp_path / "new" / "folder" / "a.txt")
    probe(tmp_path / "file")
    for target in ("file/a.txt", "file/b/a.txt", "dangling/a.txt", "."):
        with pytest.raises(OSError, match="irectory"):
            probe(tmp_path / target)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling"}
