"""Networks on images, and training them, one or many at once; the images are in `flatter_lib.vision.data`."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.vision.augment import crop_and_flip
    from flatter_lib.vision.checkpoint import CheckpointError, load_network
    from flatter_lib.vision.ensemble import AdamWEnsemble, Ensemble
    from flatter_lib.vision.inputs import Inputs, standardized
    from flatter_lib.vision.label_noise import LabelNoise
    from flatter_lib.vision.measure import mean_loss, weights_of
    from flatter_lib.vision.networks import MLP, flatten, unflatten
    from flatter_lib.vision.normalization import GhostBatchNorm2d
    from flatter_lib.vision.objective import accuracy, evaluate, half_squared_error, squared_loss
    from flatter_lib.vision.residual import ResNet18
    from flatter_lib.vision.train import Training
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = [
    "MLP",
    "AdamWEnsemble",
    "CheckpointError",
    "Ensemble",
    "GhostBatchNorm2d",
    "Inputs",
    "LabelNoise",
    "ResNet18",
    "Training",
    "accuracy",
    "crop_and_flip",
    "evaluate",
    "flatten",
    "half_squared_error",
    "load_network",
    "mean_loss",
    "squared_loss",
    "standardized",
    "unflatten",
    "weights_of",
]
