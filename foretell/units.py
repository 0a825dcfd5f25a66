"""Numbers with the units people read: 12.3 M, 45 s, 3.2 min, 1.4 GB."""

from __future__ import annotations

from collections.abc import Sequence

EXACT = 10_000
"""counts below are written with all their digits"""
DURATIONS = (("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86_400.0), ("years", 31_557_600.0))
FROM = (0.0, 0.1, 100.0, 6000.0, 172_800.0, 63_115_200.0)
"""seconds from which each unit of `DURATIONS` is used"""


def count(number: float) -> str:
    """12,345,678 as 12.3 M, with three digits; 9,999 and less in full."""
    return f"{number:,.0f}" if round(number) < EXACT else scaled(number, ("", "k", "M", "G", "T", "P", "E"), 3)


def size(number: float) -> str:
    """Bytes: 1,430,000,000 as 1.4 GB; a GB has 10^9 bytes."""
    return scaled(number, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), 2)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `2,000 rows`, `3 classes`."""
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def duration(seconds: float) -> str:
    """Seconds: 0.4 s, 45 s, 3.2 min, 2.5 h, 12 days, 3 years."""
    if not seconds:
        return "0 s"
    unit, length = next(one for one, least in zip(DURATIONS[::-1], FROM[::-1], strict=True) if abs(seconds) >= least)
    return f"{digits(seconds / length, 2)} {unit}"


def label(key: str) -> str:
    """The name of a figure without the unit that its key ends in: `peak_memory_bytes` as peak memory."""
    if key.isupper():  # of an environment variable
        return key
    for unit, alone in (("bytes", "size"), ("seconds", "time")):
        if key == unit or key.endswith(f"_{unit}"):
            key = key.removesuffix(unit) + (alone if unit == "seconds" or key == unit else "")
    return key.replace("_", " ").strip()


def of_key(key: str, number: float) -> str | None:
    """A figure in the unit that its key ends in; None if it ends in none."""
    unit = {"bytes": size, "seconds": duration}.get(key.rpartition("_")[2])
    return unit(number) if unit else None


def scaled(number: float, units: Sequence[str], precision: int) -> str:
    """A number in the largest unit of which it is at least one, each a thousand times the one before."""
    power = 0
    while power < len(units) - 1 and float(digits(number / 1000**power, precision).replace(",", "")) >= 1000:
        power += 1
    return f"{digits(number / 1000**power, precision)} {units[power]}".rstrip()


def digits(number: float, precision: int) -> str:
    """`precision` significant digits or more, as all before the point stay; no zeros at the end."""
    decimals = max(0, precision - len(f"{abs(number):.0f}"))
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
