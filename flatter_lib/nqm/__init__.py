"""The noisy quadratic model, exact.

The names below are the engine; each lives in a file of one subject.
"""

from flatter_lib.nqm.crossing import steps_to_target
from flatter_lib.nqm.exact import risk
from flatter_lib.nqm.spectrum import NoisyQuadratic

__all__ = ["NoisyQuadratic", "risk", "steps_to_target"]
