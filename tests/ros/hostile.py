"""Messages of the right types that mean harm, by the fields that a type has; and bytes that are no message at all."""

from __future__ import annotations

import array
import random
import re
from typing import Any

from world2act.node import message_class

FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-30, 3e38, -3e38, 2.5)
TEXTS = ("", "NaN", "world", "panda_joint1", "fr3_joint1", "rgb8", "bgra8", "yuv422", "32FC1", "../../etc/passwd", "🦾",
         "a\nb\tc", "{", "[[1]]", "%s%n", "e\u0301" * 50, "x" * 200_000)  # fmt: skip
LENGTHS = (0, 1, 2, 6, 7, 8, 28, 1000)
INTEGERS = {f"{sign}int{bits}": (bits, sign == "u") for sign in ("", "u") for bits in (8, 16, 32, 64)}
SECONDS = (0, -1, -(2**31), 2**31 - 1, 1, 1_000_000_000)


class Hostile:
    """Spoils messages, by one source of chance."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def spoil(self, message: Any) -> Any:
        """One to three fields of the message become what a field of that type can be at worst."""
        for _ in range(self.rng.randint(1, 3)):
            self._spoil_one(message)
        return message

    def _spoil_one(self, message: Any) -> None:
        kinds = message.get_fields_and_field_types()
        if not kinds:
            return
        name = self.rng.choice(list(kinds))
        kind, value = kinds[name], getattr(message, name)
        if kind == "builtin_interfaces/Time":
            self._spoil_time(value)
        elif hasattr(value, "get_fields_and_field_types"):
            self._spoil_one(value)
        else:
            setattr(message, name, self._value(kind, value))

    def _spoil_time(self, time: Any) -> None:
        choose = self.rng.choice
        time.sec = choose((*SECONDS, time.sec + choose((-3600, -2, -1, 1, 5, 86400)) if abs(time.sec) < 2e9 else 0))
        time.nanosec = choose((time.nanosec, 0, 999_999_999, 2**32 - 1))

    def _value(self, kind: str, now: Any) -> Any:
        fixed = re.fullmatch(r"(.*)\[(\d+)\]", kind)
        sequence = re.fullmatch(r"sequence<(.*?)(?:, \d+)?>", kind)
        if fixed:
            return [self._value(fixed[1], None) for _ in range(int(fixed[2]))]
        if sequence:
            return self._sequence(sequence[1], now)
        return self._leaf(kind)

    def _sequence(self, kind: str, now: Any) -> Any:
        length, way = self.rng.choice(LENGTHS), self.rng.randrange(3)
        if now is not None and len(now) and way == 0:
            return now[: self.rng.randrange(len(now))]
        if now is not None and 0 < len(now) < 100 and way == 1:  # in place: one entry
            values = list(now)
            values[self.rng.randrange(len(values))] = self._leaf(kind)
            return values
        if kind == "uint8":
            return array.array("B", self.rng.randbytes(length * self.rng.randint(1, 100)))
        return [self._leaf(kind) for _ in range(min(length, 50) if "/" in kind or kind == "string" else length)]

    def _leaf(self, kind: str) -> Any:
        rng = self.rng
        if kind in ("double", "float"):
            return rng.choice((*FLOATS, 1e308 if kind == "double" else 1.0, rng.gauss(0, 2)))
        if kind in INTEGERS:
            bits, unsigned = INTEGERS[kind]
            low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            return rng.choice((0, 1, low, high, rng.randint(low, high)))
        if kind == "boolean":
            return rng.random() < 0.5
        if kind in ("octet", "byte"):
            return bytes([rng.randrange(256)])
        if kind.startswith(("string", "wstring")):
            # The longest text is rare: it is slow to send and not more hostile for coming often.
            return rng.choice(TEXTS if rng.random() < 0.05 else TEXTS[:-1])
        package, name = kind.split("/")
        made = message_class(f"{package}/msg/{name}")()
        return self.spoil(made)

    def garbage(self, serialised: bytes) -> bytes:
        """What is left of a serialised message that was cut, had bits flipped, or never was one."""
        rng, way = self.rng, self.rng.randrange(4)
        if way == 0:
            return rng.randbytes(rng.randrange(300))
        if way == 1:
            return serialised[: rng.randrange(len(serialised))]
        if way == 2:
            return serialised[:4] + rng.randbytes(rng.randrange(200))
        spoilt = bytearray(serialised)
        for _ in range(rng.randint(1, 8)):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        return bytes(spoilt)
