"""The kinds of inputs that are tried, each a strategy of hypothesis that makes cases out of the seeds."""

from __future__ import annotations

import functools
import json
import tomllib
import zlib
from pathlib import Path
from typing import Any

import tomli_w
from fuzz import mutate
from fuzz.cases import Case, Content, Link
from fuzz.command_lines import command_lines
from fuzz.mutate import Draw
from fuzz.seeds import EVALUATE, FILES, RECIPES, RESUME, RUNS, TRAIN_ON_STORE, train_recipe, train_task, whole_corpus
from hypothesis import strategies as st

from foretell.checksums import OWN, sealed

Cases = st.SearchStrategy[Case]


# --- recipes --------------------------------------------------------------------------------------


def stays(place: mutate.Path) -> bool:
    """What would make a training long, or is given on the command line; torch.compile takes over a minute."""
    long = (("data",), ("data", "corpus"), ("model",), ("training", "compile"))
    return place[0] in ("limit", "name") or place in long


@functools.cache
def whole_recipe(seeds: Path, name: str) -> Any:
    """A recipe with all its defaults."""
    from foretell.recipe.loading import load_recipe

    return load_recipe(seeds / "recipes" / f"{name}.toml").tree()


@st.composite
def recipes(draw: Draw, seeds: Path) -> Case:
    """Recipes with one setting changed, as a file or on the command line; or changed as text, meaning the same."""
    name = draw(st.sampled_from([*RECIPES, "ngram"]))
    file = f"{name}.toml"
    stored = (seeds / "recipes" / file).read_bytes()
    way = draw(st.sampled_from(["setting"] * 5 + ["override"] * 4 + ["show", "bytes", "same"]))
    show = ("show", file)
    if way == "same":
        change = draw(
            st.sampled_from([mutate.with_mark, mutate.with_crlf, mutate.without_end, mutate.with_blank_lines])
        )
        files: dict[str, Content] = {file: change(stored)}
        return Case(change.__name__, (train_recipe(name),), "recipes", files, same_as=f"train {name}")
    if way == "bytes":
        how, data = draw(mutate.damaged(stored))
        return Case(f"{file} {how}", (show,), "recipes", {file: data}, well_formed=False)
    how, tree = draw(mutate.changed(whole_recipe(seeds, name), stays))
    if mutate.has_none(tree) or way == "override":
        override = draw(overrides(whole_recipe(seeds, name)))
        command = train_recipe(name, override) if way != "show" else (*show, override)
        return Case(override[:80], (command,), "recipes")
    try:
        data = tomli_w.dumps(tree).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
        data = b"model = 3\n"
    return Case(how, (show if way == "show" else train_recipe(name),), "recipes", {file: data})


@st.composite
def overrides(draw: Draw, tree: Any) -> str:
    """`model.layers=3`, with a value that fits or does not."""
    place = draw(st.sampled_from([place for place in mutate.places(tree) if not stays(place)]))
    key = ".".join(map(str, place))
    key = draw(st.sampled_from([key] * 12 + [key + "s", key + ".x", key[:-1], f"{key}.", f".{key}", "a." * 500 + "b"]))
    value = draw(mutate.near(mutate.at(tree, place)) | mutate.values)
    text = draw(st.sampled_from([str(value), json.dumps(value, default=str), "[" * 300, "{", '"a', "'"]))
    return f"{key}={text}"


# --- labelled data --------------------------------------------------------------------------------


