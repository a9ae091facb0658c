"""Heavy ball: its closed forms in one mode, the rule that scales its momentum, and the scheduler that applies the rule.

Only the scheduler needs PyTorch, which takes seconds to import.
"""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
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
    from flatter_lib.heavy_ball.scheduler import ScaledMomentum
else:
    __getattr__, __dir__ = faces.lazy(__name__)

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
