"""The training loop against a loop written by hand, and stopped and gone on with, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from flatter_lib.heavy_ball import ScaledMomentum
from flatter_lib.vision.augment import crop_and_flip
from flatter_lib.vision.checkpoint import CheckpointError, load_network
from flatter_lib.vision.label_noise import LabelNoise
from flatter_lib.vision.networks import MLP
from flatter_lib.vision.objective import half_squared_error
from flatter_lib.vision.residual import Pointwise, ResNet18
from flatter_lib.vision.train import Training

from ..refusals import refuses
from ..seeding import seeded

IMAGES, CLASSES = 12, 4


def images(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = seeded(11)
    x = torch.randn(IMAGES, *shape, generator=generator, dtype=dtype)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    return x, torch.eye(CLASSES, dtype=dtype)[labels]


def mlp() -> MLP:
    return MLP(6, 5, CLASSES, 3, generator=seeded(1))


def training(network: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Training:
    """With all that a training can have."""
    optimizer = options.pop(
        "optimizer", torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    )
    schedulers = [CosineAnnealingLR(optimizer, T_max=30), ScaledMomentum(optimizer, 0.8, 2 / 3)]
    return Training(
        network, x, y, optimizer, batch=5, generator=seeded(3), schedulers=schedulers,
        noise=LabelNoise("additive", 0.3), **options,
    )  # fmt: skip


def residual(normalization: Any) -> tuple[ResNet18, Tensor, Tensor]:
    x, y = images(3, 8, 8)
    network = ResNet18(
        1 / 32, CLASSES, normalization=normalization, ghost_batch=3, groups=2, generator=seeded(1)
    )
    return network, x, y


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().double().flatten() for p in network.state_dict().values()])


def test_a_step_is_what_a_loop_by_hand_makes() -> None:
    x, y = images(6, dtype=torch.float64)
    ours = training(mlp(), x, y)
    ours.run(7)

    network, generator, noise = mlp(), seeded(3), LabelNoise("additive", 0.3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    cosine = CosineAnnealingLR(optimizer, T_max=30)
    momentum = ScaledMomentum(optimizer, 0.8, 2 / 3)
    visited = []
    for _ in range(7):
        rows = torch.randint(IMAGES, (5,), generator=generator)
        targets = noise(y[rows], generator)
        optimizer.zero_grad()
        (0.5 * ((network(x[rows]) - targets) ** 2).sum(1).mean()).backward()
        optimizer.step()
        cosine.step()
        momentum.step()
        visited.append(weights(network))
    torch.testing.assert_close(weights(ours.network), visited[-1], rtol=1e-13, atol=1e-15)
    mean = torch.cat([m.flatten() for m in ours.mean_weights()])
    torch.testing.assert_close(mean, torch.stack(visited).mean(0), rtol=1e-12, atol=1e-14)
    assert (ours.step, ours.diverged) == (7, None)
    ours.run(1)  # the mean begins anew when it was taken
    now = [p.detach() for p in ours.network.parameters()]
    torch.testing.assert_close(ours.mean_weights(), now, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["mlp", "none", "batch", "ghost", "group"])
@pytest.mark.parametrize("optimizing", ["sgd", "adamw"])
def test_a_stopped_training_goes_on_bit_for_bit(kind: str, optimizing: str, tmp_path: Path) -> None:
    def begin() -> Training:
        network, x, y = (
            (mlp(), *images(6, dtype=torch.float64)) if kind == "mlp" else residual(kind)
        )
        if optimizing == "sgd":
            return training(network, x, y, augment=None if kind == "mlp" else crop_and_flip)
        adamw = torch.optim.AdamW(network.parameters(), lr=0.01)
        return training(network, x, y, optimizer=adamw)

    whole = begin()
    whole.run(9)
    first = begin()
    first.run(4)
    first.save(tmp_path / "a.pt")
    second = begin()
    second.run(1)  # whatever it did before is forgotten
    second.resume(tmp_path / "a.pt")
    assert second.step == 4
    second.run(5)
    assert torch.equal(weights(whole.network), weights(second.network))
    assert all(map(torch.equal, whole.mean_weights(), second.mean_weights()))
    assert [s.get_last_lr() for s in whole.schedulers] == [
        s.get_last_lr() for s in second.schedulers
    ]


def test_phase_2_begins_where_phase_1_ended(tmp_path: Path) -> None:
    network, x, y = residual("batch")
    phase_1 = training(network, x, y)
    phase_1.run(3)
    phase_1.save(tmp_path / "a.pt")
    other = residual("batch")[0]
    load_network(tmp_path / "a.pt", other)
    assert torch.equal(weights(other), weights(network))
    with pytest.raises(CheckpointError, match=r"is of another network .*: choose the one"):
        load_network(tmp_path / "a.pt", mlp())


def test_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    x, y = images(6, dtype=torch.float64)
    training(mlp(), x, y).save(tmp_path / "a.pt")
    network = mlp()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    plain = Training(network, x, y, optimizer, batch=5, generator=seeded(0))
    with pytest.raises(
        CheckpointError, match=r"another training .it has 2 schedulers, and there are 0"
    ):
        plain.resume(tmp_path / "a.pt")
    wide = MLP(6, 7, CLASSES, 3, generator=seeded(1))
    with pytest.raises(CheckpointError, match=r"another training .*: go on with the settings"):
        training(wide, x, y).resume(tmp_path / "a.pt")


@pytest.mark.parametrize(("lr", "limit"), [(50.0, 1e4), (0.1, torch.inf)])
def test_divergence_is_dated(lr: float, limit: float) -> None:
    """Also where the limit is infinite and the loss becomes so."""
    (x, y), network = images(6), nn.Linear(6, CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    run = Training(network, x, y, optimizer, batch=12, generator=seeded(0), limit=limit)
    seen = []
    for step in range(6):
        if limit == torch.inf and step == 2:
            network.bias.data.fill_(torch.inf)
        run.run(1)
        seen.append(run.diverged)
    first = next(step for step in seen if step is not None)
    assert 0 < first < 6
    assert seen == [None] * first + [first] * (6 - first)


@pytest.mark.parametrize(
    ("last", "precision", "low", "high"),
    [(True, None, 0.0, 1e-4), (False, torch.bfloat16, 1e-3, 0.2)],
)
def test_memory_formats_and_mixed_precision_change_only_rounding(
    last: bool, precision: torch.dtype | None, low: float, high: float
) -> None:
    moved = []
    for other in (False, True):
        network, x, y = residual("group")
        if other and last:
            network = network.to(memory_format=torch.channels_last)
        before = weights(network)
        training(network, x, y, precision=precision if other else None).run(1)
        moved.append(weights(network) - before)
        assert all(p.dtype == torch.float32 for p in network.parameters())
    apart = float((moved[1] - moved[0]).norm() / moved[0].norm())
    assert low <= apart < high


@pytest.mark.parametrize("wrong", [torch.nan, -torch.inf])
def test_weights_to_start_from_that_are_no_numbers_are_refused(wrong: float) -> None:
    network = mlp()
    with torch.no_grad():
        network[2].bias[1] = wrong  # type: ignore[operator]
    with pytest.raises(
        ValueError, match=r"^network: 2.bias must be finite at the start, and is not$"
    ):
        training(network, *images(6, dtype=torch.float64))


@pytest.mark.parametrize("loss", [half_squared_error, nn.functional.mse_loss])
def test_targets_are_not_broadcast_against_outputs(loss: Any) -> None:
    """The residual of (B,) and (B, 1) would be (B, B)."""
    x = torch.randn(40, 2, generator=seeded(0))
    network = nn.Linear(2, 1)
    before = weights(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    some: dict[str, Any] = {"batch": 5, "generator": seeded(0), "loss": loss}
    with pytest.raises(ValueError, match=r"targets: must have shape \(n, K\) .* got \(40,\); make"):
        Training(network, x, x.sum(1), optimizer, **some)
    two = Training(network, x, x, optimizer, **some)
    with pytest.raises(ValueError, match=r"targets: must have the shape of the outputs, \(5, 1\)"):
        two.run(1)
    assert torch.equal(weights(network), before)


def test_narrow_strides_are_not_trained_channels_last() -> None:
    x, y = images(3, 8, 8)
    for kind in (Pointwise, nn.Conv2d):
        parts = nn.Conv2d(3, 4, 3, padding=1), kind(4, 4, 1, stride=2)
        network = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, CLASSES))
        training(network, x, y).run(1)
        network = network.to(memory_format=torch.channels_last)
        if kind is Pointwise:
            training(network, x, y).run(1)
    with pytest.raises(ValueError, match="network: 1 strides with 1x1 filters over fewer than 8"):
        training(network, x, y)


def test_bad_arguments() -> None:
    network, (x, y) = nn.Linear(6, CLASSES), images(6)
    good: dict[str, Any] = {
        "network": network, "inputs": x, "targets": y, "batch": 1, "generator": seeded(0),
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1),
    }  # fmt: skip
    other = torch.optim.SGD(nn.Linear(6, CLASSES).parameters(), lr=0.1)
    refuses(Training, good, inputs=torch.inf * x, targets=y[1:], batch=1.5, generator=None)
    refuses(Training, good, limit=torch.nan, precision=torch.float64, noise="flips", loss="mse")
    refuses(Training, good, augment=3, optimizer=other, inputs=x[:0], targets=y.log())
    refuses(Training, good | {"noise": LabelNoise("flip", 0.2)}, targets=0.5 * y)
    refuses(Training(**good).run, {}, steps=-1)