@functools.cache
def labelled_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, by column."""
    lines = path.read_text().splitlines()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in lines]
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


@st.composite
def labelled(draw: Draw, seeds: Path) -> Case:
    """Labelled files of all kinds, changed, and packed and written in ways that mean the same."""
    task = draw(st.sampled_from(list(FILES)))
    file, base = FILES[task], f"labelled/{task}"
    stored = (seeds / base / file).read_bytes()
    way = draw(st.sampled_from(["same", "same", "bytes", "reader", *["rows"] * 6]))
    if way == "reader":
        return draw(readers(seeds, task))
    if way == "same":
        how, name, data = draw(same_labelled(task, file, stored))
        return Case(how, (on(task, name),), base, {name: data}, same_as=f"train {task}")
    skip = ("--skip-bad",) * draw(st.booleans())
    if way == "bytes":
        how, data = draw(mutate.damaged(stored))
        return Case(f"{file} {how}", ((*on(task, file), *skip),), base, {file: data}, well_formed=False)
    how, data = draw(changed_rows(file, stored, (seeds / base / file)))
    return Case(f"{file}: {how}", ((*on(task, file), *skip),), base, {file: data})


def on(task: str, path: str) -> tuple[str, ...]:
    """Train a task on this file."""
    return tuple(whole_corpus(path) if word.startswith("data.corpus") else word for word in train_task(task))


@st.composite
def changed_rows(draw: Draw, file: str, stored: bytes, path: Path) -> tuple[str, bytes]:
    """A file of the same form with something else in it."""
    if file.endswith(".json"):
        how, tree = draw(mutate.changed(json.loads(stored)))
        return how, mutate.as_json(tree)
    if file.endswith(".jsonl"):
        rows = labelled_rows(path)
        how, tree = draw(mutate.changed(rows))
        return how, b"".join(mutate.as_json(row) + b"\n" for row in tree)
    how, text = draw(mutate.edited(stored.decode(), "\t "))
    return how, mutate.encoded(text)


@st.composite
def same_labelled(draw: Draw, task: str, file: str, stored: bytes) -> tuple[str, str, bytes]:
    """A labelled file that means the same: how, its name, and what is in it."""
    ways = ["crlf", "mark", "end", "capitals", ".gz", ".xz", ".zst"]
    way = draw(st.sampled_from(ways))
    stem, _, ending = file.rpartition(".")
    if way in mutate.PACKED:
        return way, file + way, mutate.PACKED[way](stored)
    if way == "capitals":
        return way, f"{stem}.{ending.upper()}", stored
    change = {"crlf": mutate.with_crlf, "mark": mutate.with_mark, "end": mutate.without_end}[way]
    return way, file, change(stored)


@st.composite
def readers(draw: Draw, seeds: Path, task: str) -> Case:
    """Settings of readers that fit the file or do not."""
    recipe = tomllib.loads((seeds / "labelled" / task / "recipe.toml").read_text())
    kind = draw(st.sampled_from(["table", "options", "prefixed", "folders", "columns", "squad", "none"]))
    some = [
        "text",
        "label",
        "one",
        "",
        "utf-8",
        "latin-1",
        "utf-16",
        "nothing",
        "\t",
        ",",
        "iob1",
        "bioes",
        "io",
        0,
        -1,
    ]
    some += [
        ["text"],
        ["one", "two"],
        ["text", "text"],
        [],
        True,
        None,
        {"GOOD": "BAD"},
        "__label__",
        "several",
        "score",
    ]
    names = ["texts", "label", "labels", "separator", "names", "header", "quoting", "delimiter", "encoding", "columns"]
    names += ["mark", "several", "part", "scheme", "word", "tag", "skipped", "comment", "context", "options", "numbers"]
    settings = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(some), max_size=2))
    given = recipe["data"]["reader"] if draw(st.booleans()) else {"kind": kind}
    reader = {key: value for key, value in {**given, **settings}.items() if value is not None}
    data = tomli_w.dumps({**recipe, "data": {**recipe["data"], "reader": reader}}).encode()
    return Case(f"reader {reader}", (on(task, FILES[task]),), f"labelled/{task}", {"recipe.toml": data})


# --- texts ----------------------------------------------------------------------------------------


@st.composite
def texts(draw: Draw, seeds: Path) -> Case:
    """Corpora: text, JSON lines, tables, packed or not; damaged, edited, or meaning the same."""
    stored = (seeds / "text" / "train.txt").read_bytes()
    lines = stored.decode()
    way = draw(st.sampled_from(["same", "same", "bytes", "packed", "text", "jsonl", "jsonl", "parquet", "scored"]))
    jsonl = "".join(json.dumps({"text": line + "\n"}) + "\n" for line in lines.splitlines()).encode()
    prepare = ("--out", "store", "--tokenizer", draw(st.sampled_from(["word", "character", "byte"])), "--json")
    if way == "same":
        how, name, data = draw(same_text(stored))
        return Case(how, (train_on(name),), "recipes", {name: data}, same_as="train on train.txt")
    if way == "scored":
        how, text = draw(mutate.edited(lines[:300], " "))
        files: dict[str, Content] = {"t.txt": mutate.encoded(text)}
        verb = draw(st.sampled_from([("score",), ("features",), ("score", "--tokens"), ("evaluate", "--split")]))
        command = (verb[0], "run", *verb[1:], "t.txt", "--json")
        return Case(f"{' '.join(verb)}: {how}", (command,), f"runs/{draw(st.sampled_from(['lm', 'gpt']))}", files)
    if way == "text":
        how, text = draw(mutate.edited(lines, " "))
        data = mutate.encoded(text)
        return Case(how, (("prepare", "t.txt", *prepare),), "", {"t.txt": data})
    if way == "parquet":
        how, data = draw(mutate.damaged(parquet(lines)))
        return Case(f"parquet {how}", (("prepare", "t.parquet", *prepare),), "", {"t.parquet": data}, well_formed=False)
    if way == "jsonl":
        rows = [json.loads(line) for line in jsonl.splitlines()[:8]]
        how, tree = draw(mutate.changed(rows))
        data = b"".join(mutate.as_json(row) + b"\n" for row in tree)
        return Case(how, (("prepare", "t.jsonl", *prepare),), "", {"t.jsonl": data})
    name, data = draw(st.sampled_from([("t.txt", stored), ("t.jsonl", jsonl)]))
    if way == "packed":
        ending = draw(st.sampled_from(sorted(mutate.PACKED)))
        name, data = name + ending, mutate.PACKED[ending](data)
    how, data = draw(mutate.damaged(data))
    return Case(f"{name} {how}", (("prepare", name, *prepare),), "", {name: data}, well_formed=False)


def train_on(path: str) -> tuple[str, ...]:
    """Count n-grams of one file."""
    return train_recipe("ngram", whole_corpus(path))


@st.composite
def same_text(draw: Draw, stored: bytes) -> tuple[str, str, bytes]:
    """Text that means the same: how, its name, and what is in it."""
    way = draw(st.sampled_from(["mark", "capitals", *mutate.PACKED, "jsonl", "escaped", "parquet"]))
    if way in mutate.PACKED:
        return way, f"t.txt{way}", mutate.PACKED[way](stored)
    if way in ("jsonl", "escaped"):
        row = json.dumps({"text": stored.decode(), "more": 1})
        return way, "t.jsonl", (row if way == "jsonl" else row.replace("e", "\\u0065", 9)).encode() + b"\n"
    if way == "parquet":
        return way, "t.parquet", parquet(stored.decode(), whole=True)
    return (way, "t.TXT", stored) if way == "capitals" else (way, "t.txt", mutate.with_mark(stored))


def parquet(text: str, *, whole: bool = False) -> bytes:
    """A table with a column of texts."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    rows = [text] if whole else [line + "\n" for line in text.splitlines()]
    pyarrow.parquet.write_table(pyarrow.table({"text": rows}), sink)
    made: bytes = sink.getvalue().to_pybytes()
    return made


