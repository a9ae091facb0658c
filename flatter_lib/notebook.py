"""What a cell shows, with marks that travel in its output for publishing to collect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def emit(shown: Mapping[str, str], mark: Mapping[str, Any], glued: str = "") -> None:
    """Show something in the running cell, with a mark in the output's metadata; outside a notebook, print its text.

    Args:
        shown: MIME type -> content; ``text/plain`` must be among them.
        mark: what publishing will find under ``flatter`` in the output's metadata.
        glued: the name under which the page's text refers to it; it is not shown in place then.

    Examples:
        >>> emit({"text/plain": "a line"}, {"anything": 1})
        a line
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(shown["text/plain"])
        return
    metadata: dict[str, Any] = {"flatter": dict(mark)}
    data = dict(shown)
    if glued:
        del data["text/plain"]
        prefix = next(iter(data)).removesuffix("text/plain")
        metadata["scrapbook"] = {"name": glued, "mime_prefix": prefix}
    display(data, raw=True, metadata=metadata)
