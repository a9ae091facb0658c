"""The two ways to fetch, with stand-ins for the programs they start; neither test needs a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flatter_lib.vision.data import fetch
from flatter_lib.vision.data.fetch import FetchError, debian_package, torchvision_download

INSTALLED = "usr/share/datasets/tiny"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# Writes down its arguments, and "downloads" into the current folder.
APT = """
echo "$@" >> calls
for last; do :; done
case "$*" in
  *update) {update} ;;
  *download*) {download} ;;
esac
"""
DPKG = 'test "$1" = -x && /bin/mkdir -p "$3/usr/share/datasets/tiny" && /bin/cp "$2" "$3/usr/share/datasets/tiny/file"'


def test_a_package_is_downloaded_and_unpacked(programs: Path, into: Path) -> None:
    program(
        programs, "apt-get", APT.format(update=":", download='echo data > "${last}_1.0_all.deb"')
    )
    program(programs, "dpkg-deb", DPKG)
    folder = debian_package("tiny", INSTALLED, into)
    assert folder == into / "unpacked" / INSTALLED
    assert (folder / "file").read_text() == "data\n"
    calls = (into / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["update", "tiny"]
    for call in calls:  # nothing of the system's is written
        for name in ("State", "State::status", "Cache", "Log"):
            assert f"-oDir::{name}={into}/" in call


@pytest.mark.parametrize(
    ("update", "download", "says"),
    [
        (
            "echo 'W: Failed to fetch http://host/x' >&2",
            "exit 100",
            "could not reach its package sources",
        ),
        ("exit 100", "exit 100", "could not reach its package sources"),
        (":", "echo 'E: Unable to locate package' >&2; exit 100", "sources do not have it"),
    ],
)
def test_apt_fails(programs: Path, into: Path, update: str, download: str, says: str) -> None:
    program(programs, "apt-get", APT.format(update=update, download=download))
    program(programs, "dpkg-deb", DPKG)
    with pytest.raises(FetchError, match=says) as raised:
        debian_package("tiny", INSTALLED, into)
    assert "host" not in str(raised.value)


def test_one_source_of_several_is_enough(programs: Path, into: Path) -> None:
    update = "echo 'W: Failed to fetch' >&2; exit 100"
    program(programs, "apt-get", APT.format(update=update, download='echo > "${last}_1_all.deb"'))
    program(programs, "dpkg-deb", DPKG)
    assert debian_package("tiny", INSTALLED, into).is_dir()


def test_a_package_that_does_not_unpack(programs: Path, into: Path) -> None:
    program(programs, "apt-get", APT.format(update=":", download='echo > "${last}_1_all.deb"'))
    program(programs, "dpkg-deb", "exit 2")
    with pytest.raises(FetchError, match="does not unpack"):
        debian_package("tiny", INSTALLED, into)


def test_no_apt_here(programs: Path, into: Path) -> None:
    with pytest.raises(FetchError, match="apt-get is not on this machine"):
        debian_package("tiny", INSTALLED, into)
    assert list(into.iterdir()) == []


def test_a_program_that_does_not_start(programs: Path, into: Path) -> None:
    program(programs, "apt-get", "").write_text("#!/no/such/shell\n")
    program(programs, "dpkg-deb", DPKG)
    with pytest.raises(FetchError, match="apt-get does not start: No such file"):
        debian_package("tiny", INSTALLED, into)


def test_what_hangs_is_given_up_with_its_helpers(
    programs: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_LIMIT", 0.5)
    os.mkfifo(into / "alive")
    alive = os.open(into / "alive", os.O_RDONLY | os.O_NONBLOCK)
    program(programs, "apt-get", "/bin/sleep 30 > alive & wait")
    program(programs, "dpkg-deb", DPKG)
    with pytest.raises(FetchError, match=r"given up after 0\.5 s"):
        debian_package("tiny", INSTALLED, into)
    assert (
        os.read(alive, 1) == b""
    )  # the end of file: BlockingIOError while the helper holds its end
    os.close(alive)


def test_torchvision_is_asked_in_a_process_of_its_own(
    programs: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Called as `python -P -c CODE dataset folder`.
    python = program(
        programs, "python", '/bin/mkdir -p "$5/$4/raw" && echo "$3" > "$5/$4/raw/code"'
    )
    monkeypatch.setattr(sys, "executable", str(python))
    folder = torchvision_download("FashionMNIST", "FashionMNIST/raw", into)
    assert folder == into / "FashionMNIST" / "raw"
    code = (folder / "code").read_text()
    compile(code, "code", "exec")
    assert "setdefaulttimeout(10)" in code


def test_torchvision_fails_in_one_line_without_a_host(
    programs: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "printf 'Traceback\\n  Tried http://host/x, got:\\n<urlopen error http://host/x: no name>\\n\\n' >&2; exit 1"
    monkeypatch.setattr(sys, "executable", str(program(programs, "python", body)))
    with pytest.raises(FetchError, match=r"^urlopen error \.\.\. no name$"):
        torchvision_download("FashionMNIST", "FashionMNIST/raw", into)
    program(programs, "python", "exit 3")
    with pytest.raises(FetchError, match="no reason given"):
        torchvision_download("FashionMNIST", "FashionMNIST/raw", into)


def test_the_code_for_torchvision_runs(into: Path) -> None:
    """With a module of that name in place of torchvision, which takes seconds to import and would ask the network."""
    (into / "torchvision").mkdir()
    (into / "torchvision" / "__init__.py").write_text("")
    (into / "torchvision" / "datasets.py").write_text(
        "def Tiny(root, download):\n    import socket\n    print(root, download, socket.getdefaulttimeout())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", fetch._TORCHVISION, "Tiny", "here"],
        cwd=into, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "here True 10.0\n"
