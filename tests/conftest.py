"""What holds for every test."""

from hypothesis import settings

# The same examples every time: a check that everybody runs must not fail by chance. To look for new ones, run pytest
# with --hypothesis-profile default.
settings.register_profile("book", derandomize=True, deadline=None)
settings.load_profile("book")
