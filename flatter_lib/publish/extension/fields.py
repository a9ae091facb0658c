"""The reference says of a field what its docstring does, and nothing where Python only says where it stands."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Ask before a member is described."""
    app.connect("autodoc-skip-member", _skip)


def _skip(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples: their class has a line for each under *Attributes*."""
    return True if placed(member) else None


def placed(member: object) -> bool:
    """Whether what is said of a member is only its place in a named tuple."""
    return str(getattr(member, "__doc__", "")).startswith("Alias for field number ")
