"""Whatever one value of a contract is replaced with, loading succeeds or refuses; it never crashes otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embodiment.contracts import changed, leaves, shipped, written
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError

scalars = st.none() | st.booleans() | st.integers(-5, 1000) | st.floats() | st.text("ab.: ", max_size=4)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=7) | st.dictionaries(scalars, inner, max_size=2)
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(leaves(shipped())), value=anything)
def test_damage_is_refused_or_harmless(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    file = written(changed(path, value), tmp_path)
    try:
        embodiment = load_embodiment(file)
    except ContractError as refusal:
        assert str(refusal).startswith("arm.yaml: ")
        assert "\n" not in str(refusal)
    else:
        assert embodiment.action.size == len(embodiment.action.low) == len(embodiment.action.scale)
        assert embodiment.control_rate_hz % embodiment.chunk_length == 0


@pytest.mark.parametrize("path", leaves(shipped()), ids=".".join)
def test_every_value_is_read(tmp_path: Path, path: tuple[str, ...]) -> None:
    """A key that nothing reads could say anything, and a reader would believe it."""
    file = written(changed(path, {"surely": "wrong"}), tmp_path)
    with pytest.raises(ContractError, match=r"^arm\.yaml: "):
        load_embodiment(file)
