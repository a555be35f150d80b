"""Asking every check and showing the answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from world2act_core.doctor.types import Check, Finding

Answers = Sequence[tuple[Check, Finding]]


def examine(checks: Iterable[Check], workers: int = 2) -> Answers:
    """Every check with its finding, in the order given; ``workers`` at a time, as most of them wait for a process."""
    listed = list(checks)
    with ThreadPoolExecutor(workers) as pool:
        return list(zip(listed, pool.map(lambda check: check.examine(), listed), strict=True))


def demo_ready(answers: Answers) -> bool:
    """Whether everything that the demo needs is there."""
    return all(finding.status == "ok" for check, finding in answers if check.needed)


def as_table(answers: Answers) -> str:
    """One line a check, the command that mends it below, and a closing sentence."""
    width = max(len(check.name) for check, _ in answers)
    lines = []
    for check, finding in answers:
        word = finding.status if finding.status == "ok" or check.needed else f"{finding.status}, optional"
        lines.append(f"{check.name:{width}}  {word:17}  {finding.detail}")
        if finding.mend:
            lines.append(f"{'':{width}}  {'':17}  → {finding.mend}")
    wanting = [check.name for check, finding in answers if check.needed and finding.status != "ok"]
    verdict = f"The demo still needs: {', '.join(wanting)}." if wanting else "Everything that the demo needs is there."
    return "\n".join([*lines, "", verdict])


def as_json(answers: Answers) -> str:
    """The same for programs."""
    checks = [
        {"name": check.name, "needed": check.needed, "status": found.status, "detail": found.detail, "mend": found.mend}
        for check, found in answers
    ]
    return json.dumps({"demo_ready": demo_ready(answers), "checks": checks}, indent=2)
