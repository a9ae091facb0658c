"""The noisy quadratic model, exact.

The names below are the engine; each lives in a file of one subject. Alone among the packages of this library it
imports them here: whoever needs one of them needs nearly all of the files.
"""

from flatter_lib.nqm.bounds import bayes_risk, information_bound, risk_bound
from flatter_lib.nqm.crossing import steps_to_target
from flatter_lib.nqm.exact import risk
from flatter_lib.nqm.schedules import Schedule, tune_schedule
from flatter_lib.nqm.spectrum import NoisyQuadratic
from flatter_lib.nqm.tuning import Tuned, tune

__all__ = [
    "NoisyQuadratic",
    "Schedule",
    "Tuned",
    "bayes_risk",
    "information_bound",
    "risk",
    "risk_bound",
    "steps_to_target",
    "tune",
    "tune_schedule",
]
