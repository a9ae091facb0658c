"""Reading sentences: what is there, what is missing, what is damaged."""

import hashlib
from pathlib import Path

import pytest

from flatter_lib.files import data_root
from flatter_lib.text.treebank import DIGESTS, sst2


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no train\.tsv in .* FLATTER_DATA"):
        sst2(tmp_path)
    (tmp_path / "train.tsv").write_text("fine\t1\n")
    with pytest.raises(ValueError, match=r"train\.tsv: damaged, or another copy"):
        sst2(tmp_path)


def test_a_sentence_and_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "a tab\tin it\t1\ndull\t0\n"
    digest = hashlib.sha256(content.encode()).hexdigest()
    monkeypatch.setattr("flatter_lib.text.treebank.DIGESTS", dict.fromkeys(DIGESTS, digest))
    monkeypatch.setenv("FLATTER_DATA", str(tmp_path))
    (tmp_path / "sst2").mkdir()
    for part in DIGESTS:
        (tmp_path / "sst2" / f"{part}.tsv").write_text(content)
    found = sst2()["dev"]
    assert found.texts == ("a tab\tin it", "dull")
    assert found.labels.tolist() == [1, 0]


def test_the_real_sentences() -> None:
    if not (data_root() / "sst2").is_dir():
        pytest.skip("sst2 is not on this machine")
    parts = sst2()
    assert {k: (len(v.texts), int(v.labels.sum())) for k, v in parts.items()} == {
        "train": (6920, 3610),
        "dev": (872, 444),
        "test": (1821, 909),
    }
