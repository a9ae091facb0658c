"""What a record says of its masks, against the same by hand, on digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flatter_lib.experiments import saliency
from flatter_lib.vision.networks import unflatten
from flatter_lib.vision.saliency import fit_masks, upsampled

SMALL = replace(saliency.PROFILES["smoke"][4], seed=1)


def test_measures_and_reach_by_hand() -> None:
    found = saliency.run(SMALL)
    bare = replace(SMALL, coarse=1, smoothness=0.0, steps=1, masked=1, shown=0)
    starts, trained = saliency._networks(bare)
    data = starts.inputs
    layers = unflatten(starts.network, trained[0])
    temperature, answer = saliency._calibrated(starts, trained[0], SMALL.test_images // 2)
    assert found["network"]["temperature"] == [pytest.approx(temperature, rel=1e-3)]

    def outputs(x: torch.Tensor) -> torch.Tensor:
        weights = [p for name, p in layers.items() if name.endswith("weight")]
        biases = [p for name, p in layers.items() if name.endswith("bias")]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.tanh(x @ w.T + b)
        return x @ weights[-1].T + biases[-1]

    held = SMALL.test_images // 2
    likelihood = [
        torch.nn.functional.cross_entropy(outputs(data.x_test[:held]) / t, data.labels_test[:held])
        for t in (0.98 * temperature, temperature, 1.02 * temperature)
    ]
    assert likelihood[1] < min(likelihood[0], likelihood[2])

    images = data.x_test[held : held + SMALL.masked]
    generator = torch.Generator().manual_seed(10_001)
    rows = torch.randint(len(data.x), (20, 64), generator=generator)
    fills = torch.stack([torch.stack([data.x[r, i] for i, r in enumerate(row)]) for row in rows])
    p = torch.softmax(outputs(images) / temperature, -1)
    fitted = fit_masks(
        answer, images, fills[:10], coarse=2, smoothness=10.0, area=0.3, steps=SMALL.steps
    )
    side = upsampled(fitted, 8)
    i, label = 1, int(p[1].argmax())
    under = [
        float(
            torch.stack(
                [
                    torch.softmax(outputs(m * images[i] + (1 - m) * n) / temperature, -1)[a]
                    for n in fills[10:]
                ]
            ).mean()
        )
        for a, m in enumerate(side[i])
    ]
    wrong = [a for a in range(10) if a != label]
    masks = found["masks"]["fitted"]
    assert masks["label"][0][i] == pytest.approx(under[label], rel=1e-3)
    assert masks["worst"][0][i] == pytest.approx(max(under[a] for a in wrong), rel=1e-3)
    raised = np.mean([under[a] - float(p[i, a]) for a in wrong])
    assert masks["raised"][0][i] == pytest.approx(raised, rel=1e-3, abs=1e-4)

    pull = torch.zeros(64, dtype=torch.float64)
    for n in fills[10:]:
        x = ((images[i] + n) / 2).requires_grad_()
        (g,) = torch.autograd.grad(torch.log_softmax(outputs(x) / temperature, -1)[label], x)
        pull += g * (images[i] - n) / 10
    square = pull.view(8, 8)
    blocks = [square[r : r + 4, c : c + 4].sum().abs() for r in (0, 4) for c in (0, 4)]
    assert found["reach"]["label"][0][i][2] == pytest.approx(float(sum(blocks)) / 2, rel=1e-3)


def test_label_noise_and_nothing_else_tells_the_networks_apart() -> None:
    at = [saliency._networks(replace(SMALL, noise=noise))[1] for noise in (0.0, 0.2)]
    again = saliency._networks(replace(SMALL, noise=0.0, coarse=8))[1]
    assert torch.equal(at[0], again)
    assert not torch.equal(at[0], at[1])


def test_other_methods_keep_as_many_pixels() -> None:
    masks = saliency.run(SMALL)["masks"]
    for name in ("gradient", "integrated", "random"):
        assert np.abs(np.subtract(masks[name]["area"], masks["fitted"]["area"])).max() <= 0.51 / 64
