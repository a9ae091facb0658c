"""The package's face: every name is there, and none but the scheduler waits for PyTorch."""

import subprocess
import sys

import pytest

from flatter_lib import heavy_ball
from flatter_lib.heavy_ball.scheduler import ScaledMomentum


def torch_after(code: str) -> bool:
    """Whether a new interpreter has imported torch after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.exit('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return bool(done.returncode)


def test_the_formulas_do_not_wait_for_torch() -> None:
    assert not torch_after("from flatter_lib import heavy_ball; heavy_ball.effective_lr(0.1, 0.9)")


def test_the_scheduler_is_there_when_asked_for() -> None:
    assert torch_after("import flatter_lib.heavy_ball as h; h.ScaledMomentum.get_last_momentum")
    assert heavy_ball.ScaledMomentum is ScaledMomentum


def test_every_name_of_the_face_is_there() -> None:
    assert dir(heavy_ball) == sorted(heavy_ball.__all__)
    for name in heavy_ball.__all__:
        assert getattr(heavy_ball, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"flatter_lib\.heavy_ball.*no attribute 'Scaled'"):
        getattr(heavy_ball, "Scaled")  # noqa: B009 (mypy sees the attribute is missing)
