r"""Noisy heavy ball for many networks at once: every setting and every seed is a slice of one batched program.

The update of each run is that of ``torch.optim.SGD(lr, momentum)``, equation (1) of Cowsik et al. (2022,
arXiv:2210.16400) up to the sign of the momentum,

.. math:: v_{k+1} = \beta v_k + \nabla L_k(w_k), \qquad w_{k+1} = w_k - \eta v_{k+1},

with the gradient taken on a minibatch of B images whose targets carry fresh label noise,
:math:`y + \varepsilon \xi`, :math:`\xi \sim N(0, 1)` for each output. Where the network interpolates its clean
targets and B images are drawn with replacement, that noise has mean zero and the covariance
:math:`(\varepsilon^2/B) H` exactly: the a of `flatter_lib.heavy_ball.drift_prefactor` is :math:`1/B`.

With the cross-entropy and labels that are flipped anew at every step, the expected loss is that of the labels' mean y.
Where the softmax is y, the gradient's noise has mean zero and the covariance :math:`H/B`, whatever the probability of a
flip: a label's covariance :math:`\operatorname{diag}(y) - y y^\top` is the curvature of the loss in the outputs.

`AdamWEnsemble` is the same with another update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from flatter_lib import checks
from flatter_lib.vision.chain import Chain, is_chain
from flatter_lib.vision.checks import alike, pairs, seeded
from flatter_lib.vision.label_noise import KINDS, LabelNoise
from flatter_lib.vision.networks import unflatten
from flatter_lib.vision.objective import Loss, cross_entropy, squared_loss


class Ensemble:
    r"""R runs of one network, each with its own weights, step size, momentum, label noise and random numbers.

    Runs do not know of each other: what one draws and computes does not depend on which others are there, and a run
    that diverges fills its own slice with numbers that are not finite, and no other. Runs may share their draws, so
    that what tells them apart is their settings; then an MLP's first layers are one product, too.

    Attributes:
        weights: the runs' weights, shape (R, P).
        velocity: their momentum variables v, shape (R, P); zero at the start.
        average: mean of the weights after each step of the last call of `run`, shape (R, P): the noise moves the
            weights across the valley, and their mean lies closer to its floor.
        steps: number of steps taken.
        diverged: int64, shape (R,), the first step at which a run's loss on its minibatch was not finite or
            exceeded ``limit``; -1 where there was none.

    Args:
        network: the architecture; its own parameters are not used.
        weights: where the runs start, shape (R, P); copied.
        inputs: training inputs, shape (n, components), shared by all runs.
        targets: clean training targets, shape (n, outputs).
        lr: step size of every run, a number or one a run, at least 0.
        momentum: in [0, 1), a number or one a run.
        label_noise: standard deviation of the noise on every target at every step, a number or one a run; or the
            probability of a flip.
        batch: images drawn with replacement at every step by each run; None for all of them, once each.
        generators: one a run, or one for each ``shared`` runs, on the CPU, so that a run sees the same noise on every
            device; may be left out where nothing is drawn.
        noise: ``additive``, or ``flip``: flips of one-hot targets (`flatter_lib.vision.label_noise`), which are centred
            but for the cross-entropy.
        loss: of named parameters, inputs and targets; the squared loss if left out. ``cross entropy`` stands for
            `flatter_lib.vision.objective.cross_entropy`; then targets are probabilities, and noise flips them.
        limit: a loss above it counts as divergence.
        shared: so many runs in a row, from the first on, see the same minibatches and the same noise, each times its
            own strength; flips have one probability for all of them.

    Raises:
        ValueError: if an argument is out of its range or of another shape, there are not as many targets as inputs
            or generators as runs with draws of their own, or two of these share a generator.

    Examples:
        Two runs in the valley of the product of two weights; the second takes too large a step:

        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> x = y = torch.ones(1, 1, dtype=torch.float64)
        >>> start = torch.tensor([[0.5, 1.5], [0.5, 1.5]], dtype=torch.float64)
        >>> runs = Ensemble(network, start, x, y, lr=[0.1, 2.0], momentum=0.5)
        >>> runs.run(100)
        >>> runs.diverged.tolist(), runs.weights[0].prod().item()
        ([-1, 5], 1.0...)
    """

    def __init__(
        self,
        network: nn.Module,
        weights: Tensor,
        inputs: Tensor,
        targets: Tensor,
        *,
        lr: float | Sequence[float],
        momentum: float | Sequence[float] = 0.0,
        label_noise: float | Sequence[float] = 0.0,
        batch: int | None = None,
        generators: Sequence[torch.Generator] = (),
        noise: Literal["additive", "flip"] = "additive",
        loss: Loss | Literal["cross entropy"] | None = None,
        limit: float = 1e6,
        shared: int = 1,
    ) -> None:
        P = sum(p.numel() for p in network.parameters())
        if weights.ndim != 2 or not len(weights) or weights.shape[1] != P:
            raise ValueError(f"weights: must have shape (runs, {P}), got {tuple(weights.shape)}")
        pairs(inputs, targets)
        checks.one_of("noise", noise, KINDS)
        crossed = loss == "cross entropy"
        if crossed and not bool(((targets.sum(-1) - 1).abs() < 1e-5).all()):
            raise ValueError("targets: must sum to 1 in each row for the cross entropy")
        known = loss is None or crossed
        usual: Loss = partial(cross_entropy if crossed else squared_loss, network)
        objective: Any = usual if known else loss
        what = "None for squared_loss, 'cross entropy', or a function of parameters, inputs and targets"
        checks.function("loss", objective, what)
        self.weights = weights.detach().clone()
        self.velocity = torch.zeros_like(self.weights)
        self.average = self.weights.clone()
        self.steps = 0
        self.diverged = torch.full((len(weights),), -1, device=weights.device)
        self._inputs, self._targets = inputs, targets
        self.retune(lr, momentum)
        self._noise = self._column("label_noise", label_noise, "[0, inf)").unsqueeze(-1)
        strengths = self._noise.flatten().tolist()
        if len(weights) % checks.count("shared", shared):
            raise ValueError(f"shared: must divide the {len(weights)} runs, got {shared}")
        groups = len(weights) // shared
        sets = [strengths[i : i + shared] for i in range(0, len(strengths), shared)]
        if noise == "flip" and any(len({*each}) > 1 for each in sets):
            raise ValueError("label_noise: must be one for all runs that share their flips")
        if crossed and noise == "additive" and any(strengths):
            raise ValueError("noise: must be flip for the cross entropy, got additive")
        self._flips = [
            LabelNoise("flip", each[0], centred=not crossed) for each in sets if noise == "flip"
        ]
        for flip in self._flips:
            flip.suits(targets)
        self._batch = None if batch is None else checks.count("batch", batch)
        self._generators = [seeded("generators", generator) for generator in generators]
        checks.distinct("generators", self._generators)
        drawing = batch is not None or any(strengths)
        if drawing and len(self._generators) != groups:
            raise ValueError(
                f"generators: must be one for each of the {groups} runs with draws of their own, "
                f"got {len(self._generators)}"
            )
        self._limit = checks.number("limit", limit, "(0, inf]")
        # Filled on the CPU in every step. A run without noise draws none, and its minibatches do not depend on others.
        size = len(targets) if self._batch is None else self._batch
        self._rows = torch.empty(groups, size, dtype=torch.int64)
        self._units = torch.zeros(groups, size, targets.shape[1], dtype=targets.dtype)
        draws = zip(self._units, sets, self._generators, strict=False)
        self._noisy = [(unit, generator) for unit, each, generator in draws if any(each)]
        count = self._rows.numel() if batch else 0
        self._inputs_drawn = inputs.new_empty(count, *inputs.shape[1:])
        self._targets_drawn = targets.new_empty(count, *targets.shape[1:])
        drawn = (groups, shared, size, targets.shape[1]) if self._noisy else (0,)
        self._targets_noisy = targets.new_empty(drawn)
        self._gradient: Callable[..., tuple[Tensor, Tensor]]
        if known and is_chain(network) and inputs.ndim == 2:
            *_, bias = network.parameters()
            alike("targets", targets, bias.expand(len(targets), -1))
            alone = len(weights) if batch is None else shared
            self._gradient = Chain(
                network, len(weights), size, self.weights, shared=alone, crossed=crossed
            )
        else:

            def loss_of(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
                value: Tensor = objective(unflatten(network, w), x, y)
                return value

            axes = (0, None if batch is None else 0, 0 if drawing else None)
            each_own = vmap(grad_and_value(loss_of), in_dims=axes)

            def gradient_of(w: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
                x = x if batch is None else x.repeat_interleave(shared, 0)
                found: tuple[Tensor, Tensor] = each_own(w, x, y)
                return found

            self._gradient = gradient_of

    def retune(self, lr: float | Sequence[float], momentum: float | Sequence[float]) -> None:
        """Go on with other step sizes and momenta; weights and velocities stay as they are.

        Args:
            lr: as for the constructor.
            momentum: as for the constructor.

        Raises:
            ValueError: if one is out of its range.
        """
        self._lr = self._column("lr", lr, "[0, inf)")
        self._momentum = self._column("momentum", momentum, "[0, 1)")

    def run(self, steps: int) -> None:
        """Take that many steps.

        Args:
            steps: at least 1.

        Raises:
            ValueError: if there is no step to take.
        """
        checks.count("steps", steps)
        total = torch.zeros_like(self.weights)
        for _ in range(steps):
            gradient, loss = self._gradient(self.weights, *self._draw())
            failed = (self.diverged < 0) & ~(loss < self._limit)
            self.diverged = torch.where(failed, self.steps, self.diverged)
            self.steps += 1
            self._update(gradient)
            total += self.weights
        self.average = total / steps

    def _update(self, gradient: Tensor) -> None:
        """Move the weights; ``steps`` counts this step already."""
        torch.addcmul(gradient, self.velocity, self._momentum, out=self.velocity)
        self.weights.addcmul_(self._lr, self.velocity, value=-1.0)

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Inputs of one step, one set for runs that share them, and targets of each run; all images without an axis."""
        inputs, targets, device = self._inputs, self._targets, self._inputs.device
        groups, runs = len(self._rows), len(self.weights)
        if self._batch is not None:
            for own, g in zip(self._rows, self._generators, strict=True):
                torch.randint(len(inputs), own.shape, generator=g, out=own)
            rows = self._rows.flatten().to(device)
            torch.index_select(inputs, 0, rows, out=self._inputs_drawn)
            torch.index_select(targets, 0, rows, out=self._targets_drawn)
            inputs = self._inputs_drawn.view(groups, -1, *inputs.shape[1:])
            targets = self._targets_drawn.view(groups, 1, -1, targets.shape[1])
        if self._flips and self._noisy:
            clean = targets.expand(groups, 1, *targets.shape[-2:]).squeeze(1)
            drawn = zip(self._flips, clean, self._generators, strict=True)
            flipped = torch.stack([flip(y, g) for flip, y, g in drawn])
            return inputs, flipped.repeat_interleave(runs // groups, 0)
        if self._noisy:
            for unit, generator in self._noisy:
                unit.normal_(generator=generator)
            units = self._units.to(device).unsqueeze(1)
            strengths = self._noise.view(groups, -1, 1, 1)
            targets = torch.mul(units, strengths, out=self._targets_noisy).add_(targets)
        elif self._batch is not None:
            targets = targets.expand(-1, runs // groups, -1, -1)
        return inputs, targets.reshape(-1, *targets.shape[-2:]) if targets.ndim == 4 else targets

    def _column(self, name: str, value: float | Sequence[float], interval: str) -> Tensor:
        runs = len(self.weights)
        given = torch.from_numpy(checks.numbers(name, value, interval)).to(self.weights.dtype)
        if given.ndim > 1 or (given.ndim == 1 and len(given) != runs):
            raise ValueError(f"{name}: must be a number or one for each of the {runs} runs")
        checks.numbers(name, given.double(), interval)  # what is below 1 may round to it
        return given.to(self.weights.device).expand(runs).unsqueeze(-1)


class AdamWEnsemble(Ensemble):
    r"""The same with AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) for the update.

    As ``torch.optim.AdamW`` has it: with decay :math:`w \leftarrow (1 - \eta\lambda) w`, then

    .. math:: w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^k)}{\sqrt{v / (1 - \beta_2^k)} + \epsilon},

    where m and v are the running means of the gradient and of its square with memories 1/(1-beta). ``momentum`` is
    :math:`\beta_1`, ``velocity`` is m. Retuned with another momentum the correction of m counts the earlier steps as
    if they had been made with it.

    Attributes:
        squares: v, shape (R, P).

    Args:
        arguments: as for `Ensemble`.
        beta2: in [0, 1).
        epsilon: :math:`\epsilon`.
        weight_decay: :math:`\lambda`.
        options: as for `Ensemble`; ``momentum`` is 0 if left out, not AdamW's usual 0.9.
    """

    def __init__(
        self,
        *arguments: Any,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.squares = torch.zeros_like(self.weights)
        self._beta2 = checks.number("beta2", beta2, "[0, 1)")
        self._epsilon = checks.number("epsilon", epsilon, "[0, inf)")
        self._decay = checks.number("weight_decay", weight_decay, "[0, inf)")

    def _update(self, gradient: Tensor) -> None:
        self.velocity.mul_(self._momentum).addcmul_(1 - self._momentum, gradient)
        self.squares.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        mean = self.velocity / (1 - self._momentum**self.steps)
        root = (self.squares / (1 - self._beta2**self.steps)).sqrt_().add_(self._epsilon)
        self.weights.mul_(1 - self._lr * self._decay).addcmul_(self._lr, mean / root, value=-1.0)
