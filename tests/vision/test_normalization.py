"""Ghost batch normalisation against a loop over chunks and against its formula; the layers behind each name."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flatter_lib.vision.normalization import GhostBatchNorm2d, normalization

from ..refusals import refuses

F64 = torch.float64


def images(n: int, seed: int = 0, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, n + 1, dtype=F64).view(-1, 1, 1, 1)
    return scale + scale * torch.randn(n, channels, 4, 5, generator=generator, dtype=F64)


def with_affine(layer: nn.BatchNorm2d) -> nn.BatchNorm2d:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, 0.0, -3.0]))
    return layer


@pytest.mark.parametrize("n", [1, 3, 4, 8, 11])
def test_training_is_a_loop_over_chunks(n: int) -> None:
    ghost = with_affine(GhostBatchNorm2d(3, ghost_batch=4, dtype=F64))
    plain = with_affine(nn.BatchNorm2d(3, dtype=F64))
    x, direction = images(n).requires_grad_(), images(n, seed=1)
    y = x.detach().clone().requires_grad_()
    outputs = ghost(x)
    expected = torch.empty_like(y)
    for start in range(0, n, 4):
        expected[start : start + 4] = plain(y[start : start + 4])
    torch.testing.assert_close(outputs, expected)

    torch.autograd.backward((outputs * direction).sum())
    torch.autograd.backward((expected * direction).sum())
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ghost.weight.grad, plain.weight.grad)
    torch.testing.assert_close(ghost.bias.grad, plain.bias.grad)
    assert ghost.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ghost.state_dict()[name], value)


def test_evaluation_is_affine_in_running_statistics() -> None:
    layer = with_affine(GhostBatchNorm2d(3, ghost_batch=2, dtype=F64))
    layer(images(6))
    layer.eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = images(5, seed=2)
    together = layer(x)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    centred = x - layer.running_mean.view(3, 1, 1)
    scale = (layer.weight / (layer.running_var + 1e-5).sqrt()).view(3, 1, 1)
    torch.testing.assert_close(together, centred * scale + layer.bias.view(3, 1, 1))
    torch.testing.assert_close(torch.cat([layer(x[i : i + 1]) for i in range(5)]), together)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_chunk_without_variance_is_refused() -> None:
    layer = GhostBatchNorm2d(3, ghost_batch=2, dtype=F64)
    layer(torch.randn(4, 3, 1, 1, dtype=F64))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(ValueError, match=r"input: its last ghost batch is one image of one pixel"):
        layer(torch.randn(5, 3, 1, 1, dtype=F64))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert layer.eval()(torch.randn(5, 3, 1, 1, dtype=F64)).shape == (5, 3, 1, 1)


def test_groups_are_normalised_image_by_image() -> None:
    x = images(2, channels=4)
    outputs = normalization("group", 4, groups=2, dtype=F64)(x)
    for i in range(2):
        for group in (slice(0, 2), slice(2, 4)):
            part = x[i, group]
            expected = (part - part.mean()) / (part.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(outputs[i, group], expected)


def test_bad_arguments() -> None:
    good: dict[str, Any] = {"channels": 3}
    refuses(GhostBatchNorm2d, good, channels=0, ghost_batch=2.5, momentum=1.5, eps=-1e-5)
    refuses(normalization, good | {"kind": "group"}, channels=0, groups=2)
    refuses(normalization, good | {"kind": "ghost"}, ghost_batch=0)
    with pytest.raises(
        ValueError, match=r"^normalization: must be one of none, batch, ghost, group"
    ):
        normalization("layer", 4)  # type: ignore[arg-type]
