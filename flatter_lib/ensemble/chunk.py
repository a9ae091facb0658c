"""Runs that are advanced together, from their start to their last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flatter_lib.ensemble.draws import Draws
from flatter_lib.ensemble.step import Recipe, Settings, Step
from flatter_lib.valleys.problem import Observable

#: Numbers of noise that are drawn at a time: a megabyte.
_DRAWN = 2**17
#: Steps between two looks for runs that diverged.
_MOST_STEPS = 256


class Chunk:
    """Some runs, each with its own settings, seed and start.

    Args:
        recipe: what they share.
        settings: theirs, one a run.
        seeds: one a run.
        start: (runs, P).

    Attributes:
        w: (runs, P), where the runs are; NaN for those that diverged.
        values: by name, (runs, records) float64.
        diverged: (runs,) int64, the step at which a run diverged, or -1.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        seeds: Sequence[int],
        start: NDArray[np.float64],
    ) -> None:
        self._recipe, self._settings, self._seeds = recipe, settings, seeds
        self._start = start
        self.w: NDArray[Any] = np.empty(0)
        shape = (len(seeds), len(recipe.records))
        self.values = {name: np.full(shape, np.nan) for name in recipe.observables}
        self.diverged = np.full(len(seeds), -1, dtype=np.int64)

    def advance(self, stop: Event) -> None:
        """Make all steps, unless it is set in between that nobody waits for them any more."""
        recipe = self._recipe
        own, member = np.unique(self._seeds, return_inverse=True)
        start = torch.from_numpy(self._start).to(recipe.device, recipe.dtype)
        of = torch.from_numpy(member).to(recipe.device)
        step = Step(recipe, self._settings, start.clone(), of)
        draws = Draws(
            own.tolist(),
            step.noise_size,
            recipe.batch_size,
            len(recipe.problem.targets),
            recipe.dtype,
            recipe.device,
        )
        look = self._observables(start)
        last = int(recipe.records[-1])
        length = min(_MOST_STEPS, max(8, _DRAWN // max(1, len(own) * step.noise_size)))
        norms = torch.empty(length, len(self._seeds), dtype=recipe.dtype, device=recipe.device)
        self._record(0, look, step.w)
        record, done = 1, 0
        while done < last and np.any(self.diverged < 0) and not stop.is_set():
            count = min(length, last - done)
            block = draws.block(count)
            for k in range(count):
                step(block, k, norms[k])
                if recipe.records[record] == done + k + 1:
                    self._record(record, look, step.w)
                    record += 1
            self._notice(norms[:count] ** 2 / (2 * step.batch), done, step)
            done += count
        samples = len(recipe.problem.targets)
        self._notice(step.clean_norm().unsqueeze(0) ** 2 / (2 * samples), last, step)
        for values in self.values.values():
            values[(self.diverged >= 0)[:, None] & (recipe.records >= self.diverged[:, None])] = (
                np.nan
            )
        self.w = step.w.cpu().numpy()

    def _observables(self, start: Tensor) -> dict[str, Observable]:
        known = {
            **self._recipe.problem.observables(),
            "distance": lambda w: torch.linalg.vector_norm(w - start, dim=-1),
        }
        return {
            name: known[what] if isinstance(what, str) else what
            for name, what in self._recipe.observables.items()
        }

    def _record(self, record: int, look: Mapping[str, Observable], w: Tensor) -> None:
        for name, observable in look.items():
            self.values[name][:, record] = observable(w).double().cpu().numpy()

    def _notice(self, losses: Tensor, first: int, step: Step) -> None:
        """Find the runs whose loss (steps, runs) left the limit; ``first`` is the step of the first row."""
        # Written so that NaN leaves too.
        left = ~(losses <= self._recipe.limit).cpu().numpy()
        new = left.any(axis=0) & (self.diverged < 0)
        if np.any(new):
            self.diverged[new] = first + left.argmax(axis=0)[new]
            where = torch.from_numpy(new).to(step.w.device)
            step.w[where] = torch.nan
            step.velocity[where] = torch.nan
