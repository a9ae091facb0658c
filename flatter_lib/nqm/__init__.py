"""The noisy quadratic model, exact, and its slow twins."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.nqm.bounds import bayes_risk, information_bound, risk_bound
    from flatter_lib.nqm.crossing import steps_to_target
    from flatter_lib.nqm.exact import risk
    from flatter_lib.nqm.reference import sampled_risk, second_moment
    from flatter_lib.nqm.schedules import Schedule, tune_schedule
    from flatter_lib.nqm.spectrum import NoisyQuadratic
    from flatter_lib.nqm.tuning import Tuned, tune
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = [
    "NoisyQuadratic",
    "Schedule",
    "Tuned",
    "bayes_risk",
    "information_bound",
    "risk",
    "risk_bound",
    "sampled_risk",
    "second_moment",
    "steps_to_target",
    "tune",
    "tune_schedule",
]
