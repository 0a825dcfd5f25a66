"""Numbers as people read them."""

import pytest

from foretell import units


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (9999.4, "9,999"), (10_000, "10 k"), (12_345, "12.3 k"), (999_499, "999 k"), (999_600, "1 M"),
        (12_345_678, "12.3 M"), (1.25e12, "1.25 T"),
    ],
)  # fmt: skip
def test_counts(number: float, text: str) -> None:
    assert units.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_999, "1 MB"), (1.43e9, "1.4 GB"), (123.4e9, "123 GB")],
)
def test_sizes(number: float, text: str) -> None:
    assert units.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0123, "12 ms"), (0.4, "0.4 s"), (4.25, "4.2 s"), (45.3, "45 s"), (192, "3.2 min"),
        (5000, "83 min"), (9000, "2.5 h"), (1e6, "12 days"), (2e8, "6.3 years"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "row", "0 rows"), (1, "row", "1 row"), (2_000, "row", "2,000 rows"), (1, "class", "1 class"),
        (3, "class", "3 classes"), (2, "CRLF line ending", "2 CRLF line endings"),
    ],
)  # fmt: skip
def test_plurals(number: int, noun: str, text: str) -> None:
    assert units.counted(number, noun) == text


def test_what_a_key_says_about_its_figure() -> None:
    names = {
        "peak_memory_bytes": "peak memory", "bytes": "size", "seconds": "time", "demo_seconds": "demo time",
        "tokens_per_second": "tokens per second", "bits_per_byte": "bits per byte",
        "OMP_NUM_THREADS": "OMP_NUM_THREADS",
    }  # fmt: skip
    assert {key: units.label(key) for key in names} == names
    assert units.of_key("peak_memory_bytes", 1.43e9) == "1.4 GB" and units.of_key("seconds", 45) == "45 s"
    assert units.of_key("steps", 45) is None
