"""Whether a stream is fresh, judged twice, because either clock can lie alone.

By the stamp in the header (the robot's clock) and by the time since reception (this machine's monotonic clock).
"""

from __future__ import annotations

FUTURE_S = 0.02  # clocks of two machines disagree a little; further ahead than this is a fault


def why_stale(stamp: float, received: float, now: float | None, monotonic: float, max_age_s: float) -> str:
    """Why a stream's newest sample cannot be trusted, or "".

    Args:
        stamp: the sample's, seconds on the robot's clock.
        received: when it arrived, monotonic seconds.
        now: the robot's clock, or None where it only advances with the arm (lockstep).
        monotonic: this machine's monotonic clock, seconds.
        max_age_s: oldest age on either clock.
    """
    age = monotonic - received
    if age > max_age_s:
        return f"nothing received for {age:.1f} s"
    if now is None:
        return ""
    age = now - stamp
    if age < -FUTURE_S:
        return f"stamped {-age:.2f} s in the future: are the machines' clocks synchronised?"
    return f"newest stamp is {age:.1f} s old" if age > max_age_s else ""
