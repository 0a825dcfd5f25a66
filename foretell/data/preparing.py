"""Opens prepared corpora: from the cache where that has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from foretell.cache import cache_folder, digest
from foretell.data.opening import open_corpus
from foretell.data.store.store import Progress, Store, is_store, prepare, store_fingerprint
from foretell.data.text.corpus import Corpus
from foretell.data.text.holdout import byte_length, known_bytes
from foretell.data.tokenizers.kinds import FileConfig, TokenizerConfig
from foretell.data.tokenizers.tokenizer import Tokenizer, load_tokenizer
from foretell.errors import ConfigError


def prepared(
    corpus: str | Mapping[str, str], tokenizer: TokenizerConfig | Tokenizer, progress: Progress | None = None
) -> Store:
    """The store for a corpus and a tokenizer, from the cache where that has it.

    A kind of tokenizer is trained on the train split alone. A corpus that is a store already is opened as it is; its
    tokenizer has to be the one that is wanted.
    """
    if is_store(corpus):
        store = Store.open(corpus)
        if isinstance(tokenizer, Tokenizer) and store.tokenizer.fingerprint != tokenizer.fingerprint:
            raise ConfigError(
                "its tokens are of another tokenizer than the run's", file=corpus, remedy="name the text itself"
            )
        return store
    text = open_corpus(corpus)
    trained = tokenizer if isinstance(tokenizer, Tokenizer) else cached_tokenizer(text, tokenizer, progress)
    texts = {split: text.fingerprint(split) for split in text.splits}
    return prepare(text, trained, cache_folder() / "stores" / store_fingerprint(texts, trained), progress, texts)


def cached_tokenizer(corpus: Corpus, config: TokenizerConfig, progress: Progress | None = None) -> Tokenizer:
    """The tokeniser trained on the train split, from the cache where that has it."""
    pieces: Iterator[str] = (piece.text for piece in corpus.pieces("train"))
    if progress is not None:
        pieces = reported(pieces, progress, known_bytes(corpus.source("train")))
    if isinstance(config, FileConfig):
        return config.train(pieces)
    key = cache_key(corpus, config)
    if (found := trained_before(key)) is not None:
        return found
    trained = config.train(pieces)
    trained.save(cache_folder() / "tokenizers" / f"{key}-{trained.fingerprint}.json")
    return trained


def reported(pieces: Iterator[str], progress: Progress, total: int | None) -> Iterator[str]:
    """Yield the pieces, and report the bytes read for the tokenizer; no share once all are read, as it learns then."""
    size = 0
    for piece in pieces:
        yield piece
        size += byte_length(piece)
        progress("tokenizer", size, 0, total)
    progress("tokenizer", size, 0, None)


def trained_before(key: str) -> Tokenizer | None:
    """The tokenizer in the cache under a `cache_key`; None if there is none, or its name does not match its contents.

    The name ends with the fingerprint: an altered file is not used, but trained again.
    """
    for path in (cache_folder() / "tokenizers").glob(f"{key}-*.json"):
        with contextlib.suppress(ConfigError):
            if path.stem.endswith(f"-{(found := load_tokenizer(path)).fingerprint}"):
                return found
    return None


def cache_key(corpus: Corpus, config: TokenizerConfig) -> str:
    """A hash of all that a tokenizer is made from."""
    return digest(corpus.fingerprint("train"), config.kind_name(), config.model_dump_json())
