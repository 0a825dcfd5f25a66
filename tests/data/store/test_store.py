import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpora import corpus_of

from foretell.data.opening import open_corpus
from foretell.data.preparing import prepared
from foretell.data.store.store import FORMAT, Store, prepare
from foretell.data.tokenizers.kinds import (
    ByteConfig,
    CharacterConfig,
)
from foretell.errors import ConfigError

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")
BYTES = ByteConfig().train([])


def test_what_a_store_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a b c\n" * 50)
    (tmp_path / "test.txt").write_text("a z\n")
    corpus = open_corpus(str(tmp_path))
    prepare(corpus, CharacterConfig().train(["a b c\n"]), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.splits == ("train", "test")
    assert store.tokenizer.kind == "character"
    assert store.exact
    assert store.split("test").unknown == 1
    assert isinstance(store.split("train").tokens, np.memmap)
    with pytest.raises(ConfigError, match=r"no 'valid' split \(it has train, test\)"):
        store.split("valid")


def test_a_store_whose_bytes_were_counted_otherwise_is_refused_in_one_line(tmp_path: Path) -> None:
    corpus, place = corpus_of(tmp_path, "one", "two"), tmp_path / "store"
    prepare(corpus, BYTES, place)
    meta = json.loads((place / "meta.json").read_text())
    (place / "meta.json").write_text(json.dumps(meta | {"format": 1}))
    for use in (
        lambda: Store.open(place),
        lambda: prepare(corpus, BYTES, place),
        lambda: prepared(str(place), ByteConfig()),
    ):
        with pytest.raises(ConfigError) as refused:
            use()
        assert str(refused.value) == (
            f"{place}/meta.json: is a store of format 1, not {FORMAT}: its bytes are counted by other rules; "
            "remove the store and prepare it again"
        )


def test_splits_without_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only one line\n")
    store = prepare(open_corpus(str(tmp_path / "a.txt")), BYTES, tmp_path / "store")
    assert store.splits == ("train",)
    assert sorted(os.listdir(tmp_path / "store")) == ["meta.json", "tokenizer.json", "train"]


# --- reuse and refusal ----------------------------------------------------------------------------


def test_a_finished_store_is_reused_and_another_refused(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "one")
    prepare(corpus, BYTES, tmp_path / "store")
    before = (tmp_path / "store" / "train" / "tokens.bin").stat()
    told: list[str] = []
    prepare(corpus, BYTES, tmp_path / "store", lambda *now: told.append("encoded"))
    assert told == []
    assert (tmp_path / "store" / "train" / "tokens.bin").stat() == before
    other = corpus_of(tmp_path / "other", "two")
    with pytest.raises(ConfigError, match="a store of other text or another tokeniser"):
        prepare(other, BYTES, tmp_path / "store")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(ConfigError, match="not a token store"):
        prepare(corpus, BYTES, tmp_path / "full")
    with pytest.raises(ConfigError, match="not a token store"):
        Store.open(tmp_path)
    (tmp_path / "empty").mkdir()
    assert prepare(corpus, BYTES, tmp_path / "empty").splits == ("train",)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "one")
    prepare(corpus, BYTES, tmp_path / "store")
    assert sorted(os.listdir(tmp_path)) == ["store", "text.txt"]


# --- damage ---------------------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def grown(content: bytes) -> bytes:
    return content + bytes(8)


def zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [cut, grown, zeroed, flipped])
def test_a_store_that_was_altered_gives_no_figures(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = prepare(corpus_of(tmp_path, "the cat\n", "sat\n"), BYTES, tmp_path / "store")
    for file in sorted(store.path.rglob("*.bin")):
        content = file.read_bytes()
        file.write_bytes(damage(content) if content != damage(content) else b"x")
        os.utime(file, ns=(1, len(damage(content))))
        with pytest.raises(ConfigError, match=rf"{file.parent.name}/{file.name} does not match its checksum; remove"):
            Store.open(store.path).split(file.parent.name).array(file.stem)
        file.write_bytes(content)
    meta = store.path / "meta.json"
    content = meta.read_text()
    for digit in "1234":
        if (changed := content.replace(f'"bytes": {digit}', '"bytes": 9')) != content:
            meta.write_text(changed)
            with pytest.raises(ConfigError, match=r"meta\.json does not match its checksum"):
                Store.open(store.path)
            return
    pytest.fail("there are no bytes to alter")
