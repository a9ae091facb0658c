from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from flatter_lib.curvature import gauss_newton_trace
from flatter_lib.valleys.module import FromModule
from flatter_lib.vision.networks import MLP, unflatten


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_parameters_are_in_the_module_s_order_and_the_module_stays_as_it_is():
    module = MLP(3, 4, 2, 3, generator=seeded())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    problem = FromModule(module, x, torch.zeros(5, 2))
    torch.testing.assert_close(problem.outputs(problem.parameters), module(x), rtol=0, atol=0)
    for name, value in unflatten(module, problem.parameters).items():
        assert torch.equal(problem.named(problem.parameters)[name], value)
    problem.outputs(torch.zeros(2, problem.dimension, dtype=torch.float64))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype


def test_the_trace_is_that_of_chains_of_linear_maps():
    module = MLP(3, 4, 2, 3, generator=seeded())
    x = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    problem = FromModule(module, x, torch.zeros(5, 2))
    expected = gauss_newton_trace(module, unflatten(module, problem.parameters), x)
    assert float(problem.trace(problem.parameters)) == pytest.approx(float(expected), rel=1e-12)


def test_buffers_and_flat_outputs():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x):
            return self.scale * (x @ self.weight)

    problem = FromModule(Scaled(), torch.eye(3), torch.ones(3, 1))
    w = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert problem.outputs(w)[0, :, 0].tolist() == [2.0, 4.0, 6.0]
    assert problem.trace(w).tolist() == [4.0]


def test_a_thread_may_see_the_module_first_within_a_transform():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double().eval()
    problem = FromModule(module, torch.eye(2), torch.zeros(2, 2))
    w = problem.parameters
    expected = torch.autograd.functional.jacobian(problem.loss, w)

    def twice():
        return torch.func.grad(problem.loss)(w), problem.loss(w)

    with ThreadPoolExecutor(1) as pool:
        gradient, loss = pool.submit(twice).result()
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(loss, problem.loss(w))


def test_the_test_error_needs_test_inputs():
    module, x = nn.Linear(2, 1), torch.eye(2)
    without = FromModule(module, x, torch.ones(2, 1))
    assert set(without.observables()) == {"loss", "trace"}
    with pytest.raises(ValueError, match="give test_inputs and test_targets"):
        without.test_error(without.parameters)
    fresh = torch.tensor([[1.0, 1.0]])
    problem = FromModule(
        module, x, torch.ones(2, 1), test_inputs=fresh, test_targets=torch.tensor([[2.0]])
    )
    # Weights 1 and 2, bias 3: the output is 6 where 2 is right.
    w = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert float(problem.observables()["test_error"](w)) == pytest.approx(2.0)


def test_bad_arguments():
    module, x = nn.Linear(2, 1), torch.eye(2)
    with pytest.raises(
        ValueError, match=r"targets: must have the outputs' shape \(2, 1\), .* got \(2,\)"
    ):
        FromModule(module, x, torch.ones(2))
    with pytest.raises(ValueError, match=r"targets: must have .* n at least 1"):
        FromModule(module, x[:0], torch.ones(0, 1))
    with pytest.raises(ValueError, match=r"targets: must be in \(-inf, inf\), got nan"):
        FromModule(module, x, torch.tensor([[1.0], [torch.nan]]))
    with pytest.raises(ValueError, match="test_inputs, test_targets: both or none"):
        FromModule(module, x, torch.ones(2, 1), test_inputs=x)
    with pytest.raises(ValueError, match="test_targets: must have the outputs' shape"):
        FromModule(module, x, torch.ones(2, 1), test_inputs=x, test_targets=torch.ones(3, 1))
    many = FromModule(module, torch.ones(4001, 2), torch.ones(4001, 1))
    with pytest.raises(ValueError, match="targets: a start is looked for with up to 4000"):
        many.start_on_manifold(None)
