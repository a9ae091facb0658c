r"""Training one network, step by step: what is drawn, what is scheduled and what is kept is all explicit.

A training is a network, its clean targets, an optimizer and a generator. It can be stopped after any step, saved, and
gone on with: on a CPU, with the same number of threads, the weights are then bit for bit those of a training that was
not stopped. *Phase 1* is a training without noise, down to interpolation. *Phase 2* is another one, with label noise,
of a network that was given the weights of the first (`flatter_lib.vision.checkpoint.load_network`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from flatter_lib import checks
from flatter_lib.vision import checkpoint
from flatter_lib.vision.checks import alike, pairs, seeded
from flatter_lib.vision.label_noise import KINDS, LabelNoise
from flatter_lib.vision.objective import OutputLoss, half_squared_error
from flatter_lib.vision.residual import LEAST_CHANNELS, narrow

#: Of an image batch or of targets, and a generator on the CPU.
Drawn = Callable[[Tensor, torch.Generator], Tensor]


class Training:
    r"""A network on its way, by minibatches drawn with replacement.

    A step draws B images, augments them, makes their targets noisy, and moves the weights; then the schedulers step,
    in the given order (`flatter_lib.heavy_ball.ScaledMomentum` last). Everything drawn comes from one generator on the
    CPU, so that runs on every device draw the same.

    Attributes:
        network: in training mode between steps.
        optimizer: moves the network's parameters.
        schedulers: stepped after every step.
        step: number of steps taken.

    Args:
        network: on the device where it is to be trained, and in the memory format; compiled, if wanted.
        inputs: training inputs, (n, ...), on the same device.
        targets: clean training targets, (n, K).
        optimizer: of the network's parameters, with whatever weight decay or momentum.
        batch: B.
        generator: of everything that is drawn, on the CPU.
        schedulers: stepped after every step.
        loss: of outputs and targets, a mean over images; ``torch.nn.functional.cross_entropy`` serves too.
        noise: makes targets noisy, `flatter_lib.vision.label_noise.LabelNoise` for instance; None for clean ones.
        augment: of a batch of inputs, `flatter_lib.vision.augment.crop_and_flip` for instance.
        precision: of the network's products in mixed precision: ``torch.bfloat16`` where the device has it; None for
            that of the weights.
        limit: a loss on a minibatch above it counts as divergence.

    Raises:
        ValueError: if there are not as many targets as inputs, they or the weights are not finite, a number is out of
            its range, there is no generator, the loss, noise or augment is no function, flips meet targets that are
            not one-hot, the optimizer moves something else, or the network is channels last where it must not be
            (`flatter_lib.vision.residual.narrow`).

    Examples:
        Four images of two pixels, the network linear:

        >>> network = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.5)
        >>> training = Training(network, x, x[:, :1], optimizer, batch=2, generator=torch.Generator().manual_seed(0))
        >>> training.run(300)
        >>> training.step, [f"{w:.2f}".lstrip("-") for w in network.weight[0]]
        (300, ['1.00', '0.00'])
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        optimizer: Optimizer,
        *,
        batch: int,
        generator: torch.Generator,
        schedulers: Sequence[LRScheduler] = (),
        loss: OutputLoss = half_squared_error,
        noise: Drawn | None = None,
        augment: Drawn | None = None,
        precision: torch.dtype | None = None,
        limit: float = 1e6,
    ) -> None:
        pairs(inputs, targets)
        checks.count("batch", batch)
        seeded("generator", generator)
        checks.one_of("precision", precision, (None, torch.bfloat16, torch.float16))
        what = "a function such as half_squared_error or torch.nn.functional.cross_entropy"
        checks.function("loss", loss, what)
        if noise is not None:
            what = f"None, a LabelNoise of kind {' or '.join(KINDS)}, or a function like it"
            checks.function("noise", noise, what)
        if augment is not None:
            checks.function("augment", augment, "None, or a function such as crop_and_flip")
        if isinstance(noise, LabelNoise):
            noise.suits(targets)
        for name, p in network.named_parameters():
            if not bool(p.isfinite().all()):
                raise ValueError(f"network: {name} must be finite at the start, and is not")
        own = set(network.parameters())
        if not {p for group in optimizer.param_groups for p in group["params"]} <= own:
            raise ValueError("optimizer: must be of this network's parameters, and has others")
        self.network = network.train()
        self.optimizer = optimizer
        self.schedulers = tuple(schedulers)
        self.step = 0
        self._inputs, self._targets = inputs, targets
        self._batch, self._generator = batch, generator
        self._loss, self._noise, self._augment = loss, noise, augment
        self._precise: Callable[[], AbstractContextManager[object]] = (
            nullcontext
            if precision is None
            else partial(torch.autocast, inputs.device.type, dtype=precision)
        )
        self._limit = checks.number("limit", limit, "(0, inf]")
        self._failed = torch.full((), -1, device=inputs.device)
        filters = [p for p in network.parameters() if p.ndim == 4]
        # All, because a filter of one pixel or one channel lies the same in both formats.
        self._channels_last = bool(filters) and all(
            p.is_contiguous(memory_format=torch.channels_last) for p in filters
        )
        if self._channels_last and (names := narrow(network)):
            raise ValueError(
                f"network: {names[0]} strides with 1x1 filters over fewer than {LEAST_CHANNELS} channels, whose "
                "gradient torch has wrong in the format channels last; make it a residual.Pointwise"
            )
        self._parameters: list[Tensor] = list(network.parameters())
        self._mean = [p.detach().clone() for p in self._parameters]
        self._averaged = 0

    @property
    def diverged(self) -> int | None:
        """The first step whose loss was not finite or above the limit; None where there was none."""
        step = int(self._failed)
        return None if step < 0 else step

    def run(self, steps: int) -> None:
        """Take that many steps.

        Args:
            steps: at least 0.

        Raises:
            ValueError: if it is no integer from 0, or targets, once noisy, have another shape than the outputs.
        """
        checks.count("steps", steps, 0)
        self.network.train()
        with _deterministic(self._inputs.device):
            for _ in range(steps):
                self._move()

    def mean_weights(self) -> list[Tensor]:
        """The mean of the weights after each step since the last call, in the order of the network's parameters.

        Noise moves the weights across the valley; their mean lies closer to its floor. Before the first step it is the
        weights themselves.
        """
        mean = [m.clone() for m in self._mean]
        self._averaged = 0
        return mean

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, all that changes while it trains, in place of the one that is there.

        Raises:
            OSError: if it cannot be written; the file that was there is as it was.
        """
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "generator": self._generator.get_state(),
            "step": self.step,
            "failed": self._failed,
            "mean": self._mean,
            "averaged": self._averaged,
        }
        checkpoint.write(path, state)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint of the same training.

        Raises:
            CheckpointError: if there is none, it is damaged, or it is of another training.
        """
        state = checkpoint.read(path, self._inputs.device)
        try:
            saved = len(state["schedulers"])
            if saved != len(self.schedulers):
                raise ValueError(f"it has {saved} schedulers, and there are {len(self.schedulers)}")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            for scheduler, own in zip(self.schedulers, state["schedulers"], strict=True):
                scheduler.load_state_dict(own)
            self._generator.set_state(state["generator"].cpu())
            self._failed.copy_(state["failed"])
            for mean, own in zip(self._mean, state["mean"], strict=True):
                mean.copy_(own)
            self.step, self._averaged = state["step"], state["averaged"]
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            cause = checkpoint.first_line(error)
            raise checkpoint.CheckpointError(
                f"checkpoint {path} is of another training ({cause}): go on with the settings it was saved with"
            ) from error

    def _move(self) -> None:
        rows = torch.randint(len(self._inputs), (self._batch,), generator=self._generator)
        rows = rows.to(self._inputs.device, non_blocking=True)
        x, y = self._inputs[rows], self._targets[rows]
        if self._augment is not None:
            x = self._augment(x, self._generator)
        if self._noise is not None:
            y = self._noise(y, self._generator)
        if self._channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        with self._precise():
            outputs = self.network(x)
        alike("targets", y, outputs)
        loss = self._loss(outputs.to(y.dtype), y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for scheduler in self.schedulers:
            scheduler.step()
        # On the device: asking a card for a number at every step would make it wait.
        failed = (self._failed < 0) & ~(loss.detach() < self._limit)
        self._failed = torch.where(failed, self.step, self._failed)
        self._averaged += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._mean, self._parameters, 1.0 / self._averaged)
        self.step += 1


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Within it, algorithms whose result depends on the order of a card's threads are not used."""
    if device.type == "cpu":
        yield
        return
    # cuBLAS reads it when it begins; without it some of its products are refused in deterministic mode.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark
