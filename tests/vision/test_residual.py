"""ResNet-18: against torchvision's, its shapes, its counts by formula, its first weights, and its curvature."""

import math
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from flatter_lib.vision.networks import flatten, unflatten
from flatter_lib.vision.normalization import GhostBatchNorm2d, Normalization
from flatter_lib.vision.residual import LEAST_CHANNELS, BasicBlock, Pointwise, ResNet18, narrow

from ..refusals import refuses
from ..seeding import seeded

KINDS = get_args(Normalization)


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def tiny(kind: Normalization, inputs: int = 3, outputs: int = 10) -> ResNet18:
    return ResNet18(
        1 / 16,
        outputs,
        inputs,
        kind,
        ghost_batch=4,
        groups=2,
        generator=seeded(),
        dtype=torch.float64,
    )


def anywhere(network: ResNet18, seed: int = 7) -> ResNet18:
    """The network at weights of no special kind: none of them zero."""
    generator = seeded(seed)
    with torch.no_grad():
        for p in network.parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(noise / math.sqrt(p[0].numel()) if p.dim() > 1 else 0.3 * noise + 0.5)
    return network


def test_batch_normalised_network_is_torchvisions() -> None:
    ours = anywhere(ResNet18(generator=seeded(), dtype=torch.float64))
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.double()
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    assert flatten(ours).numel() == flatten(theirs).numel() == 11_173_962
    with torch.no_grad():
        for copy, weight in zip(theirs.parameters(), ours.parameters(), strict=True):
            copy.copy_(weight)
    x = images(6, 3, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    for a, b in zip(theirs.buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(b, a)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "c"), [(1 / 8, [8, 16, 32, 64]), (0.3, [19, 38, 77, 154])])
def test_parameters_are_as_many_as_the_formula_says(
    kind: Normalization, width: float, c: list[int]
) -> None:
    network = ResNet18(width, 7, 1, kind, groups=1, generator=seeded())
    weights = 9 * c[0] + 4 * 9 * c[0] ** 2
    for before, after in pairwise(c):
        weights += 9 * before * after + 3 * 9 * after**2 + before * after
    convolved = 5 * c[0] + 5 * (c[1] + c[2] + c[3])
    extra = convolved * (1 if kind == "none" else 2)
    assert flatten(network).numel() == weights + extra + 7 * c[3] + 7


@pytest.mark.parametrize("kind", KINDS)
def test_every_convolution_has_the_normalisation_asked_for(kind: Normalization) -> None:
    modules = list(tiny(kind).modules())
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 1 + 8 * 2 + 3
    assert {m.bias is not None for m in convolutions} == {kind == "none"}
    layer: type[nn.Module] = {
        "none": nn.Conv2d,
        "batch": nn.BatchNorm2d,
        "ghost": GhostBatchNorm2d,
        "group": nn.GroupNorm,
    }[kind]
    assert sum(type(m) in (layer, Pointwise if kind == "none" else layer) for m in modules) == 20
    assert all(m.ghost_batch == 4 for m in modules if isinstance(m, GhostBatchNorm2d))
    assert all(m.num_groups == 2 for m in modules if isinstance(m, nn.GroupNorm))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "last"), [(28, 4), (16, 2), (8, 1)])
def test_shapes(kind: Normalization, size: int, last: int) -> None:
    network = tiny(kind)
    shapes: list[tuple[int, ...]] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _m, _i, y: shapes.append(tuple(y.shape)))
    for mode in (True, False):
        outputs = network.train(mode)(images(6, 3, size, size))
        assert outputs.shape == (6, 10)
        assert outputs.isfinite().all()
    assert shapes[0] == shapes[1] == (6, 4, size, size)
    assert shapes[7] == (6, 32, last, last)


@pytest.mark.parametrize("kind", ["none", "batch", "group"])
def test_first_weights_have_the_stated_law(kind: Normalization) -> None:
    network = ResNet18(1 / 2, normalization=kind, generator=seeded())
    scales: dict[nn.Module, float] = {network.head: math.sqrt(1 / 2)}
    if kind == "none":
        for block in network.blocks:
            assert not block.get_parameter("conv2.weight").any()
            scales |= {block.conv1: 1 / math.sqrt(8), block.conv2: 0.0}  # type: ignore[dict-item]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Conv2d | nn.Linear) and (scale := scales.get(module, 1.0)):
            scaled = module.weight.detach() / (scale * math.sqrt(2 / module.weight[0].numel()))
            n = scaled.numel()
            assert abs(scaled.mean()) < 4 / n**0.5
            assert abs(scaled.var() - 1) < 4 * (2 / n) ** 0.5
            assert module.bias is None or not module.bias.any()


