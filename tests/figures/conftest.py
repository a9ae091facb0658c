"""The book's style for every test of figures."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot

from flatter_lib.figures import use_style


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    """The book's style, for one test, on a backend without windows."""
    with matplotlib.rc_context():
        pyplot.switch_backend("agg")
        use_style()
        yield
    pyplot.close("all")