# --- ARPA files -----------------------------------------------------------------------------------

IMPORT_ARPA = ("import", "tri.arpa", "--out", "new", "--corpus", "short.txt", "--json")
SCORE = ("score", "new", "short.txt", "--json")


@st.composite
def arpa(draw: Draw, seeds: Path) -> Case:
    """ARPA files, edited, damaged, or written as other programs do."""
    stored = (seeds / "arpa" / "tri.arpa").read_bytes()
    way = draw(st.sampled_from(["same", "same", "bytes", *["edited"] * 5]))
    commands = (IMPORT_ARPA, SCORE)
    if way == "same":
        how, data = draw(same_arpa(stored))
        return Case(how, commands, "arpa", {"tri.arpa": data}, same_as="import arpa")
    if way == "bytes":
        how, data = draw(mutate.damaged(stored))
        return Case(how, commands, "arpa", {"tri.arpa": data}, well_formed=False)
    how, text = draw(mutate.edited(stored.decode(), "\t =-"))
    return Case(how, commands, "arpa", {"tri.arpa": mutate.encoded(text)})


@st.composite
def same_arpa(draw: Draw, stored: bytes) -> tuple[str, bytes]:
    """The same model: with blanks for tabs, Windows' ends of lines, words before the model, blanks at ends of lines."""
    ways = {
        "crlf": mutate.with_crlf(stored),
        "blanks for tabs": stored.replace(b"\t", b" "),
        "blanks at ends": stored.replace(b"\n", b" \n"),
        "a mark": mutate.with_mark(stored),
        "words before": b"This is a trigram model\n\n" + stored,
        "words behind": stored + b"\nend of the file\n",
        "blank lines": stored.replace(b"\n\\", b"\n\n\\"),
        "no last newline": mutate.without_end(stored),
    }
    way = draw(st.sampled_from(sorted(ways)))
    return way, ways[way]


