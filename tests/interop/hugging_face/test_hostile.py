"""Folders that are broken or made to do harm: each ends in one line that names the file, and nothing is left."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from foretell.errors import ConfigError
from foretell.tools.use.convert import import_path

CONFIG: dict[str, Any] = {
    **{"model_type": "gpt2", "vocab_size": 8, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 16},
    **{"architectures": ["GPT2LMHeadModel"], "layer_norm_epsilon": 1e-5},
}
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {
            **{"id": 0, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False},
            **{"normalized": False, "special": True},
        }
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "vocab": {"<|endoftext|>": 0, "<unk>": 1, "the": 2, "cat": 3, "sat": 4, "on": 5, "a": 6, "mat": 7},
        "unk_token": "<unk>",
    },
}


def tensors() -> dict[str, torch.Tensor]:
    """Those of a GPT-2 of one layer, four numbers wide."""
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (8, 4), "wpe.weight": (16, 4)}
    block = {"attn.c_attn": (4, 12), "attn.c_proj": (4, 4), "mlp.c_fc": (4, 16), "mlp.c_proj": (16, 4)}
    for name, shape in block.items():
        shapes |= {f"h.0.{name}.weight": shape, f"h.0.{name}.bias": shape[1:]}
    shapes |= {f"{norm}.{part}": (4,) for norm in ("h.0.ln_1", "h.0.ln_2", "ln_f") for part in ("weight", "bias")}
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing wrong."""
    path = tmp_path / "theirs"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    save_file(tensors(), path / "model.safetensors")
    return path


Harm = Callable[[Path], object]


