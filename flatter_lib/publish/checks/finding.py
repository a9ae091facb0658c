"""What a check reports: where, what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the book.

    Attributes:
        where: the file, from the folder of the checkout, and the cell or line in it.
        what: what is wrong there.
        cure: what to do about it.

    Examples:
        >>> print(Finding("book/chapters/x.ipynb, code cell 3", "ends in an error", "run `flatter run x`"))
        book/chapters/x.ipynb, code cell 3: ends in an error; run `flatter run x`
    """

    where: str
    what: str
    cure: str

    def __str__(self) -> str:
        return " ".join(f"{self.where}: {self.what}; {self.cure}".split())
