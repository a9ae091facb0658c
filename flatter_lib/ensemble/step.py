r"""One step of heavy ball for runs side by side.

The loops of a step are few and work in place. The velocity is kept B times as large as that of ``torch.optim.SGD``, and
the step size divided by B: this spares a division of every residual.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flatter_lib.ensemble.draws import Block
from flatter_lib.ensemble.settings import Settings
from flatter_lib.valleys.problem import Problem

#: Parameters below which runs are stored side by side.
_FEW = 8


class Step:
    """The state of some runs, and the step that changes it.

    Args:
        problem: the loss.
        w: where runs start, shape (R, P).
        settings: one of each a run.
        member: whose of the seeds' numbers each run sees, (R,).
        noise: its kind.
        batch_size: B, or None.
        compile: whether to compile.

    Attributes:
        w: parameters, shape (R, P).
        velocity: B times the momentum variable, shape (R, P).
        batch: B, or the number of samples.
        noise_size: numbers of noise that a step takes of a seed.
    """

    def __init__(
        self,
        problem: Problem,
        w: Tensor,
        settings: Settings,
        member: Tensor,
        noise: str,
        batch_size: int | None,
        compile: bool,
    ) -> None:
        # A handful of parameters a run: loops over runs must be the inner ones.
        self.w = w if w.shape[1] >= _FEW else w.T.contiguous().T
        self.velocity = torch.zeros_like(self.w)
        self._targets = problem.targets.to(w)
        self._every_target = self._targets.reshape(1, -1)
        self._one_hot = is_one_hot(self._targets)
        samples, outputs = self._targets.shape
        self.batch = batch_size or samples
        lr, self._momentum, self._strength = (
            torch.from_numpy(values.copy()).to(w).unsqueeze(1) for values in settings
        )
        self._rate = lr / self.batch
        self._differential = problem.differential(len(w), dtype=w.dtype, device=w.device)
        # Runs with one setting, in the order of their seeds, read the numbers where they lie.
        every_its_own = bool(torch.equal(member, torch.arange(len(member), device=member.device)))
        self._member = None if every_its_own else member
        self._noise = noise
        sizes = {"label": self.batch * outputs, "flip": self.batch, "gaussian": w.shape[1]}
        self.noise_size = sizes[noise] if bool((self._strength > 0).any()) else 0
        self._advance = torch.compile(self._plain) if compile else self._plain

    def __call__(self, block: Block, k: int, norm: Tensor) -> None:
        """Make one step.

        Args:
            block: random numbers.
            k: which step of the block it is.
            norm: (R,), takes the norm of the residuals.
        """
        noise = None if block.noise is None else self._of_runs(block.noise[k])
        rows = None if block.rows is None else self._of_runs(block.rows[k])
        self._advance(noise, rows, norm)

    def clean_norm(self) -> Tensor:
        """Norm of the residuals of all samples without noise, (R,)."""
        r = self._differential.outputs(self.w, None).sub_(self._every_target)
        norm: Tensor = torch.linalg.vector_norm(r, dim=1)
        return norm

    def _plain(self, noise: Tensor | None, rows: Tensor | None, norm: Tensor) -> None:
        r = self._differential.outputs(self.w, rows)
        clean = self._every_target if rows is None else self._targets[rows].flatten(1)
        if noise is not None and self._noise == "flip":
            shape = (len(clean), self.batch, -1)
            r.sub_(flipped(clean.view(shape), noise, self._strength, self._one_hot).flatten(1))
        else:
            r.sub_(clean)
        if noise is not None and self._noise == "label":
            r.addcmul_(self._strength, noise, value=-1.0)
        torch.linalg.vector_norm(r, dim=1, out=norm)
        self.velocity.mul_(self._momentum)
        self._differential.pull_back(r, self.velocity)
        if noise is not None and self._noise == "gaussian":
            self.velocity.addcmul_(self._strength * self.batch, noise)
        self.w.addcmul_(self._rate, self.velocity, value=-1.0)

    def _of_runs(self, of_seeds: Tensor) -> Tensor:
        return of_seeds if self._member is None else of_seeds.index_select(0, self._member)


def is_one_hot(targets: Tensor) -> bool:
    """Whether each sample has at least two outputs, a single one of which is 1 and the others 0.

    Args:
        targets: shape (n, m).

    Examples:
        >>> is_one_hot(torch.eye(3)), is_one_hot(torch.ones(3, 1))
        (True, False)
    """
    ones = targets == 1
    outputs = targets.shape[1]
    return outputs > 1 and bool((ones | (targets == 0)).all() and (ones.sum(1) == 1).all())


def flipped(clean: Tensor, uniform: Tensor, probability: Tensor, one_hot: bool) -> Tensor:
    """Targets, some of them false.

    A sample is false where its uniform number is below the probability. That number over the probability, uniform
    again, then says which of the other classes takes the place of the true one.

    Args:
        clean: shape (R or 1, B, m).
        uniform: in [0, 1), shape (R, B).
        probability: shape (R, 1).
        one_hot: whether targets are classes; else signs change.

    Returns:
        Shape (R, B, m).

    Examples:
        >>> clean = torch.eye(3)[None]
        >>> flipped(clean, torch.tensor([[0.1, 0.3, 0.7]]), torch.tensor([[0.4]]), one_hot=True)[0].argmax(1)
        tensor([1, 0, 2])
    """
    false = (uniform < probability).unsqueeze(2)
    if not one_hot:
        return torch.where(false, -clean, clean)
    outputs = clean.shape[2]
    share = (uniform / probability).unsqueeze(2)
    shift = torch.where(false, 1 + (share * (outputs - 1)).long().clamp(max=outputs - 2), 0)
    source = (torch.arange(outputs, device=clean.device) - shift) % outputs
    return clean.expand_as(source).gather(2, source)
