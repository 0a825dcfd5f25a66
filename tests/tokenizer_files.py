"""Tokenizer files that are almost our own: each kind with one thing changed, as the library writes it."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from foretell.data.text_files import split_pieces
from foretell.data.tokenizers import kinds
from foretell.data.tokenizers import tokenizer as ours
from foretell.data.tokenizers.foreign import failing
from foretell.data.tokenizers.tokenizer import wrap
from foretell.errors import ConfigError

Description = dict[str, Any]
Change = Callable[[Description], None]

LINES = "The cat sat  on a mat .\na dog\tab abab\n\n <unk> <mask> [MASK] the the\nab abab é日😀▁Ġ##s\r\n"
TRAINING = split_pieces(LINES * 4)
PADDED = [" the cat sat \n", " \n", " a dog <unk> <mask> \n"]
OWN: dict[str, ours.Tokenizer] = {
    "bpe": kinds.BPEConfig(size=290, specials="roberta").train(TRAINING),
    "byte": kinds.ByteConfig(specials="bert").train([]),
    "plain byte": kinds.ByteConfig().train([]),
    "character": kinds.CharacterConfig(specials="bert").train(TRAINING),
    "word": kinds.WordConfig(specials="roberta").train(TRAINING),
    "padded": kinds.WordConfig().train(PADDED),
    "wordpiece": kinds.WordPieceConfig(size=90, specials="bert").train(TRAINING),
    "lower wordpiece": kinds.WordPieceConfig(size=90, lowercase=True).train(TRAINING),
    "unigram": kinds.UnigramConfig(size=80, specials="bert").train(TRAINING),
    "lower unigram": kinds.UnigramConfig(size=80, lowercase=True).train(TRAINING),
}
# --- changes to a description -----------------------------------------------------------------------


def part(name: str, made: Any) -> Change:
    """One part of the description is replaced by what the library made."""
    library = Tokenizer(models.BPE())
    setattr(library, name, made)
    described = json.loads(library.to_str())[name]
    return lambda description: description.update({name: described})


def model(**changed: Any) -> Change:
    """Settings of the model."""
    return lambda description: description["model"].update(changed)


def top(**changed: Any) -> Change:
    """Settings of the tokenizer."""
    return lambda description: description.update(changed)


def added(content: str, *, special: bool = False, **flags: bool) -> Change:
    """A token is added, with the id of the vocabulary where it has it."""

    def change(description: Description) -> None:
        library = Tokenizer.from_str(json.dumps(description))
        token = AddedToken(content, special=special, **flags)
        (library.add_special_tokens if special else library.add_tokens)([token])
        description.clear()
        description.update(json.loads(library.to_str()))

    return change


def not_special(description: Description) -> None:
    """All added tokens are looked for in the text."""
    for token in description["added_tokens"]:
        token["special"] = False


def none_added(description: Description) -> None:
    """No token is added."""
    description["added_tokens"] = []


def normalized_after(made: Any) -> Change:
    """One more normalizer behind those that there are."""
    other = part("normalizer", made)

    def change(description: Description) -> None:
        before = description["normalizer"]
        other(description)
        if before is not None:
            inner = before["normalizers"] if before["type"] == "Sequence" else [before]
            description["normalizer"] = {"type": "Sequence", "normalizers": [*inner, description["normalizer"]]}

    return change


def less_normalized(index: int) -> Change:
    """One normalizer of a sequence less."""

    def change(description: Description) -> None:
        description["normalizer"]["normalizers"].pop(index)

    return change


def vocabulary(change: Callable[[list[str]], None]) -> Change:
    """The tokens of a vocabulary in another order, or others; added tokens get the ids that follow."""

    def changed(description: Description) -> None:
        model, tokens = description["model"], description["added_tokens"]
        if isinstance(model["vocab"], list):
            spelled = [piece for piece, _ in model["vocab"]]
            change(spelled)
            scores = dict(map(tuple, model["vocab"]))
            model["vocab"] = [[piece, scores.get(piece, -9.0)] for piece in spelled]
        else:
            spelled = sorted(model["vocab"], key=model["vocab"].__getitem__)
            change(spelled)
            model["vocab"] = {token: i for i, token in enumerate(spelled)}
        ids = {token: i for i, token in enumerate(spelled)}
        for token in tokens:
            token["id"] = ids.setdefault(token["content"], len(ids))
        tokens.sort(key=lambda token: int(token["id"]))

    return changed


def swap(tokens: list[str]) -> None:
    a, b = tokens.index("a"), tokens.index("cat" if "cat" in tokens else "b")
    tokens[a], tokens[b] = tokens[b], tokens[a]


def first_last(tokens: list[str]) -> None:
    tokens.append(tokens.pop(0))


def merged(description: Description) -> None:
    """`ab` and `abab` are merged, of which the latter is also a special token."""
    names = ["ab", "abab"]
    vocabulary(lambda tokens: tokens.extend(name for name in names if name not in tokens))(description)
    description["model"]["merges"] = [["a", "b"], ["ab", "ab"]]
    added("abab", special=True)(description)


def without_boundary(description: Description) -> None:
    """The vocabulary has the boundary under a name of others."""
    text = json.dumps(description).replace("<|endofdoc|>", "</s>")
    description.clear()
    description.update(json.loads(text))


def template(single: str) -> Change:
    """What is put around a text."""
    marks = [("[UNK]", 0)]
    return part("post_processor", processors.TemplateProcessing(single=single, special_tokens=marks))


# `ab` alone is a newline, before anything else itself
LINE_WITHIN = decoders.Sequence(
    [decoders.Replace("ab", "\n"), decoders.Fuse(), decoders.Replace(Regex(r"^\n(?=.)"), "ab")]
)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
CUT = {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
PAD = {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 3, "pad_type_id": 0}
CHANGES: dict[str, Change] = {
    "as it is": lambda description: None,
    **{
        f"normalizer {type(made).__name__}": normalized_after(made)
        for made in (
            normalizers.Lowercase(),
            normalizers.NFKC(),
            normalizers.NFD(),
            normalizers.Strip(),
            normalizers.StripAccents(),
            normalizers.Nmt(),
            normalizers.Prepend("▁"),
            normalizers.Replace(" ", "▁"),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.BertNormalizer(),
            normalizers.ByteLevel(),
            normalizers.Sequence([]),
        )
    },
    "normalizer Replace of a word": normalized_after(normalizers.Replace("cat", "dog")),
    "no normalizer": top(normalizer=None),
    **{f"less normalizer {index}": less_normalized(index) for index in range(3)},
    **{
        f"pre-tokenizer {number}": part("pre_tokenizer", made)
        for number, made in enumerate(
            [
                pre_tokenizers.ByteLevel(add_prefix_space=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                BYTES,
                pre_tokenizers.Whitespace(),
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.BertPreTokenizer(),
                pre_tokenizers.Metaspace(prepend_scheme="always"),
                pre_tokenizers.Metaspace(prepend_scheme="first"),
                pre_tokenizers.Metaspace(prepend_scheme="never"),
                pre_tokenizers.Split(Regex(".."), "isolated"),
                pre_tokenizers.Split(Regex("."), "isolated"),
                pre_tokenizers.Split(Regex(r"[\s\S]"), "removed"),
                pre_tokenizers.Split(Regex(r"[\s\S]"), "merged_with_next"),
                pre_tokenizers.Split(Regex(r"[\s\S]"), "contiguous"),
                pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated", invert=True),
                pre_tokenizers.Split(" ", "isolated"),
                pre_tokenizers.Punctuation("removed"),
                pre_tokenizers.CharDelimiterSplit("a"),
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.UnicodeScripts(),
                pre_tokenizers.Sequence([]),
                pre_tokenizers.Sequence([BYTES]),
                pre_tokenizers.Sequence([BYTES, BYTES]),
                pre_tokenizers.Sequence([BYTES, pre_tokenizers.Split("a", "removed")]),
                pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\b"), "isolated"), BYTES]),
                pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"x*"), "merged_with_previous"), BYTES]),
                pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.Digits(), BYTES]),
                pre_tokenizers.Sequence([pre_tokenizers.Punctuation("removed"), BYTES]),
                pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]),
            ]
        )
    },
    "no pre-tokenizer": top(pre_tokenizer=None),
    **{
        f"decoder {number}": part("decoder", made)
        for number, made in enumerate(
            [
                decoders.ByteLevel(),
                decoders.Fuse(),
                decoders.ByteFallback(),
                decoders.BPEDecoder(),
                decoders.CTC(),
                decoders.Metaspace(),
                decoders.Metaspace(prepend_scheme="never"),
                decoders.WordPiece(),
                decoders.WordPiece(cleanup=False),
                decoders.WordPiece(prefix="a", cleanup=False),
                decoders.Replace("a", "b"),
                decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
                decoders.Sequence([decoders.Fuse(), decoders.Replace("dog", "\n")]),
                decoders.Sequence([decoders.Replace(Regex("$"), " "), decoders.Fuse()]),
                LINE_WITHIN,
            ]
        )
    },
    "no decoder": top(decoder=None),
    "post-processor twice": template("$A $A"),
    "post-processor nothing": template("[UNK]"),
    "post-processor template": template("[UNK] $A [UNK]"),
    "post-processor bytes": part("post_processor", processors.ByteLevel(trim_offsets=True)),
    "post-processor bert": part("post_processor", processors.BertProcessing(("[UNK]", 0), ("[UNK]", 0))),
    "post-processor roberta": part("post_processor", processors.RobertaProcessing(("[UNK]", 0), ("[UNK]", 0))),
    "post-processors": part(
        "post_processor",
        processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="$A $A", special_tokens=[])]),
    ),
    "truncation": top(truncation=CUT),
    "padding": top(padding=PAD | {"pad_token": "[PAD]"}),
    **{
        f"{'special' if special else 'added'} {content!r} {' '.join(flags)}": added(content, special=special, **flags)
        for special in (False, True)
        for content in (
            "the",
            "cat",
            "a",
            "ab",
            "é",
            "Ġ",
            "▁",
            "\n",
            " ",
            "[x]",
            "</s>",
            "the cat",
            "☃",
            "<mask>",
            "<|endofdoc|>",
        )
        for flags in ({}, {"lstrip": True, "rstrip": True}, {"single_word": True}, {"normalized": False})
    },
    "none added": none_added,
    "not special": not_special,
    "not special and no boundary": lambda description: (without_boundary(description), not_special(description))[0],
    "none added and no boundary": lambda description: (without_boundary(description), none_added(description))[0],
    "boundary of others": without_boundary,
    "unknown is another": model(unk_token="a"),
    "unknown is missing": model(unk_token="[none]"),
    "no unknown": model(unk_token=None),
    "unknown id": model(unk_id=5),
    "no unknown id": model(unk_id=None),
    "byte fallback": model(byte_fallback=True),
    "fused unknown": model(fuse_unk=True),
    "ignored merges": model(ignore_merges=True),
    "dropout": model(dropout=0.5),
    "prefix of pieces": model(continuing_subword_prefix="a"),
    "empty prefix of pieces": model(continuing_subword_prefix=""),
    "suffix of words": model(end_of_word_suffix="</w>"),
    "short words": model(max_input_chars_per_word=2),
    "swapped ids": vocabulary(swap),
    "boundary last": vocabulary(first_last),
    "reversed ids": vocabulary(lambda tokens: tokens.reverse()),
    "longer tokens": vocabulary(lambda tokens: tokens.extend(["the cat", "é日", "##x"])),
    "token at the front": vocabulary(lambda tokens: tokens.insert(0, "the-first")),
    "one token less": vocabulary(lambda tokens: tokens.pop()),
    "merges": merged,
    "merges ignored": lambda description: (merged(description), model(ignore_merges=True)(description))[0],
    "no merges": model(merges=[]),
}


def variants(kind: str) -> Iterator[tuple[str, str]]:
    """The changes of a kind that the library and the reader take, and the file."""
    for name, change in CHANGES.items():
        description = json.loads(OWN[kind].library.to_str())
        try:
            change(description)
            text = json.dumps(description)
            with failing("not a tokenizer"):
                wrap(Tokenizer.from_str(text))
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
            continue  # a change of another kind, or a vocabulary without a boundary
        yield name, text


@cache
def files(kind: str) -> dict[str, str]:
    return dict(variants(kind))


@cache
def made(kind: str, name: str) -> tuple[ours.Tokenizer, Tokenizer]:
    """What we read, and what the library does."""
    text = files(kind)[name]
    bare = Tokenizer.from_str(text)
    bare.no_truncation()
    bare.no_padding()
    bare.encode_special_tokens = True
    if getattr(bare.model, "dropout", None):
        bare.model.dropout = None
    return wrap(Tokenizer.from_str(text)), bare
