"""How often a gate passes, and after how many starts: exact probabilities, for policies that gain and lose as given.

Run: ``python -m benchmarks.gate [--starts 60] [--alpha 0.05]``. Nothing is drawn at random: the program walks through
all counts of gained, alike and lost starts that a gate can reach, with the probability of each. Beside the gate stands
McNemar's exact test at the same one-sided level, once after all starts, and looked at after every start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache

from benchmarks._machine import machine
from world2act_core.evaluation.sequential import decide
from world2act_core.evaluation.statistics import exact_paired_p

Counts = tuple[int, int, int]  # gained, alike, lost
SCENES = (
    # gained, lost: shares of the starts
    (0.05, 0.05), (0.20, 0.20), (0.40, 0.40), (0.10, 0.00), (0.15, 0.05), (0.25, 0.00), (0.30, 0.05), (0.35, 0.10),
    (0.45, 0.05), (0.65, 0.00), (0.05, 0.30),
)  # fmt: skip
HARMLESS = ((0.0, 0.0), (0.02, 0.02), (0.05, 0.05), (0.10, 0.10), (0.10, 0.05), (0.05, 0.10), (0.05, 0.15))
NEGLIGIBLE = 1e-12


def walk(gained: float, lost: float, starts: int, verdict: Callable[[Counts], str]) -> tuple[dict[str, float], float]:
    """Probability of each verdict, and the mean number of starts until there is one."""
    reached: dict[Counts, float] = {(0, 0, 0): 1.0}
    ends: dict[str, float] = {}
    mean = 0.0
    steps = ((1, 0, 0, gained), (0, 1, 0, 1 - gained - lost), (0, 0, 1, lost))
    for number in range(1, starts + 1):
        following: dict[Counts, float] = {}
        for (a, z, b), chance in reached.items():
            for da, dz, db, share in steps:
                if chance * share < NEGLIGIBLE:
                    continue
                after = (a + da, z + dz, b + db)
                if found := verdict(after) or ("end" if number == starts else ""):
                    ends[found] = ends.get(found, 0.0) + chance * share
                    mean += number * chance * share
                else:
                    following[after] = following.get(after, 0.0) + chance * share
        reached = following
    return ends, mean


def mcnemar(alpha: float, at: Callable[[int], bool]) -> Callable[[Counts], str]:
    """Passes when the one-sided exact p-value is at most alpha, looked at after the starts that ``at`` names."""
    return lambda c: "shown" if at(sum(c)) and c[0] > c[2] and exact_paired_p(c[2], c[0]) <= 2 * alpha else ""


def table(scenes: tuple[tuple[float, float], ...], starts: int, margin: float, alpha: float) -> None:
    @lru_cache(None)
    def verdict(counts: Counts) -> str:
        gained, alike, lost = counts
        return decide(gained, alike, lost, starts, margin, alpha) or ""

    print(f"{'gained':>7} {'lost':>6} {'passes':>8} {'worse':>7} {'starts':>7}", end="")
    print("" if margin else f" {'McNemar once':>14} {'after every start':>19}")
    for gained, lost in scenes:
        ends, mean = walk(gained, lost, starts, verdict)
        passes, worse = ends.get("shown", 0.0), ends.get("worse", 0.0)
        row = f"{100 * gained:6.0f}% {100 * lost:5.0f}% {passes:8.3f} {worse:7.3f} {mean:7.1f}"
        if not margin:
            once, often = (
                walk(gained, lost, starts, mcnemar(alpha, at))[0].get("shown", 0.0)
                for at in (lambda n: n == starts, lambda n: True)
            )
            row += f" {once:14.3f} {often:19.3f}"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--alpha", type=float, default=0.05)
    args = parser.parse_args()
    print(machine())
    print(f"\nbetter, at most {args.starts} starts, alpha {args.alpha:g}")
    table(SCENES, args.starts, 0.0, args.alpha)
    for margin, starts in ((0.05, 300), (0.10, 300)):
        print(f"\nnot worse by {100 * margin:g} points or more, at most {starts} starts, alpha {args.alpha:g}")
        table(HARMLESS, starts, margin, args.alpha)


if __name__ == "__main__":
    main()
