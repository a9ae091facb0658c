import numpy as np
import torch

from flatter_lib.ensemble import noise_stream, row_stream
from flatter_lib.ensemble.draws import Draws
from flatter_lib.ensemble.step import flipped, is_one_hot

CPU = torch.device("cpu")


def test_false_classes_are_all_as_likely():
    clean = torch.eye(4, dtype=torch.float64)[[2]].expand(1, 60_000, 4)
    uniform = torch.from_numpy(np.random.default_rng(0).random((1, 60_000)))
    made = flipped(clean, uniform, torch.tensor([[0.3]]), one_hot=True)
    assert bool((made.sum(2) == 1).all())
    share = made[0].mean(0)
    expected = torch.tensor([0.1, 0.1, 0.7, 0.1], dtype=torch.float64)
    # Four standard deviations of a share.
    assert bool(((share - expected).abs() < 4 * (0.3 * 0.7 / 60_000) ** 0.5).all())


def test_signs_are_false_with_the_probability_of_their_run():
    clean = torch.tensor([[[1.5], [-2.0]]])
    uniform = torch.tensor([[0.2, 0.4], [0.2, 0.4]])
    made = flipped(clean, uniform, torch.tensor([[0.3], [0.0]]), one_hot=False)
    assert made[..., 0].tolist() == [[-1.5, -2.0], [1.5, -2.0]]


def test_no_probability_makes_no_false_class():
    clean = torch.eye(3)[None]
    made = flipped(clean, torch.zeros(1, 3), torch.zeros(1, 1), one_hot=True)
    assert torch.equal(made, clean)


def test_what_is_one_hot():
    assert is_one_hot(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert not is_one_hot(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert not is_one_hot(torch.tensor([[0.0, 0.5], [1.0, 0.0]]))
    assert not is_one_hot(torch.tensor([[1.0], [1.0]]))


def test_numbers_do_not_depend_on_the_blocks_they_come_in():
    for kind in ("label", "flip"):
        several, one = (Draws([4, 7], kind, 3, 2, 5, torch.float64, CPU) for _ in range(2))
        parts = [several.block(count) for count in (1, 4, 2)]
        whole = one.block(7)
        assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)
        assert torch.equal(torch.cat([part.rows for part in parts]), whole.rows)


def test_numbers_are_those_of_the_public_streams():
    block = Draws([4, 7], "label", 3, 2, 5, torch.float64, CPU).block(6)
    assert np.array_equal(block.noise[:, 1].numpy(), noise_stream(7).standard_normal((6, 3)))
    assert np.array_equal(block.rows[:, 0].numpy(), row_stream(4).integers(5, size=(6, 2)))
    assert noise_stream(4).random() != row_stream(4).random()


def test_nothing_is_drawn_where_nothing_is_needed():
    block = Draws([4], "label", 0, None, 5, torch.float64, CPU).block(6)
    assert block.noise is None
    assert block.rows is None
