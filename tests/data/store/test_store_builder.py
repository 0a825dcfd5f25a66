"""Token stores: what is in them, the same bytes after an interruption, in how little memory."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import corpus_of

from foretell.data.opening import open_corpus
from foretell.data.store import store_builder
from foretell.data.store.store import Store, prepare
from foretell.data.text.corpus import Corpus
from foretell.data.text_files import Piece
from foretell.data.tokenizers.kinds import BPEConfig, ByteConfig, WordConfig, load_tokenizer

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")
BYTES = ByteConfig().train([])


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


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int, int | None]] = []
    corpus = corpus_of(tmp_path, "one", "two")
    prepare(corpus, BYTES, tmp_path / "store", lambda *now: told.append(now))
    assert [now[:3] for now in told] == [("train", 8, 10)]


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
    prepare(corpus, tokenizer, tmp_path / "parts", lambda _, size, *__: told.append(size))
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
def told(split, size, tokens, total):
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
