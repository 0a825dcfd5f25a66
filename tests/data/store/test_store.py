import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from foretell.data.cache import cache_folder
from foretell.data.opening import open_corpus
from foretell.data.preparing import prepared
from foretell.data.store import store_builder
from foretell.data.store.store import FORMAT, Store, prepare
from foretell.data.text.corpus import Corpus
from foretell.data.text_files import Piece
from foretell.data.tokenizers.kinds import (
    BPEConfig,
    ByteConfig,
    CharacterConfig,
    FileConfig,
    WordConfig,
    load_tokenizer,
)
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")
BYTES = ByteConfig().train([])


def corpus_of(folder: Path, *documents: str, ending: str = "\n<|endofdoc|>\n") -> Corpus:
    """One split: the documents, each followed by `ending`."""
    folder.mkdir(exist_ok=True)
    path = folder / "text.txt"
    path.write_text("".join(document + ending for document in documents), newline="")
    return open_corpus({"train": str(path)})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def random_documents(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    words = ["the", "cat", "é", "日本", "sat", "<unk>", "  ", "\n", "x" * 50, "\n\n", "mat."]
    return [" ".join(chance.choices(words, k=chance.randint(1, 60))).strip("\n") for _ in range(count)]


# --- contents -------------------------------------------------------------------------------------


def test_offsets_and_counts_by_hand(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "aé b\nc", "dd")
    split = prepare(corpus, BYTES, tmp_path / "store").split("train")
    # aé b\n = 6 bytes, c\n = 2, boundary; dd\n = 3, boundary
    assert split.tokens.tolist() == [98, 196, 170, 33, 99, 11, 100, 11, 0, 101, 101, 11, 0]
    assert split.documents.tolist() == [0, 9, 13]
    assert split.lines.tolist() == [0, 6, 9, 13]
    assert split.document_bytes.tolist() == [8, 3]
    assert split.document_characters.tolist() == [7, 3]
    counts = (split.counts.tokens, split.counts.documents, split.counts.lines)
    assert counts == (13, 2, 3)
    assert (split.bytes, split.characters, split.words) == (11, 10, 4)
    assert (split.unknown, split.altered_lines) == (0, 0)


@pytest.mark.parametrize("batch", [1, 7, 1000, 1 << 20])
def test_any_batching_agrees_with_one_document_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(store_builder, "BATCH", batch)
    documents = [document for document in random_documents(50) if document]
    corpus = corpus_of(tmp_path, *documents)
    split = prepare(corpus, BYTES, tmp_path / "store").split("train")
    texts = [document + "\n" for document in documents]
    starts = split.documents
    for index, text in enumerate(texts):
        tokens = split.tokens[starts[index] : starts[index + 1]].tolist()
        assert tokens == [*BYTES.encode(text), BYTES.boundary]
    assert split.document_bytes.tolist() == [len(text.encode()) for text in texts]
    assert split.document_characters.tolist() == [len(text) for text in texts]
    assert split.words == sum(len(text.split()) for text in texts)
    assert split.counts.lines == sum(text.count("\n") for text in texts) == len(split.lines) - 1
    line = split.tokens[split.lines[3] : split.lines[4]].tolist()
    assert BYTES.decode(line) == "".join(texts).splitlines(keepends=True)[3]


def test_a_word_in_two_cuts_is_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_builder, "BATCH", 1)
    corpus = corpus_of(tmp_path, "x" * 200_000 + " y")
    split = prepare(corpus, BYTES, tmp_path / "store").split("train")
    assert (split.words, split.counts.lines) == (2, 1)


@pytest.mark.parametrize("documents", [("one\n",), ("one",), ("one", "two")])
@pytest.mark.parametrize("batch", [1, 1000])
def test_a_lone_document_has_no_boundary(
    tmp_path: Path, documents: tuple[str, ...], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_builder, "BATCH", batch)
    corpus = corpus_of(tmp_path, *documents)
    split = prepare(corpus, BYTES, tmp_path / "store").split("train")
    boundaries = int((split.tokens == BYTES.boundary).sum())
    assert boundaries == (len(documents) if len(documents) > 1 else 0)


def test_words_end_every_line_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a <unk> b\n<|endofdoc|>\nb  c")
    tokenizer = WordConfig().train(["a b\n"])
    corpus = open_corpus({"train": str(tmp_path / "a.txt")})
    split = prepare(corpus, tokenizer, tmp_path / "store").split("train")
    assert tokenizer.decode(split.tokens.tolist()) == "a <unk> b\nb <unk>\n"
    assert split.documents.tolist() == [0, 4, 7]
    assert (split.unknown, split.altered_lines) == (1, 1)


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


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    corpus = corpus_of(tmp_path, "one", "two")
    prepare(corpus, BYTES, tmp_path / "store", lambda *now: told.append(now))
    assert told == [("train", 8, 10)]


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


# --- interruption ---------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def failing(corpus: Corpus, after: int) -> Corpus:
    """The same text, whose reading breaks off after some pieces."""

    class Source:
        def pieces(self) -> Iterator[Piece]:
            for index, piece in enumerate(corpus.pieces("train")):
                if index == after:
                    raise Interrupted
                yield piece

        def digest(self) -> str:
            return corpus.fingerprint("train")

        def reports(self) -> dict[str, object]:
            return {}

    return Corpus(corpus.name, {"train": Source()})  # type: ignore[dict-item]