# --- Hugging Face folders -------------------------------------------------------------------------

IMPORT_HF = ("import", "hf", "--out", "new", "--corpus", "short.txt", "--json")
FEATURES = ("features", "new", "short.txt", "--json")
JSON_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


@st.composite
def hugging_face(draw: Draw, seeds: Path) -> Case:
    """Folders of checkpoints with one file changed."""
    file = draw(
        st.sampled_from(
            ["config.json"] * 3
            + ["tokenizer.json"] * 3
            + ["tokenizer_config.json", "vocab.txt"]
            + ["model.safetensors"] * 3
            + ["same"]
        )
    )
    form = "hf-json" if file == "tokenizer.json" or draw(st.booleans()) else "hf"
    base, commands = form, (IMPORT_HF, FEATURES)
    if file == "same" or not (seeds / base / "hf" / file).exists():
        file = "vocab.txt" if form == "hf" else "config.json"
        how, change = draw(st.sampled_from([("crlf", mutate.with_crlf), ("mark", mutate.with_mark)]))
        data = change((seeds / base / "hf" / file).read_bytes())
        return Case(f"{file} {how}", commands, base, {f"hf/{file}": data}, same_as=f"import {form}")
    stored = (seeds / base / "hf" / file).read_bytes()
    way = draw(st.sampled_from(["bytes", *["structure"] * 4]))
    if way == "bytes":
        how, data = draw(mutate.damaged(stored))
        return Case(f"{file} {how}", commands, base, {f"hf/{file}": data}, well_formed=False)
    if file in JSON_FILES:
        how, tree = draw(mutate.changed(json.loads(stored)))
        data = mutate.as_json(tree)
    elif file == "vocab.txt":
        how, text = draw(mutate.edited(stored.decode(), "#"))
        data = mutate.encoded(text)
    else:
        size = int.from_bytes(stored[:8], "little")
        how, tree = draw(mutate.changed(json.loads(stored[8 : 8 + size])))
        header = mutate.as_json(tree)
        data = len(header).to_bytes(8, "little") + header + stored[8 + size :]
    return Case(f"{file}: {how}", commands, base, {f"hf/{file}": data})


# --- run folders ----------------------------------------------------------------------------------


@functools.cache
def files_of(run: Path) -> list[str]:
    """The files of a run by their paths in it."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


@st.composite
def run_folders(draw: Draw, seeds: Path) -> Case:
    """Runs with one file changed, damaged, missing, or another run's."""
    name = draw(st.sampled_from(RUNS))
    base = seeds / "runs" / name
    file = draw(st.sampled_from(files_of(base / "run")))
    stored = (base / "run" / file).read_bytes()
    same_as, command = draw(st.sampled_from([(f"evaluate {name}", EVALUATE), (f"resume {name}", RESUME)]))
    looking = [("show", "run"), ("doctor", "run"), ("runs", "."), ("plot", "run", "--out", "p.png")]
    looking += [("generate", "run", "--tokens", "3"), ("score", "run", "short.txt"), ("predict", "run", "short.txt")]
    looking += [
        ("features", "run", "short.txt"),
        ("export", "run", "--out", "x.arpa"),
        ("next", "run", "--prompt", "a"),
    ]
    if draw(st.integers(0, 3)) == 0:
        same_as, command = "", draw(st.sampled_from(looking))
    ways = [
        "bytes",
        "bytes",
        "missing",
        "other",
        "link",
        "copy",
        *["structure"] * 4 * file.endswith((".json", ".jsonl")),
    ]
    way = draw(st.sampled_from(ways))
    path = f"run/{file}"
    case = functools.partial(Case, commands=(command,), base=f"runs/{name}", same_as=same_as)
    named = {"damaged": path} if same_as else {}
    if way == "missing":
        return case(f"{path} missing", gone=(path,), **named)
    if way == "other":
        there = draw(st.sampled_from([f for f in files_of(base / "other") if Path(f).name == Path(file).name]))
        data = (base / "other" / there).read_bytes()
        return case(f"{path} of another run", files={path: data}, **(named if data != stored else {}))
    if way == "link":
        return case(f"{path} a link", files={path: Link(str(base / "other" / file))})
    if way == "copy":
        twin = draw(st.sampled_from([f"{path} (copy)", f"{path}~", f"run/.{Path(file).name}", "run/.DS_Store"]))
        return case(f"{twin} beside", files={twin: stored})
    if way == "structure":
        rows = [json.loads(line) for line in stored.splitlines()] if file.endswith(".jsonl") else json.loads(stored)
        if not rows:
            return case("nothing")
        how, tree = draw(mutate.changed(rows))
        lines = [mutate.as_json(row) for row in tree] if file.endswith(".jsonl") else [mutate.as_json(tree)]
        data = b"\n".join(lines) + b"\n"
        return case(f"{path}: {how}", files={path: data}, **(named if tree != rows else {}))
    how, data = draw(mutate.damaged(stored))
    return case(f"{path} {how}", files={path: data}, well_formed=file.endswith((".safetensors", ".npy")), **named)


