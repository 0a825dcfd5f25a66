"""Prepared corpora: trained on the training split alone, and kept in the cache."""

from pathlib import Path
from typing import Any

import pytest
from builders import tables

import foretell
from foretell.cache import cache_folder
from foretell.data.preparing import prepared
from foretell.data.tokenizers.kinds import BPEConfig, ByteConfig, CharacterConfig, FileConfig, WordConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError

BYTES = ByteConfig().train([])


def test_prepared_trains_on_train_alone_and_reuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    text = tmp_path / "text"
    text.mkdir()
    (text / "train.txt").write_text("a b\n")
    (text / "valid.txt").write_text("a z\n")
    store = prepared(str(text), WordConfig())
    assert store.tokenizer.size == 4
    assert store.split("valid").unknown == 1

    def fail(*_: object) -> Tokenizer:
        raise AssertionError("trained again")

    monkeypatch.setattr(WordConfig, "train", fail)
    again = prepared(str(text), WordConfig())
    assert again.path == store.path
    assert prepared(str(store.path), WordConfig(min_count=9)).path == store.path
    with pytest.raises(AssertionError, match="trained again"):
        prepared(str(text), WordConfig(min_count=2))
    BYTES.save(tmp_path / "bytes.json")
    assert prepared(str(text), FileConfig(path=str(tmp_path / "bytes.json"))).tokenizer.size == 257


def test_a_tokenizer_altered_in_the_cache_is_trained_anew(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    recipe = tables(corpus, data__tokenizer={"kind": "word"}, limit="1steps")
    before = foretell.train(recipe, tmp_path / "a", quiet=True).tokenizer
    (file,) = (cache_folder() / "tokenizers").iterdir()
    content = file.read_bytes()
    words = [word for word in before.spellings if not word.startswith("<")][:2]
    for damage in (content.replace(f'"{words[0]}":'.encode(), b'"another":'), b"{", b""):
        assert damage != content
        file.write_bytes(damage)
        assert (
            foretell.train(recipe, tmp_path / f"b{len(damage)}", quiet=True).tokenizer.fingerprint == before.fingerprint
        )
        assert file.read_bytes() == content


@pytest.mark.parametrize("config", [WordConfig(), CharacterConfig(), BPEConfig(size=280)])
def test_a_tokenizer_is_read_from_the_cache_where_it_is_there(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Any
) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    first = prepared(corpus, config)

    def fail(*_: object) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(type(config), "train", fail)
    again = prepared(corpus, config)
    assert again.path == first.path and again.tokenizer.fingerprint == first.tokenizer.fingerprint


def test_a_store_is_used_with_its_own_tokenizer_alone(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    store = prepared(corpus, WordConfig())
    assert prepared(str(store.path), store.tokenizer).path == store.path
    with pytest.raises(ConfigError, match="its tokens are of another tokenizer than the run's; name the text itself"):
        prepared(str(store.path), BYTES)
    assert prepared(corpus, BYTES).path != store.path
