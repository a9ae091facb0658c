"""The data that chapters need, for the command line: what there is, and getting it when a command was asked for it.

A chapter names its data sets in its front matter (``flatter: data: [fashion-mnist]``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console

from flatter_lib.publish import sources
from flatter_lib.publish.project import BookError, Chapter, FailedError
from flatter_lib.vision import data


def needed(chapters: Iterable[Chapter]) -> list[str]:
    """The data sets that these chapters name, each once."""
    names = (sources.read(c).metadata.get("flatter", {}).get("data", []) for c in chapters)
    return list(dict.fromkeys(name for some in names for name in some))


def statuses() -> Iterator[tuple[data.Dataset, bool, str]]:
    """Each data set, whether an intact copy is here, and where, or what is wrong."""
    for dataset in data.catalogue():
        status = data.status(dataset)
        if isinstance(status, data.Location):
            passed = "".join(f"; passed over: {line}" for line in status.passed_over)
            yield dataset, True, f"{status.label}, in {status.folder}{passed}"
        else:
            yield dataset, False, str(status)


def listing() -> Iterator[str]:
    """The catalogue with where each data set was found, as lines."""
    for dataset, here, text in statuses():
        yield dataset.name
        yield f"  what      {dataset.title}: {dataset.size}"
        yield f"  licence   {dataset.licence}"
        yield f"  {'found   ' if here else 'not here'}  {text}"
    yield f"data root: {data.data_root()} (set FLATTER_DATA for another)"


def get(name: str, console: Console) -> None:
    """Find a data set or fetch it, saying source and size first.

    Raises:
        BookError: if there is none of that name.
        FailedError: if it is not here and could not be fetched.
    """

    def say(line: str) -> None:
        console.print(f"  {line}", markup=False, soft_wrap=True)

    known = [dataset.name for dataset in data.catalogue()]
    if name not in known:
        raise BookError(f"no data set {name!r}; there are {', '.join(known)}")
    try:
        found = data.get(name, report=say)
    except data.DataError as error:
        raise FailedError(str(error)) from error
    say(f"data: {name} ({found.label})")
