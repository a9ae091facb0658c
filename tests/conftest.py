"""What holds for every test."""

import os

from hypothesis import settings
from hypothesis.internal.conjecture import providers

# The same examples every time: a check that everybody runs must not fail by chance. To look for new ones, run pytest
# with --hypothesis-profile default.
settings.register_profile("book", derandomize=True, deadline=None)
settings.load_profile("book")
# Hypothesis also tries numbers that stand in the modules imported so far. Which they are depends on the order of the
# tests, and on every edit.
providers._get_local_constants = lambda: providers._local_constants

# Nobody's own git: not its configuration, nor the repository of a hook that runs the tests.
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = os.environ["GIT_CONFIG_SYSTEM"] = os.devnull
