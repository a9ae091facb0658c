"""The two ways to fetch, with stand-ins for what they start; no test needs a network."""

import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from flatter_lib.vision.data import DataError, fetch
from flatter_lib.vision.data.fetch import debian_package, torchvision_download

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
    ("apt", "dpkg", "says"),
    [
        (None, DPKG, "there is no apt-get"),
        ("exit 100", DPKG, "cannot be reached, broke off or do not have it"),
        (APT.format(update=":", download='echo > "${last}_1_all.deb"'), "exit 2", "not unpack"),
    ],
)
def test_a_package_does_not_come(
    programs: Path, into: Path, apt: str | None, dpkg: str, says: str
) -> None:
    program(programs, "dpkg-deb", dpkg)
    if apt:
        program(programs, "apt-get", apt)
    with pytest.raises(DataError, match=says):
        debian_package("tiny", INSTALLED, into)


def test_one_source_of_several_is_enough_and_a_program_must_start(
    programs: Path, into: Path
) -> None:
    download = 'echo > "${last}_1_all.deb"'
    program(programs, "apt-get", APT.format(update="exit 100", download=download))
    program(programs, "dpkg-deb", DPKG)
    assert debian_package("tiny", INSTALLED, into).is_dir()
    (programs / "dpkg-deb").write_text("#!/no/such/shell\n")
    with pytest.raises(DataError, match="dpkg-deb does not start: No such file"):
        debian_package("tiny", INSTALLED, into / "again")


def test_what_hangs_is_given_up_with_its_helpers(
    programs: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_LIMIT", 0.5)
    os.mkfifo(into / "alive")
    alive = os.open(into / "alive", os.O_RDONLY | os.O_NONBLOCK)
    program(programs, "apt-get", "/bin/sleep 60 > alive 2>&1 & wait")
    program(programs, "dpkg-deb", DPKG)
    with pytest.raises(DataError, match=r"given up after 0\.5 s"):
        debian_package("tiny", INSTALLED, into)
    select.select([alive], [], [], 20)  # a helper that is killed takes a moment to go
    assert os.read(alive, 1) == b""  # the end of file: BlockingIOError while it holds its end
    os.close(alive)


@pytest.fixture
def torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A module of that name, quick to import and without a network, whose data set is made as is written."""

    def made(body: str) -> None:
        folder = tmp_path / "modules" / "torchvision"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        code = f"import pathlib, socket, sys\ndef Tiny(root, download):\n    {body}\n"
        (folder / "datasets.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(folder.parent))

    return made


def test_torchvision_downloads_and_waits_for_no_dead_connection(
    torchvision: Callable[[str], None], into: Path
) -> None:
    torchvision("pathlib.Path(root, 'done').write_text(f'{download} {socket.getdefaulttimeout()}')")
    folder = torchvision_download("Tiny", "Tiny/raw", into)
    assert folder == into / "Tiny" / "raw"
    assert (into / "done").read_text() == "True 10.0"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            r"sys.exit('Tried http://host/x, got:\n<urlopen error http://host/x: no name>\n\n')",
            r"^urlopen error \.\.\. no name$",
        ),
        ("sys.exit(3)", "^no reason given$"),
    ],
)
def test_torchvision_fails_in_one_line_without_a_host(
    torchvision: Callable[[str], None], into: Path, body: str, says: str
) -> None:
    torchvision(body)
    with pytest.raises(DataError, match=says):
        torchvision_download("Tiny", "Tiny/raw", into)