def config(**changes: Any) -> Harm:
    """Other values in config.json."""
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def text(name: str, content: str | bytes) -> Harm:
    """A file with other contents."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def weights(**changes: torch.Tensor | None) -> Harm:
    """Other tensors; None: none of that name."""
    named = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    kept = {name: tensor for name, tensor in (tensors() | named).items() if tensor is not None}
    return lambda folder: save_file(kept, folder / "model.safetensors")


def tokenizer(dotted: str, value: Any) -> Harm:
    """Another value in tokenizer.json."""
    changed = deepcopy(TOKENIZER)
    *way, last = dotted.split(".")
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    return text("tokenizer.json", json.dumps(changed))


def header(record: dict[str, Any], size: int = 0) -> bytes:
    """A safetensors file with that header, and so many bytes of numbers."""
    written = json.dumps(record).encode()
    return struct.pack("<Q", len(written)) + written + bytes(size)


def index(weight_map: Any) -> Harm:
    """A checkpoint in several files."""
    return text("model.safetensors.index.json", json.dumps({"weight_map": weight_map}))


def link(name: str, target: str) -> Harm:
    """A file that is a link."""

    def put(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return put


def sparse(name: str, size: int) -> Harm:
    """One tensor more, of so many bytes, none of which is on the disk."""

    def put(folder: Path) -> None:
        stored = (folder / name).read_bytes()
        begins = 8 + struct.unpack("<Q", stored[:8])[0]
        found, end = json.loads(stored[8:begins]), len(stored) - begins
        found["surplus"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [end, end + size]}
        written = json.dumps(found).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(written)) + written + stored[begins:])
            file.truncate(8 + len(written) + end + size)

    return put


def slow(files: dict[str, str]) -> Harm:
    """The older files of a tokenizer."""

    def put(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        for name, content in files.items():
            (folder / name).write_text(content)

    return put


def added(**changes: Any) -> list[dict[str, Any]]:
    """A second added token."""
    return [*TOKENIZER["added_tokens"], TOKENIZER["added_tokens"][0] | {"id": 8, "content": "<x>"} | changes]


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
PIECES = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\ncat\n"
PAIRS = {"vocab.json": json.dumps({"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3}), "merges.txt": "#version: 0.2\na b\n"}

HOSTILE: dict[str, tuple[Harm, str]] = {
    # config.json
    "no JSON": (text("config.json", "{"), r"config\.json:1: not valid JSON"),
    "a list": (text("config.json", "[]"), r"config\.json: is a list, not an object"),
    "null": (text("config.json", "null"), r"config\.json: is None, not an object"),
    "nested deep": (text("config.json", '{"a":' * 50_000 + "1" + "}" * 50_000), r"config\.json: nested more than"),
    "long integer": (
        text("config.json", '{"vocab_size": ' + "9" * 5000 + "}"),
        r"an integer has thousands of digits",
    ),
    "no UTF-8": (text("config.json", b'{"model_type": "\xff"}'), r"config\.json:1: not UTF-8"),
    "a key twice": (text("config.json", '{"n_layer": 1, "n_layer": 2}'), r"has the key 'n_layer' twice"),
    "no model type": (config(model_type=None), r"config\.json: model_type None is not supported"),
    "model type a list": (config(model_type=["gpt2"]), r"config\.json: model_type a list is not supported"),
    "escapes in a name": (config(model_type="\x1b[2J"), r"config\.json: model_type '\\x1b\[2J' is not supported"),
    "huge vocabulary": (
        config(vocab_size=10**12),
        r"vocab_size is 1000000000000, but transformer\.wte",
    ),
    "small vocabulary": (config(vocab_size=7), r"vocab_size is 7, but transformer\.wte\.weight has 8 rows"),
    "no whole vocabulary": (config(vocab_size="8"), r"'vocab_size' is '8', not an integer"),
    "vocabulary true": (config(vocab_size=True), r"'vocab_size' is True, not an integer"),
    "a million layers": (config(n_layer=10**6), r"'n_layer' is 1000000, not an integer from 1 to 4096"),
    "many layers": (config(n_layer=4000), r"config\.json: says 4,000 layers, but the weights hold 1"),
    "no layers": (config(n_layer=0), r"'n_layer' is 0, not an integer from 1"),
    "layers below zero": (config(n_layer=-3), r"'n_layer' is -3, not an integer from 1"),
    "layers null": (config(n_layer=None), r"'n_layer' is None, not an integer"),
    "half a layer": (config(n_layer=1.5), r"'n_layer' is 1\.5, not an integer"),
    "layers a list": (config(n_layer=[1]), r"'n_layer' is a list, not an integer"),
    "huge width": (config(n_embd=10**9, n_head=1), r"hidden = 1,000,000,000, larger than any dimension of the weights"),
    "another width": (config(n_embd=6), r"transformer\.wte\.weight \(8, 4\) does not fit config\.json"),
    "huge context": (
        config(n_positions=2**31 - 1),
        r"context = 2,147,483,647, larger than any dimension of the weights",
    ),
    "another context": (config(n_positions=32), r"transformer\.wpe\.weight \(16, 4\) does not fit config\.json"),
    "huge inner width": (config(n_inner=2**31 - 1), r"feed_forward = 2,147,483,647, larger than any"),
    "no heads": (config(n_head=0), r"'n_head' is 0, not an integer"),
    "heads that do not fit": (config(n_head=3), r"is not divisible by heads = 3"),
    "epsilon a text": (config(layer_norm_epsilon="1e-5"), r"'layer_norm_epsilon' is '1e-5', not a number from 0 to 1"),
    "epsilon below zero": (config(layer_norm_epsilon=-1.0), r"'layer_norm_epsilon' is -1\.0, not a number from 0 to 1"),
    "epsilon null": (config(layer_norm_epsilon=None), r"'layer_norm_epsilon' is None, not a number"),
    "dropout of all": (config(embd_pdrop=2), r"'embd_pdrop' is 2, not a number from 0 to 1"),
    "tied a text": (config(tie_word_embeddings="yes"), r"'tie_word_embeddings' is 'yes', not true or false"),
    "activation a list": (config(activation_function=["relu"]), r"activation_function = a list is not supported"),
    "architectures a number": (config(architectures=3), r"'architectures' is 3, not a list"),
    "architectures of lists": (config(architectures=[[]]), r"'architectures' is a list, not a list of texts"),
    "quantised": (config(quantization_config={}), r"config\.json: quantised weights are not supported"),
    "config a link outside": (
        link("config.json", "../elsewhere.json"),
        r"config\.json: a link that leads out",
    ),
    # weights
    "half a file": (text("model.safetensors", b"half of"), r"model\.safetensors: not a whole safetensors file"),
    "huge header": (
        text("model.safetensors", struct.pack("<Q", 2**62)),
        r"not a whole safetensors file",
    ),
    "header no JSON": (text("model.safetensors", struct.pack("<Q", 2) + b"{]"), r"not a whole safetensors file"),
    "numbers beyond the end": (
        text("model.safetensors", header({"wte.weight": {"dtype": "F32", "shape": [8, 4], "data_offsets": [0, 128]}})),
        r"not a whole safetensors file",
    ),
    "an empty tensor": (
        text("model.safetensors", header({"wte": {"dtype": "F32", "shape": [10**12, 0], "data_offsets": [0, 0]}})),
        r"wte \(1000000000000, 0\) is empty",
    ),
    "NaN": (
        weights(wpe__weight=torch.full((16, 4), torch.nan)),
        r"64 of the 64 numbers in wpe\.weight are NaN",
    ),
    "infinite": (
        weights(ln_f__bias=torch.tensor([0.0, torch.inf, 0, 0])),
        r"1 of the 4 numbers in ln_f\.bias are",
    ),
    "too large for fp32": (
        weights(ln_f__bias=torch.full((4,), 1e300, dtype=torch.float64)),
        r"4 of the 4 numbers in",
    ),
    "integers": (
        weights(ln_f__bias=torch.ones(4, dtype=torch.int64)),
        r"ln_f\.bias holds torch\.int64, which are not weights",
    ),
    "a name with an escape": (
        weights(**{"\x1b[2J": torch.ones(1)}),
        r"name of a tensor, '\\x1b\[2J', has characters",
    ),
    "an old and a new name": (
        weights(ln_f__gamma=torch.ones(4)),
        r"theirs: has both ln_f\.(weight|gamma) and ln_f\.(weight|gamma), where both are one",
    ),
    "no words": (weights(wte__weight=None), r"not a complete gpt2: it lacks the embedding .*wte\.weight"),
    "words in one row": (
        weights(wte__weight=torch.ones(32)),
        r"not a complete gpt2: it lacks the embedding .*wte\.weight",
    ),
    "no places": (weights(wpe__weight=None), r"not a complete gpt2: it lacks backbone\.positions\.weight"),
    "a layer more": (
        weights(h__1__ln_1__weight=torch.ones(4)),
        r"config\.json: says 1 layer, but the weights hold 2",
    ),
    "layer number 999999999": (weights(h__999999999__ln_1__weight=torch.ones(4)), r"the weights hold 1,000,000,000"),
    "a pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        r"pytorch_model\.bin: is a pickle, which can run any code",
    ),
    "weights a link outside": (link("model.safetensors", "/dev/zero"), r"has no model\.safetensors and no"),
    "weights a link to another": (
        link("model.safetensors", "../outside.safetensors"),
        r"a link that leads out",
    ),
    # the index
    "index a list": (text("model.safetensors.index.json", "[]"), r"index\.json: is a list, not an object"),
    "no weight map": (text("model.safetensors.index.json", "{}"), r"index\.json: has no 'weight_map'"),
    "weight map a list": (index([]), r"'weight_map' is a list, not an object"),
    "files a list": (index({"wte.weight": ["model.safetensors"]}), r"'weight_map\.wte\.weight' is a list, not a text"),
    "files null": (index({"wte.weight": None}), r"'weight_map\.wte\.weight' is None, not a text"),
    "a file above": (
        index({"wte.weight": "../outside.safetensors"}),
        r"names \.\./outside\.safetensors, which is",
    ),
    "a file at the root": (index({"wte.weight": "/etc/passwd"}), r"names /etc/passwd, which is not in the folder"),
    "a file with a null byte": (index({"wte.weight": "a\0b"}), r"names 'a\\x00b', which is not in the folder"),
    "a file with an escape": (index({"wte.weight": "\x1b[2J"}), r"names '\\x1b\[2J', which is not in the folder"),
    "a tensor that is not there": (index({"wte.bias": "model.safetensors"}), r"safetensors: lacks wte\.bias"),
    "index of nothing": (index({}), r"not a complete gpt2: it lacks the embedding .*wte\.weight"),
    # the tokenizer
    "tokenizer no JSON": (text("tokenizer.json", "{"), r"tokenizer\.json:1: not valid JSON"),
    "tokenizer a list": (text("tokenizer.json", "[]"), r"tokenizer\.json: is a list, not an object"),
    "tokenizer without model": (tokenizer("model", None), r"tokenizer\.json: 'model' is None, not an object"),
    "vocabulary a number": (tokenizer("model.vocab", 3), r"'model\.vocab' is 3, not an object"),
    "an id of 2**31": (
        tokenizer("model.vocab.cat", 2**31),
        r"the token 'cat' has the id 2147483648, though there are only 8 tokens",
    ),
    "an id below zero": (tokenizer("model.vocab.cat", -1), r"'model\.vocab\.cat' is -1, not an integer of at least 0"),
    "an id twice": (tokenizer("model.vocab.cat", 4), r"the tokens 'cat' and 'sat' both have the id 4"),
    "an id a text": (tokenizer("model.vocab.cat", "3"), r"'model\.vocab\.cat' is '3', not an integer"),
    "pieces no pairs": (
        tokenizer("model.vocab", [["a", 0.0], 3]),
        r"entry 1 of 'model\.vocab' is not a \[text, score\] pair",
    ),
    "an added id of 2**31": (
        tokenizer("added_tokens", added(id=2**31)),
        r"added token '<x>' has the id 2147483648",
    ),
    "an added id of another": (tokenizer("added_tokens", added(id=3)), r"the added token '<x>' has the id 3, but"),
    "an added token of nothing": (tokenizer("added_tokens", added(content="")), r"the added token '' has the id 8"),
    "added tokens a text": (tokenizer("added_tokens", "x"), r"'added_tokens' is 'x', not a list"),
    "more tokens than rows": (tokenizer("added_tokens", added()), r"has 9 tokens, the weights rows for only 8"),
    "no unknown word": (tokenizer("model.unk_token", "[NONE]"), r"says 'WordLevel error: Missing \[UNK\] token"),
    "no boundary": (
        text("tokenizer.json", json.dumps(TOKENIZER).replace("<|endoftext|>", "x").replace("<unk>", "y")),
        r"theirs/tokenizer\.json: has no token to separate documents",
    ),
    "a regex that is none": (
        tokenizer("pre_tokenizer", SPLIT | {"pattern": {"Regex": "(("}}),
        r"the tokenizers library says 'Oniguruma error",
    ),
    "a regex without end": (
        tokenizer("pre_tokenizer", SPLIT | {"pattern": {"Regex": "(a+)+$"}}),
        r"the tokenizers library breaks down over it",
    ),
    "a table of nonsense": (
        tokenizer("normalizer", {"type": "Precompiled", "precompiled_charsmap": "//////////8="}),
        r"the tokenizers library (breaks down over it|says)",
    ),
    "text that grows without end": (
        tokenizer(
            "normalizer",
            {
                "type": "Sequence",
                "normalizers": 4 * [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}],
            },
        ),
        r"the tokenizers library breaks down over it|takes the tokenizers library too long",
    ),
    "pieces of length zero": (
        tokenizer("pre_tokenizer", {"type": "FixedLength", "length": 0}),
        r"the tokenizers library breaks down over it",
    ),
    # its older files
    "vocab.txt without unknown": (
        slow({"vocab.txt": "a\nb\n"}),
        r"vocab\.txt: lacks the unknown token '\[UNK\]'",
    ),
    "vocab.txt no UTF-8": (
        lambda folder: slow({"vocab.txt": ""})(folder) or (folder / "vocab.txt").write_bytes(b"a\n\xff"),
        r"vocab\.txt:2: not UTF-8",
    ),
    "vocab.txt a link outside": (
        lambda folder: (slow({})(folder), link("vocab.txt", "../secret")(folder)),
        r"vocab\.txt: a link that leads out of the folder",
    ),
    "vocab.txt of boundless length": (
        lambda folder: (slow({"vocab.txt": PIECES})(folder), os.truncate(folder / "vocab.txt", 2**40)),
        r"vocab\.txt: larger than 67,108,864 bytes",
    ),
    "one tensor of a terabyte": (
        sparse("model.safetensors", 1 << 40),
        r"safetensors: its 1,099,5\d\d,\d{3},\d{3} bytes cannot be mapped into memory; use a machine with more memory",
    ),
    "lowering a text": (
        slow({"vocab.txt": PIECES, "tokenizer_config.json": '{"do_lower_case": "no"}'}),
        r"tokenizer_config\.json: 'do_lower_case' is 'no', not true or false",
    ),
    "vocab.json a list": (slow(PAIRS | {"vocab.json": "[]"}), r"vocab\.json: is a list, not an object"),
    "vocab.json with a gap": (
        slow(PAIRS | {"vocab.json": '{"a": 0, "b": 2}'}),
        r"json: the token 'b' has the id 2",
    ),
    "merges of one": (slow(PAIRS | {"merges.txt": "ab\n"}), r"merges\.txt:1: 'ab' is not a pair of tokens"),
    "merges of unknown": (
        slow(PAIRS | {"merges.txt": "a c\n"}),
        r"merges\.txt: does not fit vocab\.json: .*`c`",
    ),
    "added_tokens.json with a gap": (
        slow(PAIRS | {"added_tokens.json": '{"covid19": 40}'}),
        r"the added token 'covid19' has the id 40, but its place is 4; give added tokens the ids after",
    ),
    "added_tokens.json of lists": (slow(PAIRS | {"added_tokens.json": '{"x": [4]}'}), r"'x' is a list, not an integer"),
    "added_tokens_decoder of nonsense": (
        slow(PAIRS | {"tokenizer_config.json": '{"added_tokens_decoder": {"four": {"content": "x"}}}'}),
        r"'added_tokens_decoder' has 'four' for an id",
    ),
}


def test_the_folder_that_is_harmed_is_a_good_one(folder: Path, tmp_path: Path) -> None:
    told = import_path(folder, tmp_path / "run", "python-docs", None)
    assert told["missing"] == told["surplus"] == [] and told["tokenizer"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_ends_in_one_line(name: str, folder: Path, tmp_path: Path) -> None:
    harm, told = HOSTILE[name]
    (tmp_path / "elsewhere.json").write_text(json.dumps(CONFIG))
    (tmp_path / "secret").write_text(PIECES)
    save_file(tensors(), tmp_path / "outside.safetensors")
    harm(folder)
    begin = sum(os.times()[:4])
    with pytest.raises(ConfigError, match=told) as raised:
        import_path(folder, tmp_path / "run", "python-docs", None)
    assert sum(os.times()[:4]) - begin < 10  # of processors, ours and those of children
    assert str(raised.value).isprintable() and len(str(raised.value)) < 500 + len(str(folder))
    assert str(raised.value.file).startswith(str(folder)) and str(folder) not in raised.value.what
    assert not (tmp_path / "run").exists()


MEMORY = """
import resource, sys
from pathlib import Path
from foretell.tools.use.convert import import_path
for path in sys.argv[1:]:
    try:
        import_path(Path(path), Path(path).with_suffix(".run"), "python-docs", None)
    except ValueError as problem:
        print(problem)
status = Path("/proc/self/status").read_text()
own = int(status.partition("VmHWM:")[2].split()[0])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded(folder: Path, tmp_path: Path) -> None:
    names = ["huge vocabulary", "many layers", "huge width", "huge inner width"]
    paths = [tmp_path / name.replace(" ", "-") for name in names]
    for name, path in zip(names, paths, strict=True):
        shutil.copytree(folder, path)
        HOSTILE[name][0](path)
    # the peak is that of /proc, as ru_maxrss begins with the size of the process that starts it
    command = [sys.executable, "-P", "-c", MEMORY, *map(str, paths)]
    *problems, kibibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(problems) == len(names) and int(kibibytes) < 2 << 20


def test_links_as_the_cache_of_the_hub_has_them(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x--y" / "snapshots" / "0123", tmp_path / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / f"{number}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert import_path(snapshot, tmp_path / "run", "python-docs", None)["tokenizer"]
