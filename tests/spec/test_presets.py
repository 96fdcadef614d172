from __future__ import annotations

import pytest

from aecompress.spec.fields import FIELDS
from aecompress.spec.presets import PRESETS
from aecompress.spec.resolve import resolve
from aecompress.spec.toml import flatten


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_valid_spec_of_known_fields(name: str) -> None:
    resolved = resolve(preset=name)
    values = flatten(PRESETS[name])
    assert set(values) <= set(FIELDS)
    assert {path for path, source in resolved.sources.items() if source == f"preset {name}"} == set(values)


def test_the_presets_of_the_paper_differ_in_the_ring_alone() -> None:
    canonical, ring, synchronous = (
        resolve(preset=f"paper-{name}").spec for name in ("canonical", "coevo", "coevo-sync")
    )
    assert canonical.prune == ring.prune == synchronous.prune
    assert canonical.model == ring.model == synchronous.model
    assert (ring.evolve.order, synchronous.evolve.order) == ("asynchronous", "synchronous")
    assert (canonical.mode, ring.mode, synchronous.mode) == ("canonical", "coevo", "coevo")
