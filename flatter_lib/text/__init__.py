"""Sentences, and classifying them with the top layers of a pretrained Transformer; characters, and writing on."""

from typing import TYPE_CHECKING

from flatter_lib import faces

if TYPE_CHECKING:
    from flatter_lib.text.encoder import Classifier, Encoder, padded
    from flatter_lib.text.models import Pretrained, pretrained
    from flatter_lib.text.treebank import Sentences, sst2
else:
    __getattr__, __dir__ = faces.lazy(__name__)

__all__ = [
    "Classifier",
    "Encoder",
    "Pretrained",
    "Sentences",
    "padded",
    "pretrained",
    "sst2",
]
