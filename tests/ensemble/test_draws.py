import numpy as np
import torch

from flatter_lib.ensemble import noise_stream, row_stream
from flatter_lib.ensemble.draws import Draws

CPU = torch.device("cpu")


def test_numbers_do_not_depend_on_the_blocks_they_come_in():
    several, one = (Draws([4, 7], 3, 2, 5, torch.float64, CPU) for _ in range(2))
    parts = [several.block(count) for count in (1, 4, 2)]
    whole = one.block(7)
    assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)
    assert torch.equal(torch.cat([part.rows for part in parts]), whole.rows)


def test_numbers_are_those_of_the_public_streams():
    block = Draws([4, 7], 3, 2, 5, torch.float64, CPU).block(6)
    assert np.array_equal(block.noise[:, 1].numpy(), noise_stream(7).standard_normal((6, 3)))
    assert np.array_equal(block.rows[:, 0].numpy(), row_stream(4).integers(5, size=(6, 2)))
    assert noise_stream(4).random() != row_stream(4).random()


def test_nothing_is_drawn_where_nothing_is_needed():
    block = Draws([4], 0, None, 5, torch.float64, CPU).block(6)
    assert block.noise is None
    assert block.rows is None
