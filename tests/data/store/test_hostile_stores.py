"""A store that was damaged, or that somebody sent with checksums that fit, is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foretell
from foretell.checksums import sealed
from foretell.data.opening import open_corpus
from foretell.data.preparing import prepared
from foretell.data.store import store_builder
from foretell.data.store.store import ARRAYS, Store, prepare, sum_of
from foretell.data.tokenizers.kinds import WordConfig
from foretell.errors import ConfigError

TEXT = "the cat sat on the mat\nthe dog ran\n<|endofdoc|>\nthen a tree\n"
Meta = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of all splits; copies of it are another's."""
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(TEXT * 3)
    corpus = open_corpus({name: str(tmp_path / f"{name}.txt") for name in ("train", "valid", "test")})
    return prepare(corpus, WordConfig().train([TEXT]), tmp_path / "store").path


def use(store: Path) -> None:
    """Read all of a store."""
    opened = prepared(str(store), WordConfig())
    for name in opened.splits:
        split = opened.split(name)
        for array in ARRAYS:
            getattr(split, array)
        split.token_counts(opened.tokenizer.size)


def rewrite(store: Path, change: Callable[[Meta], Any]) -> None:
    """Change the `meta.json` of a store and make its checksum right, as whoever sends one can."""
    meta = json.loads((store / "meta.json").read_text())
    change(meta)
    (store / "meta.json").write_text(json.dumps(sealed({k: v for k, v in meta.items() if k != "checksum"})))


def write_array(store: Path, name: str, values: Any) -> None:
    """Another array, with its checksum."""
    file = store / f"{name}.bin"
    file.write_bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
    rewrite(store, lambda meta: meta["sums"].update({name: sum_of(file)}))


def test_what_was_not_changed_is_used(store: Path) -> None:
    rewrite(store, lambda meta: meta.update(corpus="another name"))
    use(store)


@pytest.mark.parametrize("key", ["corpus", "fingerprint", "texts", "exact", "dtype", "sums", "splits"])
@pytest.mark.parametrize("value", [..., None, 3, -1.5, "x", [], [["x"]], {}, {"train": 3}, {"../../x": {}}, True])
def test_a_key_of_another_type(store: Path, key: str, value: Any) -> None:
    rewrite(store, lambda meta: meta.pop(key) if value is ... else meta.update({key: value}))
    fits = {("corpus", "x"), ("exact", True), ("splits", "{}")}
    if (key, value if isinstance(value, str | bool) else str(value)) in fits:
        use(store)
        return
    with pytest.raises(ConfigError, match=r"meta\.json|store: is damaged") as refused:
        use(store)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["tokens", "documents", "lines", "bytes", "characters", "words", "unknown", "replaced"])
@pytest.mark.parametrize("value", [..., None, -5, 0.5, "3", 2**63, 10**12, [1]])
def test_a_count_that_is_none(store: Path, key: str, value: Any) -> None:
    def change(meta: Meta) -> None:
        counts = meta["splits"]["valid"]
        counts.pop(key) if value is ... else counts.update({key: value})

    rewrite(store, change)
    if (key, value) == ("replaced", 10**12):  # that many places only make it lossy
        use(store)
        return
    with pytest.raises(ConfigError, match=rf"'splits\.valid\.{key}'|valid/.* does not match its checksum|add up to"):
        use(store)


@pytest.mark.parametrize("key", ["bytes", "characters"])
def test_another_size_of_the_text_gives_no_figure(store: Path, key: str) -> None:
    rewrite(store, lambda meta: meta["splits"]["valid"].update({key: meta["splits"]["valid"][key] + 1}))
    with pytest.raises(ConfigError, match=rf"valid/document_{key}\.bin holds lengths that do not add up"):
        foretell.train(ngram(store), store.parent / "run", quiet=True)


