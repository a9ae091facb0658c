r"""A small Transformer that learns to write on: steps to a target loss, by optimizer and batch size.

A run trains a two-layer Transformer (`flatter_lib.text.transformer.Transformer`) on windows of a text, drawn with
replacement, with a constant step or one that falls linearly to zero, until its loss on text kept apart is at the
target. Beside the weights it keeps an average of them,
:math:`\bar w_k = \bar w_{k-1} + \min(1, 10/k) (w_k - \bar w_{k-1})`, which is over about the last tenth of the run so
far. The memory of Adam's second moment is held in *characters*, whatever the batch (Marek et al., arXiv:2507.07101):
with :math:`n` of them in a step, :math:`\beta_2 = 2^{-n/\text{half-life}}`.

Step sizes are tuned on `GRID` with the seeds `TUNED_ON`; `CHOSEN` is what came out, and is judged by `JUDGED_ON`. The
experiment stands in for LM1B in Section 4 of Zhang et al. (arXiv:1907.04164). All settings of the laptop are this
book's own. ``paper`` is the network of that paper (width 512, 8 heads) on LM1B; context, batch sizes, steps and target
are our guesses. The book has no LM1B, so it has not been run: it takes tokens from ``lm1b/tokens.npy`` of the data
root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from flatter_lib import checks
from flatter_lib.experiments.design import Held, short

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Name = Literal["sgd", "momentum", "adam"]
Schedule = Literal["constant", "linear"]
Text = Literal["shakespeare", "chain", "lm1b"]
#: beta of heavy ball, and beta_1 of Adam.
MOMENTUM = 0.9
#: Loss, in nats a character: about that of a table of pairs, counted.
TARGET = 2.5
#: Characters in which the memory of Adam's second moment halves.
HALF_LIFE = 32_768
TUNED_ON = (0,)
#: The last two were added when the intervals of the first three had been seen.
JUDGED_ON = (1, 2, 3, 4, 5)


class Setting(NamedTuple):
    """What a step size is tuned for; see `Configuration`."""

    optimizer: Name
    batch: int
    steps: int
    target: float = TARGET
    half_life: int = HALF_LIFE
    schedule: Schedule = "constant"
    probes: int = 0


#: With one window a step, what halves Adam's memory in as many steps as with 64 windows it halves in.
SHORT_LIFE = Setting("adam", 1, 4_000, half_life=HALF_LIFE // 64)
#: A constant step whose weights are averaged, and one that falls to zero.
CONSTANT = Setting("adam", 16, 800, target=0.0, probes=64)
LINEAR = Setting("adam", 16, 800, target=0.0, schedule="linear")
#: Step sizes of each setting: effective ones of SGD with and without momentum.
GRID: Mapping[Setting, tuple[float, ...]] = {
    Setting("sgd", 1, 6_000): (0.05, 0.1, 0.2),
    Setting("sgd", 4, 2_000): (0.1, 0.2, 0.4, 0.8),
    Setting("sgd", 16, 1_000): (0.25, 0.5, 1.0, 2.0),
    Setting("sgd", 64, 700): (0.2, 0.4, 0.8, 1.6, 3.2),
    Setting("momentum", 1, 6_000): (0.05, 0.1, 0.2),
    Setting("momentum", 4, 2_000): (0.1, 0.2, 0.4, 0.8),
    Setting("momentum", 16, 800): (0.5, 1.0, 2.0, 4.0),
    Setting("momentum", 64, 500): (0.5, 1.0, 2.0, 4.0),
    Setting("adam", 1, 4_000): (0.0005, 0.001, 0.002, 0.004),
    Setting("adam", 4, 1_000): (0.001, 0.002, 0.004, 0.008),
    Setting("adam", 16, 400): (0.002, 0.004, 0.008, 0.016),
    Setting("adam", 64, 250): (0.004, 0.008, 0.016),
    Setting("adam", 256, 150): (0.004, 0.008, 0.016),
    SHORT_LIFE: (0.0005, 0.001, 0.002, 0.004),
    CONSTANT: (0.002, 0.004, 0.008),
    LINEAR: (0.004, 0.008, 0.016),
}
#: Of each setting the step that reached the target first, or ended lowest, with the seeds of the tuning.
CHOSEN: Mapping[Setting, float] = {
    Setting("sgd", 1, 6_000): 0.1,
    Setting("sgd", 4, 2_000): 0.2,
    Setting("sgd", 16, 1_000): 0.5,
    Setting("sgd", 64, 700): 0.4,
    Setting("momentum", 1, 6_000): 0.1,
    Setting("momentum", 4, 2_000): 0.2,
    Setting("momentum", 16, 800): 1.0,
    Setting("momentum", 64, 500): 1.0,
    Setting("adam", 1, 4_000): 0.002,
    Setting("adam", 4, 1_000): 0.004,
    Setting("adam", 16, 400): 0.008,
    Setting("adam", 64, 250): 0.008,
    Setting("adam", 256, 150): 0.008,
    SHORT_LIFE: 0.002,
    CONSTANT: 0.004,
    LINEAR: 0.008,
}


@dataclass(frozen=True)
class Configuration:
    """One run.

    Attributes:
        optimizer: ``sgd``, ``momentum`` (heavy ball with 0.9) or ``adam``.
        step: of Adam as typed; else over 1 - momentum.
        batch: windows of a step.
        seed: of the initial weights and of the windows.
        steps: after which the run ends.
        target: it ends once both losses are at or below this, too.
        half_life: characters in which the memory of Adam's second moment halves.
        schedule: of the step: ``constant``, or ``linear`` down to zero.
        probes: minibatches of 16 windows by which the noise of the gradient is measured; none if 0.
        text: ``shakespeare``, ``chain``, which is made up, or ``lm1b``.
        context: characters of a window.
        width: of a character's vector.
        heads: of the attention.
        windows: of the text kept apart, by which a loss is measured.
        device: where it runs.
        dtype: precision of the weights.
    """

    optimizer: Name
    step: float
    batch: int
    seed: int
    steps: int
    target: float = TARGET
    half_life: int = HALF_LIFE
    schedule: Schedule = "constant"
    probes: int = 0
    text: Text = "shakespeare"
    context: int = 32
    width: int = 32
    heads: int = 4
    windows: int = 128
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.fields(self, optimizer=get_args(Name), text=get_args(Text))
        checks.fields(self, schedule=get_args(Schedule), step="(0, inf)", target="[0, inf)")
        checks.fields(self, batch=1, seed=0, steps=8, half_life=1, context=1, width=1, heads=1)
        checks.fields(self, windows=1, probes=0)

    @property
    def looks(self) -> list[int]:
        """The steps after which the losses are measured: six an octave from 8, and the last."""
        octaves = np.arange(0, 6 * np.log2(self.steps / 8) - 0.5)
        return [*np.round(8 * 2 ** (octaves / 6)).astype(int).tolist(), self.steps]

    @property
    def probed(self) -> list[int]:
        """The steps after which the noise is measured: none, then one look an octave."""
        return [0, *self.looks[::6]] if self.probes else []


def cells(seeds: Sequence[int], steps: Mapping[Setting, Sequence[float]]) -> list[Configuration]:
    """The runs of each setting with each of its steps and each seed."""
    return [
        Configuration(step=step, seed=seed, **setting._asdict())
        for seed in seeds
        for setting, some in steps.items()
        for step in some
    ]


_SHORT = Configuration(
    "adam",
    0.01,
    batch=8,
    seed=0,
    steps=64,
    target=0.0,
    half_life=512,
    text="chain",
    context=8,
    width=16,
    heads=2,
    windows=64,
    dtype="float64",
)
#: Short runs on a text that is made up, in double precision: what a reader makes again.
SHORT = [
    replace(_SHORT, optimizer="sgd", step=0.2),
    replace(_SHORT, optimizer="momentum", step=0.2),
    replace(_SHORT, probes=8),
]

PROFILES: Mapping[str, list[Configuration]] = {
    "smoke": SHORT,
    "laptop": [
        *cells(TUNED_ON, GRID),
        *cells(JUDGED_ON, {s: [step] for s, step in CHOSEN.items()}),
        *SHORT,
    ],
    "paper": [
        replace(c, text="lm1b", width=512, heads=8, context=64, target=3.9, device="cuda")
        for c in cells(TUNED_ON, GRID)
    ],
}

#: In single precision rounding changes all of a run.
HELD: Held = {
    "loss": {"rtol": 0.03, "share": 0.8, "common": "seed"},
    "averaged": {"rtol": 0.03, "share": 0.8, "common": "seed"},
    "signal": {"rtol": 0.3, "share": 0.7, "common": "seed"},
    "spread": {"rtol": 0.3, "share": 0.7, "common": "seed"},
}


def run(configuration: Configuration) -> Mapping[str, Any]:
    """Make the run.

    Returns:
        ``text``: name and digest. ``counted``: loss of the text kept apart without a network, see
        `flatter_lib.text.characters.counted_loss`. ``loss`` and ``averaged``: at each look, of the weights and of their
        average, in nats; NaN after the end. ``signal`` and ``spread``: at each probe, of the whole gradient the square,
        and of one window's gradient the variance, see `signal_and_spread`.
    """
    import torch
    from torch.func import functional_call
    from torch.nn.functional import cross_entropy

    from flatter_lib.text.transformer import Transformer

    c = configuration
    train, kept, symbols, found = _text(c)
    network = Transformer(
        symbols,
        width=c.width,
        heads=c.heads,
        context=c.context,
        generator=torch.Generator().manual_seed(c.seed),
        device=c.device,
        dtype=getattr(torch, c.dtype),
    )
    weights = dict(network.named_parameters())
    average = {name: p.detach().clone() for name, p in weights.items()}
    lr = c.step * (1 - MOMENTUM) if c.optimizer == "momentum" else c.step
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(
            weights.values(), lr, (MOMENTUM, 2 ** (-c.batch * c.context / c.half_life)), fused=True
        )
        if c.optimizer == "adam"
        else torch.optim.SGD(
            weights.values(), lr, MOMENTUM if c.optimizer == "momentum" else 0.0, fused=True
        )
    )
    generator = torch.Generator().manual_seed(1000 + c.seed)
    others = torch.Generator().manual_seed(2000 + c.seed)
    places = torch.arange(c.context + 1)

    def windows(count: int, source: torch.Generator) -> Tensor:
        return train[torch.randint(len(train) - c.context, (count, 1), generator=source) + places]

    def loss_of(some: Tensor, other: dict[str, Tensor] | None = None) -> Tensor:
        some = some.to(c.device)
        inputs = some[:, :-1]
        logits: Tensor = functional_call(network, other, (inputs,)) if other else network(inputs)
        return cross_entropy(logits.flatten(0, 1), some[:, 1:].flatten())

    apart = torch.linspace(0, len(kept) - c.context - 1, c.windows).long()[:, None] + places
    losses, signals = np.full((2, len(c.looks)), np.nan), []
    for k in range(c.steps + 1):
        if k in c.probed:
            gradients = [
                torch.autograd.grad(loss_of(windows(16, others)), list(weights.values()))
                for _ in range(c.probes)
            ]
            flat = torch.stack([torch.cat([g.flatten() for g in row]) for row in gradients])
            signals.append(signal_and_spread(flat, 16))
        if k in c.looks:
            with torch.no_grad():
                now = [float(loss_of(kept[apart], w)) for w in (None, average)]
            losses[:, c.looks.index(k)] = now
            if not np.isfinite(now[0]) or max(now) <= c.target:
                break
        if k == c.steps:
            break
        if c.schedule == "linear":
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - k / c.steps)
        optimizer.zero_grad()
        loss_of(windows(c.batch, generator)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.values()), list(weights.values()), min(1.0, 10 / (k + 1))
            )
    found |= {"loss": short(losses[0]), "averaged": short(losses[1])}
    if c.probes:
        found |= {
            "signal": short([s for s, _ in signals]),
            "spread": short([s for _, s in signals]),
        }
    return found


def signal_and_spread(gradients: Tensor, batch: int) -> tuple[float, float]:
    r"""The square of the whole gradient, and the variance of one window's, from minibatches.

    With m of them, of b windows each, :math:`\bar g` their mean and :math:`V = \sum_i |g_i - \bar g|^2/(m-1)`, both

    .. math:: |\bar g|^2 - V/m, \qquad b V

    have no bias. Their ratio, the second over the first, is the gradient noise scale in windows (McCandlish et al.
    2018, arXiv:1812.06162).

    Args:
        gradients: (m, d), m at least 2.
        batch: b.

    Examples:
        >>> import torch
        >>> signal_and_spread(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), 16)
        (3.0, 32.0)
    """
    m = checks.count("gradients, minibatches", len(gradients), 2)
    variance = float(gradients.var(0).sum())
    return float(gradients.mean(0).square().sum()) - variance / m, batch * variance


def _text(c: Configuration) -> tuple[Tensor, Tensor, int, dict[str, Any]]:
    """The training text, the tenth at the end that is kept apart, the number of symbols, and what a record names."""
    import torch

    tokens, symbols, digest, counted = _read(c.text)
    train, kept = torch.from_numpy(tokens).tensor_split([len(tokens) * 9 // 10])
    return train, kept, symbols, {"text": {"name": c.text, "digest": digest}, "counted": counted}


@lru_cache(maxsize=1)
def _read(name: Text) -> tuple[NDArray[np.int64], int, str, list[float]]:
    from flatter_lib.files import data_root
    from flatter_lib.text.characters import Characters, chain, counted_loss, shakespeare

    if name == "lm1b":
        tokens = np.load(data_root() / "lm1b" / "tokens.npy").astype(np.int64)
        text = Characters(tokens, int(tokens.max()) + 1, "none")
        return *text, []
    text = shakespeare() if name == "shakespeare" else chain(20_000, 12, np.random.default_rng(0))
    cut = len(text.tokens) * 9 // 10
    return *text, short(counted_loss(text.tokens[:cut], text.tokens[cut:], text.symbols))


def cost(configuration: Configuration) -> float:
    """Seconds that a run takes on one core of a laptop, about."""
    c = configuration
    of_a_window = 2e-4 * (c.width / 32) ** 2 * c.context / 32
    of_a_step = 2.3e-3 + c.batch * of_a_window
    looks = len(c.looks) * 0.7 * c.windows * of_a_window
    return 0.2 + 0.7 * c.steps * of_a_step + looks + len(c.probed) * c.probes * 16 * of_a_window
