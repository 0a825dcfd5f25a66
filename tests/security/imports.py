"""Files and folders as an attacker would send them to be imported: what each tries."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arpa_files import PLAIN
from fuzz.cases import Fifo, Link, Sparse
from fuzz.running import write
from interop.hugging_face.test_hostile import CONFIG, HOSTILE, TOKENIZER, header, tensors
from interop.test_arpa_text import WRONG
from safetensors.torch import save_file
from security.attacks import DEEP, DIGITS, HARMLESS, HUGE, REDOS, REFUSED, Bomb, payload

Make = Callable[[Path, Path], object]
"""given the working folder and a secret outside of it"""


@dataclass(frozen=True)
class Import:
    """What lies in the working folder, and what is named to `foretell import`."""

    make: Make
    path: str
    codes: frozenset[int] = REFUSED
    options: tuple[str, ...] = ()


# --- ARPA files -----------------------------------------------------------------------------------


def arpa(content: Any, name: str = "x.arpa", codes: frozenset[int] = REFUSED) -> Import:
    """A file with this content, or what a function of the secret makes of it."""

    def make(folder: Path, secret: Path) -> None:
        made = content(secret) if callable(content) else content
        write(folder / name, made.encode() if isinstance(made, str) else made)

    return Import(make, name, codes)


def beside(content: Any) -> Import:
    """A good file, and this for the tokenizer.json of its words."""

    def make(folder: Path, secret: Path) -> None:
        arpa(PLAIN).make(folder, secret)
        arpa(content, "t.json").make(folder, secret)

    return Import(make, "x.arpa", options=("--tokenizer", "t.json"))


def words(number: int, *, log10: str = "-1.2345678", begin: int = 0) -> str:
    """Lines of single words that all differ."""
    return "".join(f"{log10}\tw{place}\n" for place in range(begin, begin + number))


def single(lines: str, number: int) -> str:
    """A file of single words."""
    edges = "-99\t<s>\n-0.7\t</s>\n-1.5\t<unk>\n"
    return f"\\data\\\nngram 1={number + 3}\n\n\\1-grams:\n{edges}{lines}\n\\end\\\n"


def packed(size: int, block: bytes, begin: bytes = b"") -> bytes:
    """A gzip file that unpacks to `size` bytes: a pack of one block again and again."""
    return gzip.compress(begin) + gzip.compress(block) * (size // len(block))


def changed(old: str, new: str) -> str:
    """The plain file with one thing changed."""
    assert PLAIN.count(old) == 1
    return PLAIN.replace(old, new)


def pairs() -> str:
    """Every pair of three hundred words."""
    grams = "".join(f"-0.5\tw{place % 300} w{place // 300}\n" for place in range(90_000))
    text = single(words(300), 300).replace("\n\n\\1", "\nngram 2=90000\n\n\\1")
    return text.replace("\n\\end", f"\n\\2-grams:\n{grams}\n\\end")


ESCAPE = "\x1b]0;x\x07\x1b[31mred"
ARPA: dict[str, Import] = {
    # what is no file, or has no end
    "a pipe": arpa(Fifo()),
    "a device without end": arpa(Link("/dev/zero")),
    "a link to nothing": arpa(Link("nowhere")),
    "a link to itself": arpa(Link("x.arpa")),
    "three gigabytes of nothing": arpa(Sparse(3 << 30)),
    "a terabyte behind a good beginning": arpa(Sparse(1 << 40, PLAIN[:-7].encode())),
    "a terabyte behind a good file": arpa(Sparse(1 << 40, PLAIN.encode())),
    "a terabyte behind a title": arpa(Sparse(1 << 40, b"\\data\\\n")),
    # packed
    "a gigabyte of zeros in a megabyte": arpa(lambda _: packed(1 << 30, bytes(1 << 20)), "x.arpa.gz"),
    "a gigabyte of line ends in a megabyte": arpa(
        lambda _: packed(1 << 30, b"\n" * (1 << 20), b"\\data\\\nngram 1=9\n"), "x.arpa.gz"
    ),
    "a gigabyte of one word": arpa(
        lambda _: packed(1 << 30, b"-1 w\n" * 200_000, b"\\data\\\nngram 1=999999999\n\\1-grams:\n"), "x.arpa.gz"
    ),
    "a gigabyte of text before the data": arpa(lambda _: packed(1 << 30, b"text\n" * 200_000), "x.arpa.gz"),
    "a gigabyte of titles": arpa(lambda _: packed(1 << 30, b"\\1-grams:\n" * 100_000, b"\\data\\\n"), "x.arpa.gz"),
    "packed in packed": arpa(lambda _: gzip.compress(gzip.compress(PLAIN.encode())), "x.arpa.gz"),
    "a hundred thousand packs of nothing": arpa(lambda _: gzip.compress(b"") * 100_000, "x.arpa.gz"),
    "a pack with a name of megabytes": arpa(lambda _: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (8 << 20), "x.arpa.gz"),
    "a pack that ends in the middle": arpa(lambda _: gzip.compress(PLAIN.encode() * 999)[:-50], "x.arpa.gz"),
    # promises
    "a promise of 10**17 words": arpa(changed("1=5", f"1={10**17}")),
    "a promise of more orders than there are": arpa("\\data\\\n" + "".join(f"ngram {n}=1\n" for n in range(1, 99))),
    "a million counts": arpa("\\data\\\n" + "ngram 1=5\n" * 1_000_000),
    "a million titles": arpa("\\data\\\nngram 1=0\n" + "\\1-grams:\n" * 1_000_000),
    "an order of nine digits": arpa(changed("\\3-grams:", "\\999999999-grams:")),
    "a title of ten thousand digits": arpa(changed("\\3-grams:", f"\\{'9' * 10_000}-grams:")),
    # numbers
    "numbers of a megabyte": arpa(
        single("".join(f"-0.{'3' * 1_000_000}\tw{n}\n" for n in range(20)), 20), codes=HARMLESS
    ),
    "exponents of a megabyte": arpa(single(f"-1e-{'9' * 1_000_000}\tw\n", 1), codes=HARMLESS),
    "logarithms at the edge of what is allowed": arpa(single(words(50, log10="-9e29"), 50), codes=HARMLESS),
    "back-off weights at the edge": arpa(
        PLAIN.replace("dog\t-0.3", "dog\t9e29").replace("cat\t-0.2", "cat\t-9e29"), codes=HARMLESS
    ),
    "numbers in other digits": arpa(changed("-0.5\tdog", "-\u0660.\u0665\tdog")),
    # blanks
    "a megabyte of blanks in a line": arpa(changed("-0.5\tdog", f"-0.5{' ' * (1 << 20)}\tdog"), codes=HARMLESS),
    "a line of blanks before every title": arpa(PLAIN.replace("\n\\", f"\n{' ' * 300_000}\\"), codes=HARMLESS),
    "half a million lone carriage returns": arpa("\r" * 500_000 + PLAIN, codes=HARMLESS),
    # words
    "a word with escapes": arpa(changed("\tcat\t", f"\t{ESCAPE}\t")),
    "escapes all over": arpa(PLAIN.replace("cat", ESCAPE), codes=HARMLESS),
    "words that turn the writing around": arpa(PLAIN.replace("cat", "\u202etac\u2066"), codes=HARMLESS),
    "words of line and paragraph separators": arpa(PLAIN.replace("cat", "a\u2028b\u2029c\x85d"), codes=HARMLESS),
    "a word of half a megabyte": arpa(PLAIN.replace("cat", "cat" * 150_000), codes=HARMLESS),
    "words of half a megabyte": arpa(
        single("".join(f"-1\t{'x' * 500_000}{n}\n" for n in range(40)), 40), codes=HARMLESS
    ),
    "bytes that are no text": arpa(PLAIN.encode().replace(b"cat", b"c\xff\xfet")),
    "the end of a line as a word": arpa(PLAIN.replace("cat", "<eos>"), codes=HARMLESS),
    "a word that is not there twice": arpa(PLAIN.replace("-1.5\t<unk>", "-1.5\t<UNK>"), codes=HARMLESS),
    "a hundred thousand words": arpa(lambda _: single(words(100_000), 100_000), codes=HARMLESS),
    "ninety thousand pairs": arpa(lambda _: pairs(), codes=HARMLESS),
    "gaps without end": arpa(
        lambda _: (
            "\\data\\\nngram 1=4\n"
            + "".join(f"ngram {n}=0\n" for n in range(2, 15))
            + "ngram 15=60000\n\\1-grams:\n-1 a\n-1 b\n-1 <s>\n-1 </s>\n\\15-grams:\n"
            + "".join(f"-1 {' '.join('ab'[n >> bit & 1] for bit in range(15))}\n" for n in range(1 << 15))
            + "\\end\\\n"
        )
    ),
    # names
    "a name with escapes": arpa(PLAIN, f"{ESCAPE}.arpa", HARMLESS),
    "a name with a line's end and TOML": arpa(PLAIN, 'a"\n[model]\nkind = "evil:X"\n.arpa', HARMLESS),
    "a name of nothing but the ending": arpa(PLAIN, ".arpa", HARMLESS),
    "a folder of that name": Import(lambda folder, _: (folder / "x.arpa").mkdir(), "x.arpa"),
    # tokenizers beside
    "a tokenizer with an expression that takes for ever": beside(json.dumps(TOKENIZER | {"pre_tokenizer": REDOS})),
    "a pickle for a tokenizer": beside(lambda secret: pickle.dumps(Bomb(secret))),
    "a tokenizer that is a pipe": beside(Fifo()),
    "a tokenizer without end": beside(Link("/dev/zero")),
    "a tokenizer of three gigabytes": beside(Sparse(3 << 30, b"{")),
    "a pickle": arpa(lambda secret: pickle.dumps(Bomb(secret))),
    **{f"{number}: {said[:40]}": arpa(text) for number, (text, said) in enumerate(WRONG.items(), 1)},
}


# --- Hugging Face folders -------------------------------------------------------------------------


def folder(change: Make, path: str = "theirs", codes: frozenset[int] = REFUSED) -> Import:
    """The folder of a small GPT-2, changed; beside it what links in it may lead to."""

    def make(here: Path, secret: Path) -> None:
        theirs = here / "theirs"
        theirs.mkdir()
        write(theirs / "config.json", json.dumps(CONFIG).encode())
        write(theirs / "tokenizer.json", json.dumps(TOKENIZER).encode())
        save_file(tensors(), theirs / "model.safetensors")
        change(theirs, secret)

    return Import(make, path, codes)


def files(contents: dict[str, Any], codes: frozenset[int] = REFUSED) -> Import:
    """The folder with other files: their contents, or what a function of the secret makes of it."""

    def change(theirs: Path, secret: Path) -> None:
        for name, content in contents.items():
            made = content(secret) if callable(content) else content
            write(theirs / name, made.encode() if isinstance(made, str) else made)

    return folder(change, codes=codes)


def file(name: str, content: Any, codes: frozenset[int] = REFUSED) -> Import:
    """The folder with one other file."""
    return files({name: content}, codes)


def config(**changes: Any) -> Import:
    """The folder with other settings, which may be ignored."""
    return file("config.json", json.dumps(CONFIG | changes), HARMLESS)


def tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    """A tensor as the header of a file of weights describes it."""
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def renamed(name: str) -> Make:
    """The folder under another name."""
    return lambda theirs, _: theirs.rename(theirs.parent / name)


def moved_out(name: str) -> Make:
    """A file that lies outside, where the one in the folder is a link to."""

    def change(theirs: Path, secret: Path) -> None:
        (theirs / name).rename(secret.parent / name)
        (theirs / name).symlink_to(secret.parent / name)

    return change


def surplus(theirs: Path, _: Path) -> None:
    """One more tensor of 32 GiB, of which the disk holds nothing."""
    weights = (theirs / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", weights[:8])[0]
    described = json.loads(weights[8 : 8 + size])
    end, more = len(weights) - 8 - size, 1 << 35
    head = header(described | {"surplus": tensor([1 << 33], end, end + more)})
    write(theirs / "model.safetensors", Sparse(len(head) + end + more, head + weights[8 + size :]))


CODE = ("modeling_gpt2.py", "configuration_gpt2.py", "tokenization_gpt2.py", "__init__.py", "setup.py", "handler.py")
MODULES = ("tokenizers", "torch", "json", "safetensors", "transformers", "sitecustomize")
MAP = {"AutoConfig": "configuration_gpt2.C", "AutoModel": "modeling_gpt2.M", "AutoTokenizer": "tokenization_gpt2.T"}
WHAT = ("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json", "tokenizer_config.json")
FOLDERS: dict[str, Import] = {
    # code
    "code beside, which the settings name": files(
        {name: payload for name in CODE} | {"config.json": json.dumps(CONFIG | {"auto_map": MAP})}, HARMLESS
    ),
    "code under the names of modules": folder(
        lambda theirs, secret: (
            [
                write(place / f"{name}.py", payload(secret).encode())
                for name in MODULES
                for place in (theirs, theirs.parent)
            ]
        ),
        codes=HARMLESS,
    ),
    "settings that name a class": config(model_type="evil:Config", architectures=["os:system"]),
    "settings that name a pipeline": config(custom_pipelines={"x": {"impl": "evil.X", "pt": ["os.system"]}}),
    "pickled weights beside good ones": file("pytorch_model.bin", lambda secret: pickle.dumps(Bomb(secret)), HARMLESS),
    "pickled arguments": file("training_args.bin", lambda secret: pickle.dumps(Bomb(secret)), HARMLESS),
    "pickled weights under the good name": file("model.safetensors", lambda secret: pickle.dumps(Bomb(secret))),
    "an index that names a pickle": files(
        {
            "evil.bin": lambda secret: pickle.dumps(Bomb(secret)),
            "model.safetensors.index.json": json.dumps({"weight_map": dict.fromkeys(tensors(), "evil.bin")}),
        }
    ),
    "a template that calls": file(
        "tokenizer_config.json",
        json.dumps({"chat_template": "{{ cycler.__init__.__globals__.os.popen('touch ../executed').read() }}"}),
        HARMLESS,
    ),
    # what leads outside
    **{f"{name} lies outside": folder(moved_out(name)) for name in WHAT[:3]},
    **{f"{name} is a link to a secret": file(name, lambda secret: Link(str(secret)), HARMLESS) for name in WHAT},
    "the generator lies outside": file("generator", lambda secret: Link(str(secret.parent)), HARMLESS),
    "a generator with a secret for its settings": files(
        {
            "config.json": json.dumps({**CONFIG, "model_type": "electra"}),
            "generator/config.json": lambda secret: Link(str(secret)),
        }
    ),
    "an index that names a secret": file(
        "model.safetensors.index.json",
        lambda secret: json.dumps({"weight_map": dict.fromkeys(tensors(), str(secret))}),
    ),
    "an index that names a secret above": file(
        "model.safetensors.index.json",
        json.dumps({"weight_map": dict.fromkeys(tensors(), "../../outside/secret.txt")}),
    ),
    # what has no end
    **{f"{name} is a pipe": file(name, Fifo(), HARMLESS) for name in WHAT},
    **{f"{name} has no end": file(name, Link("/dev/zero"), HARMLESS) for name in WHAT},
    **{f"{name} is a folder": files({f"{name}x/y": b""}, HARMLESS) for name in WHAT[3:]},
    # sizes
    **{f"{name} of three gigabytes": file(name, Sparse(3 << 30, b"{"), HARMLESS) for name in WHAT},
    "weights of a terabyte": file("model.safetensors", Sparse(1 << 40, header({}))),
    "a header of an exabyte": file("model.safetensors", struct.pack("<Q", 2**60)),
    "a header of ninety megabytes": file("model.safetensors", Sparse(100 << 20, struct.pack("<Q", 90 << 20) + b"{")),
    "a header that promises an exabyte": file("model.safetensors", struct.pack("<Q", len(HUGE)) + HUGE),
    "a header nested deep": file("model.safetensors", struct.pack("<Q", len(DEEP)) + DEEP),
    "a hundred thousand tensors": file(
        "model.safetensors", lambda _: header({f"t{n}": tensor([1], 4 * n, 4 * n + 4) for n in range(100_000)}, 400_000)
    ),
    "a hundred thousand files": file(
        "model.safetensors.index.json", lambda _: json.dumps({"weight_map": {f"t{n}": f"f{n}" for n in range(100_000)}})
    ),
    "a surplus tensor of 32 gigabytes": folder(surplus, codes=HARMLESS),
    "a surplus tensor of a thousand dimensions": file("model.safetensors", header({"x": tensor([1] * 1000, 0, 4)}, 4)),
    "a vocabulary of two hundred thousand words": file(
        "tokenizer.json",
        lambda _: json.dumps(
            TOKENIZER | {"model": TOKENIZER["model"] | {"vocab": {f"w{n}": n for n in range(200_000)}}}
        ),
    ),
    "a hundred thousand labels": file(
        "config.json",
        lambda _: json.dumps(
            CONFIG
            | {
                "architectures": ["GPT2ForSequenceClassification"],
                "id2label": {str(n): f"l{n}" for n in range(100_000)},
            }
        ),
        HARMLESS,
    ),
    # parsers
    **{f"{name} nested a hundred thousand deep": file(name, DEEP, HARMLESS) for name in (*WHAT[:2], *WHAT[3:])},
    "a number of six thousand digits": file("config.json", DIGITS),
    "a width of six thousand digits": file(
        "config.json", json.dumps(CONFIG)[:-1].encode() + b', "n_embd": ' + b"9" * 6000 + b"}"
    ),
    "a setting twice": file("config.json", json.dumps(CONFIG)[:-1].encode() + b', "n_layer": 4096}'),
    "settings in UTF-16": file("config.json", json.dumps(CONFIG).encode("utf-16")),
    # the terminal
    "settings with escapes": file("config.json", json.dumps(CONFIG | {"model_type": ESCAPE})),
    "an architecture with escapes": config(architectures=[ESCAPE]),
    "labels with escapes": config(architectures=["GPT2ForSequenceClassification"], id2label={"0": ESCAPE, "1": "b"}),
    "tokens with escapes": file("tokenizer.json", json.dumps(TOKENIZER).replace('"cat"', json.dumps(ESCAPE)), HARMLESS),
    "a folder with escapes in its name": folder(renamed(ESCAPE), ESCAPE, HARMLESS),
    "a folder with TOML in its name": folder(
        renamed('a"\n[model]\nkind = "evil:X"\n'), 'a"\n[model]\nkind = "evil:X"\n', HARMLESS
    ),
    "a folder that is a link": folder(
        lambda theirs, secret: (theirs.rename(theirs.parent / "real"), theirs.symlink_to("real")),
        codes=HARMLESS,
    ),
    # everything else that is wrong in them
    **{name: folder(lambda theirs, _, harm=harm: harm(theirs)) for name, (harm, _) in HOSTILE.items()},
}