@pytest.mark.parametrize("checkpoint", [1, 500])
@pytest.mark.parametrize("words", [True, False])
def test_resuming_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: int, words: bool
) -> None:
    monkeypatch.setattr(store_builder, "BATCH", 100)
    monkeypatch.setattr(store_builder, "CHECKPOINT", checkpoint)
    corpus = corpus_of(tmp_path, *random_documents(60))
    tokenizer = WordConfig().train(["the cat sat\n"]) if words else BYTES
    prepare(corpus, tokenizer, tmp_path / "whole")
    pieces = len(list(corpus.pieces("train")))
    for after in range(0, pieces, 60):
        with pytest.raises(Interrupted):
            prepare(failing(corpus, after), tokenizer, tmp_path / "parts")
        assert not (tmp_path / "parts").exists()
    point = json.loads((tmp_path / ".parts.partial" / "progress.json").read_text())["point"]
    assert point["pieces"] > pieces / 2
    for name in ("tokens", "lines"):  # what was written after the last point
        with (tmp_path / ".parts.partial" / "train" / f"{name}.bin").open("ab") as stream:
            stream.write(b"half a block")
    told: list[int] = []
    prepare(corpus, tokenizer, tmp_path / "parts", lambda _, size, __: told.append(size))
    assert told[0] > 0.5 * told[-1]  # it did not begin again
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_an_interrupted_store_of_other_text_is_begun_afresh(tmp_path: Path) -> None:
    corpus, other = corpus_of(tmp_path, "one", "two"), corpus_of(tmp_path / "x", "three", "four")
    with pytest.raises(Interrupted):
        prepare(failing(corpus, 1), BYTES, tmp_path / "store")
    prepare(other, BYTES, tmp_path / "store")
    prepare(other, BYTES, tmp_path / "fresh")
    assert contents(tmp_path / "store") == contents(tmp_path / "fresh")


CHILD = """
import sys
from pathlib import Path
from foretell.data.opening import open_corpus
from foretell.data.store import store_builder
from foretell.data.store.store import prepare
from foretell.data.tokenizers.kinds import ByteConfig
store_builder.BATCH, store_builder.CHECKPOINT = 1 << 14, 1 << 16
text, out = sys.argv[1:]
def told(split, size, tokens):
    print(size, flush=True)
prepare(open_corpus({"train": text, "valid": text}), ByteConfig().train([]), Path(out), told)
"""


def start(text: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(text), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)


def test_killed_and_called_again_it_gives_the_same_bytes(tmp_path: Path) -> None:
    text = corpus_of(tmp_path, *random_documents(8000)).sources["train"].paths[0]  # type: ignore[attr-defined]
    killed = 0
    for reports in (10, 25):
        process = start(text, tmp_path / "killed")
        assert process.stdout
        for _ in range(reports):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        killed += process.wait() == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
    assert killed == 2
    assert json.loads((tmp_path / ".killed.partial" / "progress.json").read_text())["point"]
    for name in ("killed", "whole"):
        process = start(text, tmp_path / name)
        assert process.communicate()[0]
        assert process.returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_two_processes_at_once_make_one_store(tmp_path: Path) -> None:
    text = corpus_of(tmp_path, *random_documents(4000)).sources["train"].paths[0]  # type: ignore[attr-defined]
    processes = [start(text, tmp_path / "store") for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(bool(output) for output in outputs) == 1  # the others waited and found it done
    prepare(open_corpus({"train": str(text), "valid": str(text)}), BYTES, tmp_path / "alone")
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")
    assert sorted(os.listdir(tmp_path)) == ["alone", "store", "text.txt"]


# --- size -----------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
from foretell.data.opening import open_corpus
from foretell.data.store.store import prepare
from foretell.data.tokenizers.tokenizer import load_tokenizer
text, tokenizer, out = sys.argv[1:]
tokenizer = load_tokenizer(tokenizer)
prepare(open_corpus({"train": text}), tokenizer, Path(out))
# not getrusage: what it tells survives exec, so it knows the memory of whoever started us
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("megabytes", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_one_enormous_line_needs_little_memory(tmp_path: Path, megabytes: int) -> None:
    line = ("the cat sat on the mat and looked at me " * 25_000).encode()  # one megabyte
    with (tmp_path / "a.txt").open("wb") as stream:
        for _ in range(megabytes):
            stream.write(line)
    BYTES.save(tmp_path / "t.json")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "a.txt"), str(tmp_path / "t.json")]
    done = subprocess.run([*command, str(tmp_path / "store")], check=True, stdout=subprocess.PIPE, text=True)
    split = Store.open(tmp_path / "store").split("train")
    assert (split.counts.lines, split.words) == (1, megabytes * 250_000)
    assert len(split.tokens) == megabytes * 1_000_000
    assert int(done.stdout) < 150 * 1024  # kilobytes; the libraries take 60 MB of it


@needs_data
@pytest.mark.slow
def test_wiki_en_comes_back_exactly(tmp_path: Path) -> None:
    corpus = open_corpus("wiki-en")
    sample = (piece.text for piece in corpus.pieces("valid"))
    store = prepare(corpus, BPEConfig(size=4096).train(sample), tmp_path / "store")
    split = store.split("test")
    text = "".join(piece.text for piece in corpus.pieces("test"))
    assert load_tokenizer(tmp_path / "store" / "tokenizer.json").decode(split.tokens) == text
    assert (split.counts.documents, split.words) == (231, 82_540)


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