def test_silent_branches_leave_stem_shortcuts_and_head() -> None:
    network = tiny("none")
    x = images(5, 3, 16, 16)
    signal = network.conv1(x).relu()
    for block in network.blocks:
        assert isinstance(block, BasicBlock)
        signal = block.shortcut(signal).relu()
    torch.testing.assert_close(network(x), network.head(signal.mean((2, 3))))
    assert network(x).std() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_come_from_the_generator_alone(kind: Normalization) -> None:
    before = torch.get_rng_state()
    first, again = flatten(tiny(kind)), flatten(tiny(kind))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    other = ResNet18(1 / 16, normalization=kind, groups=2, generator=seeded(1), dtype=torch.float64)
    assert not torch.equal(first, flatten(other))


def second_derivatives(network: nn.Module, x: Tensor, output: int) -> Tensor:
    """The diagonal of the Hessian of one output, summed over x, by double backward."""

    def total(vector: Tensor) -> Tensor:
        outputs: Tensor = functional_call(network, unflatten(network, vector), (x,))
        return outputs[:, output].sum()

    hessian: Tensor = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        total, flatten(network), vectorize=True
    )
    return hessian.diagonal()


def smallest(kind: Normalization, mode: bool) -> nn.Module:
    network = ResNet18(1 / 128, 2, 1, kind, groups=1, generator=seeded(), dtype=torch.float64)
    return anywhere(network).train(mode)


@pytest.mark.parametrize(("kind", "mode"), [("none", True), ("batch", False)])
def test_outputs_are_piecewise_linear_in_each_weight(kind: Normalization, mode: bool) -> None:
    network, x = smallest(kind, mode), images(2, 1, 8, 8)
    diagonal = second_derivatives(network, x, 1)
    assert diagonal.shape == flatten(network).shape
    assert diagonal.abs().max() < 1e-12
    weights = list(network.parameters())
    slopes = torch.autograd.grad(network(x)[:, 1].sum(), weights)
    assert all(slope.any() for slope in slopes), "a silent network would prove nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_channels_last_changes_the_layout_alone(kind: Normalization) -> None:
    network, x = anywhere(tiny(kind)), images(6, 3, 16, 16)
    expected = network(x)
    expected.square().mean().backward()
    gradients = [p.grad for p in network.parameters()]
    moved = anywhere(tiny(kind)).to(memory_format=torch.channels_last)
    layouts: list[bool] = []
    for block in moved.blocks:
        block.register_forward_hook(
            lambda _m, _i, y: layouts.append(y.is_contiguous(memory_format=torch.channels_last))
        )
    outputs = moved(x.contiguous(memory_format=torch.channels_last))
    outputs.square().mean().backward()
    assert layouts == [True] * 8
    torch.testing.assert_close(outputs, expected)
    for p, gradient in zip(moved.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient)


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What reaches the kernels: of each convolution and each gradient of one, its channels, filter and stride."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[tuple[int, int, int]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("convolution", "convolution_backward"):
            weight, stride = (args[1], args[3]) if name == "convolution" else (args[2], args[4])
            self.seen.add((weight.shape[1], weight.shape[2], stride[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("width", [1 / 64, 1 / 16, 1 / 8])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_no_kernel_strides_with_one_pixel_over_few_channels(
    width: float, precision: torch.dtype | None
) -> None:
    """Where the layout is channels last and the processor has no AVX-512 its gradient is wrong, and memory is lost."""
    network = ResNet18(width, generator=seeded()).to(memory_format=torch.channels_last)
    x = images(4, 3, 8, 8, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    with Convolutions() as convolutions, torch.autocast("cpu", precision, precision is not None):
        network(x).float().square().mean().backward()
    striding = {c for c, size, stride in convolutions.seen if size == 1 and stride > 1}
    assert striding == {c for c in (64 * width, 128 * width, 256 * width) if c >= 8}
    assert not narrow(network)


@pytest.mark.parametrize("channels", [2, LEAST_CHANNELS])
def test_a_pointwise_convolution_is_torchs(channels: int) -> None:
    x = images(3, channels, 7, 5)
    ours = Pointwise(channels, 4, 1, stride=2, dtype=torch.float64)
    plain = nn.Conv2d(channels, 4, 1, stride=2, dtype=torch.float64)
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), plain(x))
    assert narrow(nn.Sequential(ours, plain)) == (["1"] if channels < LEAST_CHANNELS else [])


def test_no_width_is_too_small_for_a_channel() -> None:
    network = ResNet18(1e-3, inputs=1, generator=seeded())
    assert {m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)} == {1}


def test_bad_arguments() -> None:
    good: dict[str, Any] = {"generator": seeded()}
    refuses(ResNet18, good, width=0.0, outputs=0, inputs=0, normalization="layer", generator=None)
    refuses(ResNet18, good | {"normalization": "ghost"}, ghost_batch=0)
    refuses(ResNet18, good | {"normalization": "group", "width": 0.1}, groups=8)
