"""The MLP: its layers counted, its parameters counted by formula, its function against a loop, its random numbers."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from flatter_lib.vision.networks import MLP, flatten, unflatten


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_dtype_is_that_asked_for() -> None:
    network = MLP(6, 4, 2, generator=seeded(), dtype=torch.float32)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["inputs", "width", "outputs", "layers"])
def test_sizes_below_one_are_refused_by_name(name: str) -> None:
    size: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name}: must be an integer from 1, got 0"):
        MLP(**size, generator=seeded())


def test_nothing_is_drawn_without_a_seed() -> None:
    with pytest.raises(ValueError, match=r"generator: must be a torch.Generator on the CPU"):
        MLP(2, 2, 1, generator=None)  # type: ignore[arg-type]


def test_a_gain_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gain: must be in \[0, inf\), got nan"):
        MLP(2, 2, 1, gain=float("nan"), generator=seeded())


def test_vector_and_named_parameters_are_one_another() -> None:
    network = MLP(6, 4, 2, generator=seeded())
    vector = torch.randn(flatten(network).shape, generator=seeded(1), dtype=torch.float64)
    named = unflatten(network, vector)
    assert list(named) == [name for name, _ in network.named_parameters()]
    x = torch.randn(3, 6, generator=seeded(2), dtype=torch.float64)
    outputs = functional_call(network, named, (x,))
    network.load_state_dict(named)
    torch.testing.assert_close(network(x), outputs, rtol=0, atol=0)
    assert torch.equal(flatten(network), vector)


def test_a_flattened_network_does_not_change_with_the_vector() -> None:
    network = MLP(6, 4, 2, generator=seeded())
    before = flatten(network)
    flatten(network).zero_()
    assert torch.equal(flatten(network), before)


def test_vectors_of_another_length_are_refused() -> None:
    network = MLP(2, 2, 1, 2, generator=seeded())
    with pytest.raises(ValueError, match=r"weights: must have shape \(9,\), got \(8,\)"):
        unflatten(network, torch.zeros(8))
