"""A run from scratch on photographs in folders: torchvision's ResNet, minibatches decoded on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flatter_lib.experiments.design import rounded

if TYPE_CHECKING:
    import torch
    from torch import nn

    from flatter_lib.vision.data.photographs import Photographs


def trained(configuration: Any) -> Mapping[str, Any]:
    """Make the run, as `flatter_lib.experiments.in_practice` makes its others.

    Args:
        configuration: of `flatter_lib.experiments.in_practice`; ``dataset`` names the folder in the data root, and
            ``depth`` is that of one of torchvision's ResNets.

    Returns:
        As `flatter_lib.experiments.in_practice.run`; the training loss is that of as many images as are tested.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.optim.lr_scheduler import MultiStepLR

    from flatter_lib.files import data_root
    from flatter_lib.vision.data.photographs import Photographs

    c = configuration
    home, side = data_root() / c.dataset, 224 // c.pool
    train, test = (Photographs(home / part, side) for part in ("train", "val"))
    generator = torch.Generator().manual_seed(c.seed)
    network = fresh(c.depth, train.classes, generator).to(c.device, getattr(torch, c.dtype))
    lr = c.effective * (1 - c.momentum)
    optimizer = torch.optim.SGD(network.parameters(), lr, c.momentum, weight_decay=c.decay)
    schedule = MultiStepLR(optimizer, [c.steps // 2, 3 * c.steps // 4])
    chosen = np.random.default_rng(0).permutation(len(train))[: c.images]
    draws = torch.Generator().manual_seed(1000 + c.seed)
    for x, labels in _loaded(c, train, _minibatches(c, chosen, draws)):
        optimizer.zero_grad()
        cross_entropy(network(x), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    of_test = np.random.default_rng(0).permutation(len(test))[: c.test_images]
    loss, _ = _judged(c, network, train, chosen[: len(of_test)])
    _, accuracy = _judged(c, network, test, of_test)
    data = {"name": c.dataset, "source": "photographs in folders", "digest": train.digest}
    return {"data": data, "accuracy": rounded(accuracy, 5), "loss": rounded(loss, 5)}


def fresh(depth: int, outputs: int, generator: torch.Generator) -> nn.Module:
    """A ResNet of torchvision's with weights from a generator.

    Convolutions are as torchvision draws them, the head as in `flatter_lib.vision.thin_residual.CifarResNet`.

    Raises:
        ValueError: if torchvision has no ResNet of this depth.
    """
    import torch
    from torch import nn
    from torchvision import models

    from flatter_lib import checks
    from flatter_lib.vision.networks import drawn

    checks.one_of("depth", depth, (18, 34, 50, 101, 152))
    with torch.device("meta"):  # nothing is drawn from torch's global generator
        network: nn.Module = getattr(models, f"resnet{depth}")(num_classes=outputs)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            drawn(
                layer,
                (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5,
                generator,
                "cpu",
            )
        elif isinstance(layer, nn.Linear):
            drawn(layer, layer.in_features**-0.5, generator, "cpu")
        elif isinstance(layer, nn.BatchNorm2d):
            layer.to_empty(device="cpu").reset_parameters()
    return network


Asked = list[tuple[int, tuple[int, int, int] | None]]


def _minibatches(c: Any, chosen: Any, generator: torch.Generator) -> Iterator[Asked]:
    """Of each step: the images, drawn with replacement, and the seeds of their crops."""
    import torch

    for step in range(c.steps):
        rows = torch.randint(len(chosen), (c.batch,), generator=generator).tolist()
        yield [(int(chosen[row]), (c.seed, step, i)) for i, row in enumerate(rows)]


def _loaded(c: Any, photographs: Photographs, batches: Any) -> Iterator[tuple[Any, Any]]:
    """The minibatches on the device. Each image has a seed of its own, so that who decodes it does not matter."""
    import torch

    workers = 0 if c.device == "cpu" else min(16, os.cpu_count() or 1)
    loader = torch.utils.data.DataLoader(
        photographs,
        batch_sampler=batches,
        num_workers=workers,
        generator=torch.Generator().manual_seed(c.seed),
    )
    for x, labels in loader:
        yield x.to(c.device, getattr(torch, c.dtype)), labels.to(c.device)


def _judged(c: Any, network: nn.Module, photographs: Photographs, rows: Any) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on some photographs, without crops."""
    import torch
    from torch.nn.functional import cross_entropy

    batches: list[Asked] = [
        [(int(i), None) for i in some] for some in np.split(rows, range(256, len(rows), 256))
    ]
    loss, right = 0.0, 0
    network.eval()
    with torch.no_grad():
        for x, labels in _loaded(c, photographs, batches):
            outputs = network(x)
            loss += float(cross_entropy(outputs, labels, reduction="sum"))
            right += int((outputs.argmax(-1) == labels).sum())
    return loss / len(rows), right / len(rows)
