"""Contexts have equal hashes exactly where what they look at is equal."""

import numpy as np
import pytest

from foretell.models.context_mixing import compiled, contexts, hashing, selectors
from foretell.models.context_mixing.contexts import (
    ColumnConfig,
    ContextConfig,
    FollowersConfig,
    OrderConfig,
    ShapeConfig,
    SkipConfig,
    WordAboveConfig,
    WordsConfig,
    WordSkipConfig,
)
from foretell.models.context_mixing.tables import NO_ADVICE, SLOTS, UNSEEN, Tables, empty, with_room

MIXERS = [(mixer.code, mixer.rows) for mixer in selectors.ALL]


def after(context: ContextConfig, text: bytes) -> int:
    """The hash after a text."""
    tables = with_room(empty([context.code], MIXERS, (5,), 8), len(text) + 1)
    compiled.read(tables, np.frombuffer(text, np.uint8).astype(np.uint16) + 1, np.zeros(len(text)), NO_ADVICE)
    hashes = np.zeros(1, np.uint64)
    hashing.hash_contexts(tables, hashes)
    return int(hashes[0])


@pytest.mark.parametrize(
    ("context", "one", "alike", "other"),
    [
        (OrderConfig(length=2), b"abcd", b"xxcd", b"abxd"),
        (OrderConfig(length=0), b"abcd", b"x", None),
        (WordsConfig(count=1), b"the Cat", b"a cAT", b"the bat"),
        (WordsConfig(count=2), b"the old cat", b"an OLD cat", b"the odd cat"),
        (WordSkipConfig(), b"my old cat", b"my odd cat", b"no old cat"),
        (SkipConfig(), b"abcd", b"xbce", b"abxd"),
        (ColumnConfig(), b"abcd\nxy", b"zzc\nxy", b"abcd\nzxy"),
        (WordAboveConfig(), b"abcd\n ox", b"zzzd\n ox", b"abce\n ox"),
        (ShapeConfig(), b"it, the", b"is, the", b"it. a the"),
        (FollowersConfig(), b"abxabyab", b"ababyab", b"abxabzab"),
    ],
    ids=str,
)
def test_a_context_looks_at_what_it_says(context: ContextConfig, one: bytes, alike: bytes, other: bytes | None) -> None:
    if context.kind == "followers":  # "aby" was first: only the last two followers count
        alike = b"abqabxabyab"
    assert after(context, one) == after(context, alike)
    if other is not None:
        assert after(context, one) != after(context, other)


def slots(place: int, check: int, count: int) -> Tables:
    tables = empty([contexts.OrderConfig().code], MIXERS, (5,), 8)
    tables.slots[0, place, 0], tables.slots[0, place, 1] = check, UNSEEN | (count << 8)
    return tables


def found(tables: Tables, value: int, learn: bool) -> int:
    buckets, places, checks = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.uint32)
    hashing.find_buckets(tables, np.array([value], np.uint64), 0, buckets, places, checks)
    if learn:
        hashing.make_buckets(tables, buckets, places, checks)
    return int(buckets[0])


def test_a_bucket_is_found_where_its_check_is() -> None:
    value = (77 << 40) | 6
    for near in (6, 7, 4):  # the place of the hash, and two neighbours
        assert found(slots(near, 77, 3), value, learn=False) == near
    assert found(slots(5, 77, 3), value, learn=False) == -1
    assert found(slots(6, 79, 3), value, learn=False) == -1


def test_a_new_bucket_takes_the_place_that_was_seen_least() -> None:
    tables = empty([contexts.OrderConfig().code], MIXERS, (5,), 8)
    for near, count in ((6, 9), (7, 2), (4, 5)):
        tables.slots[0, near] = UNSEEN | 1
        tables.slots[0, near, 0], tables.slots[0, near, 1] = 1001 + 2 * near, UNSEEN | (count << 8)
    assert found(tables, (77 << 40) | 6, learn=True) == 7
    assert tables.slots[0, 7].tolist() == [77, *[int(UNSEEN)] * (SLOTS - 1)]
