"""Any `torch.nn.Module` with a squared loss, as a problem of `flatter_lib.ensemble`."""

from __future__ import annotations

import copy
import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, jacrev, vjp, vmap

from flatter_lib import checks
from flatter_lib.valleys.interpolation import interpolate
from flatter_lib.valleys.problem import Observable, Valley

#: Targets up to which a start on the manifold is looked for: a dense system of their number is solved.
_MOST_TARGETS = 4000
#: Numbers of the Jacobian that are kept at a time.
_JACOBIAN = 2**24


class FromModule(Valley):
    r"""The loss :math:`\frac{1}{2n} \sum_{ik} (f_k(x_i) - y_{ik})^2` of a module's outputs f.

    Parameters are those of ``module.named_parameters()``, each flattened, in this order. What the module returns for
    one input must not depend on the others, on chance, or on earlier calls: no batch normalisation in training mode, no
    dropout. The module is copied: it is not changed, and what becomes of it later is not seen.

    Args:
        module: maps inputs (n, ...) to outputs (n, m), or (n,) for m = 1.
        inputs: x, shape (n, ...).
        targets: y, shape (n, m).
        test_inputs: fresh inputs, for the test error; None if there are none.
        test_targets: what they should give.

    Raises:
        ValueError: if the outputs' shape is not that of the targets, (n, m) with n at least 1, if targets are not
            finite, or one of the test tensors is missing.

    Examples:
        >>> module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> problem = FromModule(module, x, torch.tensor([[1.0], [-1.0]]))
        >>> problem.dimension, problem.outputs(torch.zeros(5, 13, dtype=torch.float64)).shape
        (13, torch.Size([5, 2, 1]))
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        *,
        test_inputs: Tensor | None = None,
        test_targets: Tensor | None = None,
    ) -> None:
        self.inputs = inputs
        self._module = copy.deepcopy(module)
        # A call with other parameters puts them into the module for its time: threads need a copy each.
        self._of_thread = threading.local()
        named = dict(self._module.named_parameters())
        self._shapes = {name: p.shape for name, p in named.items()}
        self._parameters = torch.cat([p.detach().double().cpu().flatten() for p in named.values()])
        self._targets = targets.detach().double().cpu()
        if (test_inputs is None) != (test_targets is None):
            raise ValueError("test_inputs, test_targets: both or none")
        self._test: tuple[Tensor, Tensor] | None = None
        pairs = [("targets", inputs, targets)]
        if test_inputs is not None and test_targets is not None:
            self._test = test_inputs, test_targets
            pairs.append(("test_targets", *self._test))
        for name, x, y in pairs:
            with torch.no_grad():
                shape = self._outputs(self.parameters, x).shape
            if y.shape != shape or y.ndim != 2 or not len(y):
                raise ValueError(
                    f"{name}: must have the outputs' shape {tuple(shape)}, (n, m) with n at least 1, "
                    f"got {tuple(y.shape)}"
                )
            checks.numbers(name, y.detach().cpu())

    @property
    def targets(self) -> Tensor:
        """The targets y, float64, shape (n, m)."""
        return self._targets

    @property
    def dimension(self) -> int:
        """P, the number of the module's parameters."""
        return self._parameters.numel()

    @cached_property
    def numbers_per_run(self) -> int:
        """Parameters, velocities and gradients, and what a backward pass of all samples keeps."""
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        one = self.inputs[:1]
        with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
            self._outputs(self.parameters.requires_grad_(), one)
        return 4 * self.dimension + len(self.inputs) * max(0, kept - self.dimension)

    @property
    def parameters(self) -> Tensor:
        """The module's own parameters, flat, float64, shape (P,)."""
        return self._parameters.clone()

    def outputs(self, w: Tensor) -> Tensor:
        """The module's outputs, shape (..., n, m)."""
        return self._at(w, self.inputs)

    def trace(self, w: Tensor) -> Tensor:
        """Tr G, by the gradient of every output for every input; which is Tr H on the manifold; shape (...)."""
        x = self.inputs.to(w.device)
        chunk = max(1, _JACOBIAN // (self.dimension * self.targets.shape[1]))

        def square(point: Tensor, sample: Tensor) -> Tensor:
            J: Tensor = jacrev(lambda p: self._outputs(p, sample.unsqueeze(0)))(point)
            return J.square().sum()

        each = vmap(square, in_dims=(None, 0), chunk_size=chunk)
        traces = [each(point, x).mean() for point in w.reshape(-1, self.dimension)]
        return torch.stack(traces).reshape(w.shape[:-1])

    def test_error(self, w: Tensor) -> Tensor:
        r"""The relative error :math:`\sqrt{\sum (f - y)^2 / \sum y^2}` over the test inputs, shape (...).

        Raises:
            ValueError: if there are none.
        """
        if self._test is None:
            raise ValueError("test_error: give test_inputs and test_targets")
        x, y = self._test[0], self._test[1].to(w)
        error = (self._at(w, x) - y).square().sum((-2, -1))
        return (error / y.square().sum()).sqrt()

    def observables(self) -> dict[str, Observable]:
        """``loss`` and ``trace``, and ``test_error`` where there are test inputs."""
        known = dict(super().observables())
        if self._test is None:
            del known["test_error"]
        return known

    def start_on_manifold(self, generator: np.random.Generator, *, spread: float = 0.1) -> Tensor:
        """An interpolating point near the module's own parameters.

        Args:
            generator: of the factors that the parameters are multiplied by first.
            spread: standard deviation of these factors about 1, at least 0.

        Returns:
            Float64, shape (P,).

        Raises:
            ValueError: for more than 4000 targets, or a spread that is negative or not finite.
            RuntimeError: if the targets cannot all be met from there.
        """
        checks.number("spread", spread, "[0, inf)")
        if self.targets.numel() > _MOST_TARGETS:
            raise ValueError(
                f"targets: a start is looked for with up to {_MOST_TARGETS}, got {self.targets.numel()}; "
                "train the module, and give its parameters as the start"
            )
        factors = 1 + spread * torch.from_numpy(generator.standard_normal(self.dimension))
        return interpolate(self.residuals, self.parameters * factors)

    def differential(self, runs: int, *, dtype: torch.dtype, device: torch.device) -> _Module:
        """A forward and a backward pass of all runs by `torch.func`."""
        return _Module(self, _alike(self.inputs, torch.empty(0, dtype=dtype, device=device)))

    def _at(self, w: Tensor, x: Tensor) -> Tensor:
        x = x.to(w.device)
        flat = w.reshape(-1, self.dimension)
        values = torch.stack([self._outputs(point, x) for point in flat])
        return values.reshape(*w.shape[:-1], *values.shape[1:])

    def named(self, w: Tensor) -> dict[str, Tensor]:
        """Parameters by name, each of shape (..., its own shape): views of w, shape (..., P)."""
        named, first = {}, 0
        for name, shape in self._shapes.items():
            last = first + shape.numel()
            named[name] = w[..., first:last].view(*w.shape[:-1], *shape)
            first = last
        return named

    def _outputs(self, w: Tensor, x: Tensor) -> Tensor:
        return self._called(self.named(w), x)

    def _called(self, named: dict[str, Tensor], x: Tensor) -> Tensor:
        like = next(iter(named.values()))
        if not hasattr(self._of_thread, "module"):
            # With the same tensors: copies made within a transform of torch.func would belong to it.
            tensors = (*self._module.parameters(), *self._module.buffers())
            shared = {id(tensor): tensor for tensor in tensors}
            self._of_thread.module = copy.deepcopy(self._module, shared)
        module: nn.Module = self._of_thread.module
        buffers = {name: _alike(buffer, like) for name, buffer in module.named_buffers()}
        value: Tensor = functional_call(module, {**named, **buffers}, (_alike(x, like),))
        return value if value.ndim == 2 else value.unsqueeze(-1)


class _Module:
    """See `flatter_lib.valleys.problem.Differential`."""

    def __init__(self, problem: FromModule, inputs: Tensor) -> None:
        self._inputs, self._named = inputs, problem.named
        self._all = vmap(problem._called, in_dims=(0, None))
        self._each = vmap(problem._called, in_dims=(0, 0))

    def outputs(self, w: Tensor, rows: Tensor | None) -> Tensor:
        x = self._inputs if rows is None else self._inputs[rows]
        each = self._all if rows is None else self._each
        # By name, not from one vector: the derivative of each slice would be as long as the whole.
        linearised: Any = vjp(lambda named: each(named, x), self._named(w))
        value, self._pull_back = linearised
        self._shape = value.shape
        # What a backward pass needs may be the value itself.
        flat: Tensor = value.detach().flatten(1).clone()
        return flat

    def pull_back(self, cotangent: Tensor, into: Tensor) -> None:
        (gradients,) = self._pull_back(cotangent.reshape(self._shape))
        for name, part in self._named(into).items():
            part.add_(gradients[name])


def _alike(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like) if x.is_floating_point() else x.to(like.device)
