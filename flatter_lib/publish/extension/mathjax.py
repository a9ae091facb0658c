"""Mathematics without a network: MathJax from an installed package, copied into the built pages.

The package (``sphinx-mathjax-offline``) brings every variant of MathJax, 24 MB. The pages need one file, which draws
with SVG and so needs no fonts, and beside it what MathJax fetches on demand: rarer TeX macros and, for readers who
switch it on in the menu of a formula, its spoken description. The copy goes straight into the built ``_static``; in a
static folder of the sources Jupyter Book would load each of these scripts on every page.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

PACKAGE = "sphinx-mathjax-offline"
SCRIPT = "mathjax/tex-svg.js"
PARTS = (
    "tex-svg.js",
    "ui/lazy.js",
    "input/tex/extensions",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
)


def setup(app: Sphinx) -> None:
    """Point the pages at the local copy, and make it."""
    app.connect("config-inited", _use_local_copy)
    app.connect("builder-inited", _copy)


def installed() -> Path:
    """The folder of MathJax in the installed package.

    Raises:
        ExtensionError: if the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError(
            f"{PACKAGE} is not installed: python -m pip install 'flatter-lib[book]'"
        )
    return Path(spec.submodule_search_locations[0]) / "static" / "mathjax"


def _use_local_copy(app: Sphinx, config: Config) -> None:
    config.mathjax_path = SCRIPT
    # Formulas are set when they come near the screen, and none is a stop of the tabulator.
    menu = {"settings": {"inTabOrder": False}}
    config.mathjax3_config = {"loader": {"load": ["ui/lazy"]}, "options": {"menuOptions": menu}}


def _copy(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    source, target = installed(), Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        here = (target / part).parent if (source / part).is_file() else target / part
        here.mkdir(parents=True, exist_ok=True)
        copy_asset(source / part, here)
