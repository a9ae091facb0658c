"""Image data: what there is, where a copy of it lies, fetching one on request, and loading it, checked.

A copy is looked for in the data root and then where a system's packages put it; only an intact one is ever used.
"""

from flatter_lib.vision.data.datasets import Dataset, catalogue
from flatter_lib.vision.data.layouts import DataError
from flatter_lib.vision.data.search import Images, Location, data_root, find, get, load, status

__all__ = [
    "DataError",
    "Dataset",
    "Images",
    "Location",
    "catalogue",
    "data_root",
    "find",
    "get",
    "load",
    "status",
]
