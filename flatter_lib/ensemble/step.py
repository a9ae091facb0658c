r"""One step of heavy ball for runs side by side.

The loops of a step are few and work in place. The velocity is kept B times as large as that of ``torch.optim.SGD``, and
the step size divided by B: this spares a division of every residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flatter_lib.checks import Floats, Integers
from flatter_lib.ensemble.draws import Block
from flatter_lib.valleys.problem import Observable, Problem

#: Parameters below which runs are stored side by side.
_FEW = 8


class Settings(NamedTuple):
    """Step size, momentum and strength of the noise, each of shape (S,)."""

    lr: Floats
    momentum: Floats
    label_noise: Floats


@dataclass(frozen=True)
class Recipe:
    """What the runs of an ensemble have in common.

    Attributes:
        problem: the loss.
        noise: kind of noise.
        batch_size: samples of a minibatch, or None.
        records: steps at which observables are taken, from 0 to the last step.
        observables: by name, a function or the name of one of the problem's.
        limit: loss above which a run has diverged.
        dtype: of the runs.
        device: where they go.
    """

    problem: Problem
    noise: str
    batch_size: int | None
    records: Integers
    observables: Mapping[str, str | Observable]
    limit: float
    dtype: torch.dtype
    device: torch.device


class Step:
    """The state of some runs, and the step that changes it.

    Args:
        recipe: what they share.
        settings: one of each a run.
        w: where they start, shape (R, P).
        member: whose of the seeds' numbers each run sees, (R,).

    Attributes:
        w: parameters, shape (R, P).
        velocity: B times the momentum variable, shape (R, P).
        batch: B, or the number of samples.
        noise_size: numbers of noise that a step takes of a seed.
    """

    def __init__(self, recipe: Recipe, settings: Settings, w: Tensor, member: Tensor) -> None:
        problem = recipe.problem
        # A handful of parameters a run: loops over runs must be the inner ones.
        self.w = w if w.shape[1] >= _FEW else w.T.contiguous().T
        self.velocity = torch.zeros_like(self.w)
        self._targets = problem.targets.to(w)
        self._every_target = self._targets.reshape(1, -1)
        samples, outputs = self._targets.shape
        self.batch = recipe.batch_size or samples
        lr, self._momentum, self._strength = (
            torch.from_numpy(values.copy()).to(w).unsqueeze(1) for values in settings
        )
        self._rate = lr / self.batch
        self._differential = problem.differential(len(w), dtype=w.dtype, device=w.device)
        # Runs with one setting, in the order of their seeds, read the numbers where they lie.
        every_its_own = bool(torch.equal(member, torch.arange(len(member), device=member.device)))
        self._member = None if every_its_own else member
        self._noise = recipe.noise
        sizes = {"label": self.batch * outputs, "gaussian": w.shape[1]}
        self.noise_size = sizes[recipe.noise] if bool((self._strength > 0).any()) else 0

    def __call__(self, block: Block, k: int, norm: Tensor) -> None:
        """Make one step.

        Args:
            block: random numbers.
            k: which step of the block it is.
            norm: (R,), takes the norm of the residuals.
        """
        noise = None if block.noise is None else self._of_runs(block.noise[k])
        rows = None if block.rows is None else self._of_runs(block.rows[k])
        r = self._differential.outputs(self.w, rows)
        clean = self._every_target if rows is None else self._targets[rows].flatten(1)
        r.sub_(clean)
        if noise is not None and self._noise == "label":
            r.addcmul_(self._strength, noise, value=-1.0)
        torch.linalg.vector_norm(r, dim=1, out=norm)
        self.velocity.mul_(self._momentum)
        self._differential.pull_back(r, self.velocity)
        if noise is not None and self._noise == "gaussian":
            self.velocity.addcmul_(self._strength * self.batch, noise)
        self.w.addcmul_(self._rate, self.velocity, value=-1.0)

    def clean_norm(self) -> Tensor:
        """Norm of the residuals of all samples without noise, (R,)."""
        r = self._differential.outputs(self.w, None).sub_(self._every_target)
        norm: Tensor = torch.linalg.vector_norm(r, dim=1)
        return norm

    def _of_runs(self, of_seeds: Tensor) -> Tensor:
        return of_seeds if self._member is None else of_seeds.index_select(0, self._member)