# --- token stores ---------------------------------------------------------------------------------

UNCHECKED = ("corpus", "exact", "words", "unknown", "altered_lines", "replaced")
"""what `meta.json` says and nothing else in a store can contradict"""


@st.composite
def stores(draw: Draw, seeds: Path) -> Case:
    """Token stores with one file damaged, missing or another's, or changed by a sender, who makes checksums right."""
    base = seeds / "stores" / "store"
    arrays = [name for name in files_of(base) if name.endswith(".bin")]
    way = draw(st.sampled_from(["bytes", "missing", "other", "tokenizer", "array", *["meta"] * 5]))
    case = functools.partial(Case, commands=(TRAIN_ON_STORE,), base="stores")
    whole = functools.partial(case, same_as="train on a store")
    file = draw(st.sampled_from([*arrays, "tokenizer.json", *["meta.json"] * (way != "missing")]))
    path, stored = f"store/{file}", (base / file).read_bytes()
    meta = json.loads((base / "meta.json").read_bytes())
    if way == "bytes":
        how, data = draw(mutate.damaged(stored))
        return whole(f"{path} {how}", files={path: data}, well_formed=file.endswith(".bin"), damaged=path)
    if way == "missing":
        return whole(f"{path} missing", gone=(path,), damaged=path)
    if way == "tokenizer":
        path = "store/tokenizer.json"
        how, tree = draw(mutate.changed(json.loads((base / "tokenizer.json").read_bytes())))
        return whole(f"{path}: {how}", files={path: mutate.as_json(tree)}, damaged=path)
    if way == "meta":
        free = draw(st.booleans())
        how, tree = draw(mutate.changed(meta, lambda place: place[0] == OWN or (not free and place[-1] in UNCHECKED)))
        files = {"store/meta.json": mutate.as_json(sealed(tree))}
        return (case if free else whole)(f"meta.json, sealed: {how}", files=files)
    path = f"store/{draw(st.sampled_from(arrays))}"
    if way == "other":
        there = draw(st.sampled_from(arrays))
        data = (base / there).read_bytes()
        return whole(f"{path} is {there}", files={path: data}, damaged=path)
    how, data = draw(mutate.damaged((seeds / "stores" / path).read_bytes()))
    name = path.removeprefix("store/").removesuffix(".bin")
    tree = meta | {"sums": meta["sums"] | {name: f"{zlib.crc32(data):08x}-{len(data)}"}}
    files = {path: data, "store/meta.json": mutate.as_json(sealed(tree))}
    return case(f"{path}, sealed: {how}", files=files)


KINDS: dict[str, Any] = {
    "recipes": recipes,
    "labelled": labelled,
    "texts": texts,
    "arpa": arpa,
    "hugging-face": hugging_face,
    "runs": run_folders,
    "stores": stores,
    "command-lines": command_lines,
}
"""by name; each makes a strategy of cases out of the folder of the seeds"""
