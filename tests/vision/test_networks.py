"""The MLP: its layers counted, its parameters counted by formula, its function against a loop, its random numbers."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call

from flatter_lib.vision import MLP, flatten, unflatten

from ..refusals import refuses
from ..seeding import seeded


@pytest.mark.parametrize(
    ("inputs", "width", "outputs", "layers"), [(784, 48, 10, 6), (784, 32, 10, 6), (3, 5, 2, 1)]
)
def test_layers_and_parameters_are_as_many_as_the_formula_says(
    inputs: int, width: int, outputs: int, layers: int
) -> None:
    network = MLP(inputs, width, outputs, layers, generator=seeded())
    linear = [module for module in network if isinstance(module, nn.Linear)]
    sizes = [inputs, *[width] * (layers - 1), outputs]
    assert [(m.in_features, m.out_features) for m in linear] == list(pairwise(sizes))
    by_formula = (
        (inputs + 1) * width + (layers - 2) * (width + 1) * width + (width + 1) * outputs
        if layers > 1
        else (inputs + 1) * outputs
    )
    assert flatten(network).shape == (by_formula,)
    assert sum(isinstance(module, nn.Tanh) for module in network) == layers - 1
    assert not isinstance(network[0], nn.Tanh)
    assert isinstance(network[-1], nn.Linear)


def test_output_is_the_composition_of_its_layers() -> None:
    network = MLP(7, 5, 3, 6, nn.GELU, generator=seeded())
    x = torch.randn(4, 7, generator=seeded(1), dtype=torch.float64)
    signal = x
    linear = [module for module in network if isinstance(module, nn.Linear)]
    for module in linear[:-1]:
        signal = nn.functional.gelu(signal @ module.weight.T + module.bias)
    torch.testing.assert_close(network(x), signal @ linear[-1].weight.T + linear[-1].bias)


def test_initial_weights_have_the_stated_law() -> None:
    network = MLP(784, 400, 10, 3, gain=1.5, generator=seeded(3))
    for module in network:
        if isinstance(module, nn.Linear):
            scaled = module.weight.detach() * module.in_features**0.5 / 1.5
            n = scaled.numel()
            assert abs(scaled.mean()) < 4 / n**0.5
            assert abs(scaled.var() - 1) < 4 * (2 / n) ** 0.5
            assert not module.bias.any()


def test_initial_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again = (flatten(MLP(6, 4, 2, generator=seeded(5))) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, flatten(MLP(6, 4, 2, generator=seeded(6))))


def test_vector_and_named_parameters_are_one_another() -> None:
    network = MLP(6, 4, 2, generator=seeded())
    vector = torch.randn(flatten(network).shape, generator=seeded(1), dtype=torch.float64)
    named = unflatten(network, vector)
    assert list(named) == [name for name, _ in network.named_parameters()]
    x = torch.randn(3, 6, generator=seeded(2), dtype=torch.float64)
    outputs = functional_call(network, named, (x,))
    network.load_state_dict(named)
    torch.testing.assert_close(network(x), outputs, rtol=0, atol=0)
    flatten(network).zero_()
    assert torch.equal(flatten(network), vector)


def test_bad_arguments() -> None:
    good = {"generator": seeded()}
    refuses(MLP, good, inputs=0, width=0, outputs=0, layers=0, gain=float("nan"), generator=None)
    refuses(unflatten, {"network": MLP(2, 2, 1, 2, **good)}, weights=torch.zeros(8))
