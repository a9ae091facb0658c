"""Buttons that need a public address of the sources: present when ``_config.yml`` names it, absent otherwise."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.config import Config


def setup(app: Sphinx) -> None:
    """Decide on the buttons before the theme reads its options."""
    app.connect("config-inited", _buttons)


def _buttons(app: Sphinx, config: Config) -> None:
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = options["use_issues_button"] = True
    else:
        options["launch_buttons"] = {}
