"""When a graph that carried out starts has failed, and when it was only slow to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from world2act_core.errors import RunError
from world2act_core.recipes import deployment

STAND_IN = """#!{python}
import json, sys
results = sys.argv[sys.argv.index("--results") + 1]
starts = sys.argv[sys.argv.index("--starts") + 1].split(",")
with open(results, "w") as file:
    for start in starts[:{done}]:
        file.write(json.dumps({{"start_id": start, "outcome": "success"}}) + "\\n")
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("code", "done", "slow_end", "refusal"),
    [
        (0, 2, False, ""),
        (0, 1, True, "ended with code 0 after 1 of 2 episodes"),
        (143, 2, True, ""),
        (143, 2, False, "ended with code 143 after 2 of 2 episodes"),
        (143, 1, True, "ended with code 143 after 1 of 2 episodes"),
        (139, 2, True, "ended with code 139 after 2 of 2 episodes"),
    ],
)
def test_what_counts_is_that_every_start_came_to_its_end(
    tmp_path: Path, monkeypatch: Any, code: int, done: int, slow_end: bool, refusal: str
) -> None:
    """A process of its own stands in for ``world2act up``, which needs ROS 2 and minutes."""
    stand_in = tmp_path / "stand_in"
    stand_in.write_text(STAND_IN.format(python=sys.executable, done=done, code=code))
    stand_in.chmod(0o755)
    monkeypatch.setattr(deployment.sys, "executable", str(stand_in))

    def drive() -> list[dict[str, object]]:
        starts = ["libero_goal/8/i0", "libero_goal/8/i1"]
        return deployment.drive_sim_arm({"policy": "x"}, starts, tmp_path, tmp_path / "log", 60, slow_end=slow_end)

    if refusal:
        with pytest.raises(RunError, match=refusal):
            drive()
    else:
        assert [entry["start_id"] for entry in drive()] == ["libero_goal/8/i0", "libero_goal/8/i1"]