def ngram(store: Path) -> dict[str, Any]:
    return {"data": {"corpus": str(store), "batches": {"kind": "lines"}}, "model": {"kind": "ngram", "order": 3}}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("tokens", lambda found: np.full_like(found, 60_000), "holds ids beyond the .* tokens"),
        ("tokens", lambda found: found[:-1], "does not match its checksum"),
        ("documents", lambda found: found + 1, "offsets that do not rise"),
        ("documents", lambda found: found[[0, 2, 1, *range(3, len(found))]], "offsets that do not rise"),
        ("lines", lambda found: found - 1, "offsets that do not rise"),
        ("lines", lambda found: np.append(found[:-1], 10**15), "offsets that do not rise"),
        ("document_bytes", lambda found: found * [-1, *[1] * (len(found) - 1)], "do not add up"),
        ("document_characters", lambda found: found[::-1] + 1, "do not add up"),
    ],
)
def test_arrays_that_hold_what_cannot_be(store: Path, name: str, change: Callable[[Any], Any], said: str) -> None:
    found = np.array(getattr(Store.open(store).split("train"), name))
    write_array(store, f"train/{name}", change(found).astype(found.dtype))
    with pytest.raises(ConfigError, match=rf"store: is damaged: train/{name}\.bin .*{said}"):
        use(store)


def test_links_lead_nowhere(store: Path, tmp_path: Path) -> None:
    for place in (store / "train" / "tokens.bin", store / "train"):
        shutil.move(place, tmp_path / "outside")
        place.symlink_to(tmp_path / "outside")
        with pytest.raises(ConfigError, match=r"train/.*\.bin is missing"):
            use(store)
        place.unlink()
        shutil.move(tmp_path / "outside", place)
    use(store)


# --- tokenizers -----------------------------------------------------------------------------------


def swap(file: Path) -> None:
    """Give two words each other's id: a tokenizer that reads well, and is another."""
    tree = json.loads(file.read_text())
    vocabulary = tree["model"]["vocab"]
    vocabulary["cat"], vocabulary["the"] = vocabulary["the"], vocabulary["cat"]
    file.write_text(json.dumps(tree))


def test_another_tokenizer_is_no_stores(store: Path, tmp_path: Path) -> None:
    swap(store / "tokenizer.json")
    with pytest.raises(ConfigError, match=r"store: is damaged: tokenizer\.json does not match its checksum; remove"):
        use(store)
    with pytest.raises(ConfigError, match=r"tokenizer\.json does not match its checksum"):
        foretell.train(ngram(store), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 50_000, b'{"model": {"vocab": {"a": 4294967294}}}'])
def test_a_file_that_is_no_tokenizer(store: Path, content: bytes) -> None:
    (store / "tokenizer.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        use(store)


# --- what was interrupted -------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"{}", b"\xff", b'{"fingerprint": "x", "done": 3}', None])
def test_a_point_that_is_none_begins_anew(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    place = tmp_path / ".again.partial"
    place.mkdir()
    record = sealed({"fingerprint": Store.open(store).fingerprint, "done": {}, "point": None})
    altered = json.dumps(record | {"done": {"train": {"tokens": 99}}}).encode()
    (place / store_builder.POINT).write_bytes(altered if content is None else content)
    corpus = open_corpus({name: str(tmp_path / f"{name}.txt") for name in ("train", "valid", "test")})
    again = prepare(corpus, Store.open(store).tokenizer, tmp_path / "again")
    assert again.counts == Store.open(store).counts and not place.exists()


def test_the_tokenizer_of_a_store_that_was_sent_is_tried_out_first(store: Path) -> None:
    """It multiplies its text until memory runs out; all checksums fit."""
    longer = {"type": "Replace", "pattern": {"String": ""}, "content": "a" * 1000}
    described = json.loads((store / "tokenizer.json").read_text())
    described["normalizer"] = {"type": "Sequence", "normalizers": [longer] * 6}
    (store / "tokenizer.json").write_text(json.dumps(described))
    rewrite(store, lambda meta: None)
    with pytest.raises(ConfigError, match=r"tokenizer\.json: (it takes the tokenizers library too long|.*breaks down)"):
        use(store)
