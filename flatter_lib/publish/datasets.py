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


def statuses() -> Iterator[tuple[str, bool, str]]:
    """Each data set's name, whether an intact copy is here, and where, or what is wrong."""
    for dataset in data.catalogue():
        status = data.status(dataset)
        if isinstance(status, data.Location):
            passed = "".join(f"; passed over: {line}" for line in status.passed_over)
            yield dataset.name, True, f"{status.label}, in {status.folder}{passed}"
        else:
            yield dataset.name, False, str(status)


def listing(console: Console) -> None:
    """Print the catalogue with where each data set was found."""
    known = {dataset.name: dataset for dataset in data.catalogue()}
    for name, here, text in statuses():
        dataset = known[name]
        lines = {
            "what": f"{dataset.title}: {dataset.size}",
            "licence": dataset.licence,
            "found" if here else "not here": text,
        }
        console.print(name, style="bold")
        for head, line in lines.items():
            console.print(f"  {head:9} {line}", markup=False, soft_wrap=True)
    root = f"data root: {data.data_root()} (set FLATTER_DATA for another)"
    console.print(root, markup=False, soft_wrap=True)


def get(name: str, console: Console) -> None:
    """Find a data set or fetch it, saying source and size first.

    Raises:
        BookError: if there is none of that name.
        FailedError: if it is not here and could not be fetched.
    """
    known = [dataset.name for dataset in data.catalogue()]
    if name not in known:
        raise BookError(f"no data set {name!r}; there are {', '.join(known)}")
    try:
        found = data.get(
            name, report=lambda line: console.print(f"  {line}", markup=False, soft_wrap=True)
        )
    except data.DataError as error:
        raise FailedError(str(error)) from error
    console.print(f"  data: {name} ({found.label})", markup=False, soft_wrap=True)
