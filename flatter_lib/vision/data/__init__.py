"""Image data: what there is, where a copy of it lies, fetching one on request, and loading it, checked.

A copy is looked for in the data root and then where packages put it; only an intact one is ever used. Records name the
copy (`Images.source`) and its content (`Images.digest`).
"""

from flatter_lib.vision.data.datasets import Dataset
from flatter_lib.vision.data.getting import get
from flatter_lib.vision.data.images import Images
from flatter_lib.vision.data.known import catalogue
from flatter_lib.vision.data.layouts import DataError
from flatter_lib.vision.data.loading import load, status
from flatter_lib.vision.data.search import Location, available, data_root, find

__all__ = [
    "DataError",
    "Dataset",
    "Images",
    "Location",
    "available",
    "catalogue",
    "data_root",
    "find",
    "get",
    "load",
    "status",
]
