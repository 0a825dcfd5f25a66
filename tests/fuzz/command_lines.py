"""Command lines: verbs with options and values that fit or do not, by what the command line itself declares."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from fuzz.cases import Case
from fuzz.mutate import Draw
from fuzz.seeds import RUNS
from hypothesis import strategies as st

LONG = ("bench", "demo", "race", "transfer", "train", "find-lr", "probe", "compare")
"""verbs that take long, or start processes, when all is right"""
PATHS = [
    "run",
    "other",
    "short.txt",
    "nothing",
    ".",
    "/",
    "run/recipe.toml",
    "run/checkpoints",
    "-",
    "",
    "/dev/null",
    "~",
]
WORDS = [
    "lstm",
    "recipes",
    "ngram-5",
    "mean",
    "lines",
    "data",
    "best",
    "last",
    "valid",
    "test",
    "arpa",
    "hf",
    "reviews",
]
WORDS += [
    "model.layers=2",
    "data=3",
    "x=[[[",
    "kind=.x:y",
    "=",
    "a=b=c",
    "limit=1steps",
    "cache.window=3",
    "dynamic.rate=x",
]
WORDS += [
    "\x1b[31m",
    "a\nb",
    "é",
    "\udce9",
    "\x00"[:0],
    "x" * 5000,
    "--",
    "-1",
    "1e400",
    "[bold]",
    "[/]",
    "{",
    "%s",
    "*",
]
NUMBERS = ["0", "1", "2", "3", "-1", "-5", "0.5", "1.5", "nan", "inf", "-inf", "1e-39", "1e400", "99999999999999999999"]
NUMBERS += ["1,2,-1", "0.7,0.3", "all", "", "x", "\u0661", "0x10", "1_000", "cpu", "cuda", "cuda:7", "lstm", "meta"]


class Parameter(NamedTuple):
    """An argument (without options) or an option of a verb."""

    name: str
    options: tuple[str, ...]
    types: tuple[Any, ...]
    required: bool
    several: bool
    choices: tuple[str, ...]


@functools.cache
def verbs() -> dict[str, list[Parameter]]:
    """The parameters of each verb, as its function declares them."""
    from foretell.cli import VERBS

    found = {name: verb for panel in VERBS.values() for name, verb in panel.items()}
    named = {name: parameters(verb) for name, verb in sorted(found.items())}
    return {name: [one for one in some if one.name != "debug"] for name, some in named.items()}  # it prints tracebacks


def parameters(verb: Callable[..., None]) -> Iterator[Parameter]:
    """Those of a function."""
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        annotation, info = get_args(hints[name])[:2]
        types = tuple(flat(annotation))
        choices = tuple(choice for kind in types if get_origin(kind) is Literal for choice in get_args(kind))
        spelled = tuple(part for word in getattr(info, "param_decls", None) or () for part in word.split("/"))
        if "Option" in type(info).__name__:
            spelled = spelled or (f"--{name.replace('_', '-')}",)
        several = any(get_origin(kind) is list for kind in (annotation, *get_args(annotation)))
        required = parameter.default is inspect.Parameter.empty
        yield Parameter(
            name, tuple(word for word in spelled if word.startswith("-")), types, required, several, choices
        )


def flat(annotation: Any) -> Iterator[Any]:
    """The types in a union or a list."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from flat(inner)


@st.composite
def command_lines(draw: Draw, seeds: Path) -> Case:
    """A verb with some of its arguments and options, and now and then those of another."""
    verb = draw(st.sampled_from(sorted(verbs())))
    base = f"runs/{draw(st.sampled_from(RUNS))}"
    words = [verb]
    for parameter in verbs()[verb]:
        if not parameter.options:
            count = draw(st.integers(0, 2)) if parameter.several else draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
            first = ["run"] * 20 if parameter.name == "run" else ["short.txt"] * 10
            words += [draw(st.sampled_from([*first, *PATHS, *WORDS])) for _ in range(count)]
        elif parameter.required or draw(st.integers(0, 4)) == 0:
            words += option(draw, parameter)
    if draw(st.integers(0, 15)) == 0:
        other = draw(st.sampled_from(sorted(verbs())))
        words += option(draw, draw(st.sampled_from(verbs()[other])))
    if verb in LONG and "--help" not in words:
        words.append(draw(st.sampled_from(["--help", "--no-such-option", "--device=nowhere", "--json=3"])))
    stdin = draw(
        st.sampled_from([b"", b"the cat\n", b"\xff\xfe\x00", b"a\tb\tc\n", b"1\t2\tthe cat\n", b"\xed\xa0\x80\n"])
    )
    return Case(" ".join(words)[:80], (tuple(words),), base, stdin=stdin, well_formed="--no-such-option" not in words)


def option(draw: Draw, parameter: Parameter) -> list[str]:
    """An option with a value, if it takes one."""
    if not parameter.options:
        return [draw(st.sampled_from(WORDS))]
    spelled = draw(st.sampled_from(parameter.options))
    if bool in parameter.types:
        return [spelled]
    fitting = NUMBERS if {int, float} & set(parameter.types) else [*PATHS, *(WORDS if str in parameter.types else [])]
    return [spelled, draw(st.sampled_from([*parameter.choices * 9, *fitting]))]
