"""The experiments' designs are those that were measured."""

from pathlib import Path

import pytest

from flatter_lib.results import load
from flatter_lib.sweep.experiment import find

PUBLISHED = sorted(Path(__file__).parents[2].glob("book/results/*.jsonl"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_laptop_profile_is_what_the_published_records_hold(path: Path) -> None:
    experiment, recorded = find(path.stem), {record.key for record in load(path)}
    published, small = (set(experiment.configurations(profile)) for profile in ("laptop", "smoke"))
    assert published <= recorded <= published | small
