"""Image data: what there is, where a copy of it lies, fetching one on request, and loading it, checked.

A copy is looked for in the data root and then where packages put it; only an intact one is ever used. Records name the
copy (`Images.source`) and its content (`Images.digest`).
"""

from flatter_lib.vision.data.copies import Location, data_root, get, load, status
from flatter_lib.vision.data.images import Images
from flatter_lib.vision.data.known import Dataset, Place, Source, catalogue
from flatter_lib.vision.data.layouts import DataError

__all__ = [
    "DataError",
    "Dataset",
    "Images",
    "Location",
    "Place",
    "Source",
    "catalogue",
    "data_root",
    "get",
    "load",
    "status",
]
