import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from flatter_lib.vision.data.idx import decode


def written(array: np.ndarray) -> bytes:
    """Value by value from the format's description, as a second implementation."""
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return content + b"".join(struct.pack("B", array[index]) for index in np.ndindex(*array.shape))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_what_the_format_prescribes_is_read_back(array: np.ndarray) -> None:
    decoded = decode(written(array))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, array)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_are_those_of_the_array(content: bytes) -> None:
    content = b"\0\0\x08" + content
    try:
        array = decode(content)
    except ValueError:
        return
    assert written(array) == content


def test_the_array_can_be_written() -> None:
    array = decode(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    array[0] = 8
    assert array.tolist() == [8]


@pytest.mark.parametrize("kind", [0x09, 0x0B, 0x0C, 0x0D, 0x0E])
def test_other_types_of_value_are_refused(kind: int) -> None:
    with pytest.raises(ValueError, match="not an IDX file of unsigned bytes"):
        decode(bytes([0, 0, kind, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))
