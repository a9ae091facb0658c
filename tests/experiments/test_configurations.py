"""A configuration that means nothing is refused when it is made, by the name of the field."""

import importlib
from dataclasses import replace
from math import nan
from typing import Any

import pytest

BAD: list[tuple[str, dict[str, Any]]] = [
    ("stationary_law", {"seed": None}),
    ("stationary_law", {"chains": 0}),
    ("stationary_law", {"curvature": 1e6}),
    ("scalar_phase", {"memory": 0.0}),
    ("scalar_phase", {"strength": 0.0}),
    ("matrix_sensing", {"runs": 1.5}),
    ("matrix_sensing", {"memory": 1.5}),
    ("teacher_student", {"seed": None}),
    ("teacher_student", {"memory": 1.5}),
    ("sparse_recovery", {"noise": "all"}),
    ("sparse_recovery", {"lr": nan}),
    ("fine_tuning", {"optimizer": "adam"}),
    ("fine_tuning", {"momentum": 1.0}),
    ("fine_tuning", {"model": "bert"}),
    ("mlp_fashion_mnist", {"optimizer": "adam"}),
    ("mlp_fashion_mnist", {"kind": "flips"}),
    ("mlp_fashion_mnist", {"phase": "floor"}),
    ("mlp_fashion_mnist", {"loss": "cubed"}),
    ("mlp_fashion_mnist", {"kind": "additive", "loss": "cross entropy"}),
    ("mlp_fashion_mnist", {"memory": 1.5}),
    ("mlp_fashion_mnist", {"first": -1}),
    ("batch_sharpness", {"momentum": 1.0}),
    ("batch_sharpness", {"batch": 0}),
    ("batch_sharpness", {"steps": 1}),
    ("local_sgd", {"period": 0}),
    ("local_sgd", {"steps": 55}),
    ("local_sgd", {"noise": -1.0}),
    ("resnet_cifar10", {"optimizer": "adam"}),
    ("resnet_cifar10", {"probes": 1}),
    ("resnet_cifar10", {"seed": None}),
    ("saliency", {"noise": -1.0}),
    ("saliency", {"starts": 0}),
]


@pytest.mark.parametrize(("experiment", "changed"), BAD)
def test_what_means_nothing_is_refused_by_name(experiment: str, changed: dict[str, Any]) -> None:
    module = importlib.import_module(f"flatter_lib.experiments.{experiment}")
    name = "lr" if "curvature" in changed else next(iter(changed))
    with pytest.raises(ValueError, match=f"^{name}: must be "):
        replace(module.PROFILES["smoke"][0], **changed)
