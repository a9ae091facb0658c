"""Heavy ball: its closed forms in one mode, the rule that scales its momentum, and the scheduler that applies the rule.

The names below are the engine; each lives in a file of one subject. PyTorch takes seconds to import and only the
scheduler needs it, so the scheduler is imported when it is first asked for.
"""

from flatter_lib.heavy_ball.modes import (
    characteristic_roots,
    critical_momentum,
    drift_prefactor,
    effective_lr,
    is_stable,
    relaxation_time,
    stationary_variance,
)
from flatter_lib.heavy_ball.rule import calibrate, scaled_momentum

__all__ = [
    "ScaledMomentum",
    "calibrate",
    "characteristic_roots",
    "critical_momentum",
    "drift_prefactor",
    "effective_lr",
    "is_stable",
    "relaxation_time",
    "scaled_momentum",
    "stationary_variance",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flatter_lib.heavy_ball.scheduler import ScaledMomentum
else:

    def __getattr__(name: str) -> object:
        if name != "ScaledMomentum":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from flatter_lib.heavy_ball.scheduler import ScaledMomentum

        return ScaledMomentum

    def __dir__() -> list[str]:
        return __all__
