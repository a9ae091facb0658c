"""Arguments out of their range."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest


def refuses(function: Callable[..., Any], good: Mapping[str, Any], **bad: Any) -> None:
    """Each of these arguments is refused by its name; tests/test_checks.py holds what is out of which range."""
    for name, value in bad.items():
        with pytest.raises(ValueError, match=f"^{name}: must "):
            function(**{**good, name: value})
