"""What the pages in docs/ do not say by hand: tables made from the code, each time the pages are built.

mkdocs calls `on_page_markdown` (see `hooks` in mkdocs.yml); a comment `<!-- made: recipes -->` alone on its line is
where one of the functions in `MADE` puts its Markdown.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from typer.models import ArgumentInfo, OptionInfo

from foretell.cli import VERBS
from foretell.config import configs_in
from foretell.evaluate.adaptation import AdaptationConfig
from foretell.models.ngram import NGramConfig
from foretell.models.recurrent import RecurrentConfig
from foretell.recipe.loading import find_recipe, load_recipe, recipe_names
from foretell.recipe.recipe import Recipe
from foretell.tools.look.show import Section, describe_kind, prose, sections

MARK = re.compile(r"^<!-- made: ([a-z]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with everything made in its place."""
    return MARK.sub(lambda found: MADE[found[1]](), markdown)


# --- recipes --------------------------------------------------------------------------------------


def recipes() -> str:
    """A table of the shipped recipes, and each file with what its comments say."""
    rows, files = [], []
    for name in recipe_names():
        recipe = load_recipe(name)
        tokenizer = recipe.data.tokenizer
        size = getattr(tokenizer, "size", None)
        tokens = f"{tokenizer.kind_name()}{f' {size:,}' if size else ''}"
        limit = "" if isinstance(recipe.model, NGramConfig) else str(recipe.limit)
        link = f"[{name}](#{name})"
        rows.append((link, recipe.data.corpus, tokens, shape(recipe), layers(recipe), limit))
        comment, rest = parted(name)
        files.append(f"## {name}\n\n{comment}\n\n```toml\n{rest}\n```")
    return "\n\n".join([table(("recipe", "corpus", "tokens", "model", "weights in layers", "limit"), rows), *files])


def parted(name: str) -> tuple[str, str]:
    """The comment a recipe begins with, as a paragraph, and the rest of its file."""
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines()
    comment = list(takewhile(lambda line: line.startswith("#"), lines))
    return plain(" ".join(line.lstrip("# ") for line in comment)), "\n".join(lines[len(comment) :]).strip()


def shape(recipe: Recipe) -> str:
    """A model in a few words."""
    model = recipe.model
    if isinstance(model, NGramConfig):
        return f"{model.order}-gram"
    if isinstance(model, RecurrentConfig):
        return f"{model.cell.kind_name()} {' - '.join(map(str, [model.embedding, *model.widths]))}"
    return f"{model.kind_name()} {model.layers} x {model.hidden}, context {model.context}"


def layers(recipe: Recipe) -> str:
    """How many weights the layers have; those of embedding and head depend on the vocabulary, so on the text."""
    if isinstance(recipe.model, NGramConfig):
        return ""
    with torch.device("meta"):
        backbone = recipe.model.build(vocabulary=2)
    return f"{sum(p.numel() for p in backbone.blocks.parameters()):,}"


# --- the command line -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a verb, read from the function that typer calls."""

    name: str
    annotation: Any
    info: ArgumentInfo | OptionInfo
    given: Any
    """its default; `inspect.Parameter.empty` where it has to be given"""

    @property
    def is_argument(self) -> bool:
        """Whether it is known by its place."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def metavar(self) -> str:
        """What stands for an argument in the usage line: in brackets where it can be left out."""
        word = self.info.metavar or self.name.upper()
        return word if self.given is inspect.Parameter.empty or word.startswith("[") else f"[{word}]"

    def spelled(self) -> str:
        """How it is written."""
        if self.is_argument:
            return f"`{self.metavar}`"
        dashed = self.name.replace("_", "-")
        flag = self.annotation is bool
        # note: typer keeps the first name `Option` is given as a default, for those who write it without Annotated
        names = [name for name in (self.info.default, *(self.info.param_decls or ())) if isinstance(name, str)]
        names = names or ([f"--{dashed}/--no-{dashed}"] if flag else [f"--{dashed}"])
        return ", ".join(f"`{name}`" for name in names) + ("" if flag else f" {plain(self.taken())}")

    def taken(self) -> str:
        """What an option takes."""
        types = [part for part in (*get_args(self.annotation), self.annotation) if part not in (type(None), None)]
        if get_origin(self.annotation) is Literal:
            return " or ".join(map(str, get_args(self.annotation)))
        words = {int: "number", float: "number", Path: "path"}
        return self.info.metavar or words.get(types[0], "text")

    def default(self) -> str:
        """What it is when it is not given."""
        if self.given is inspect.Parameter.empty:
            return "required"
        if self.given in (None, False):
            return ""
        return {sys.executable: "this one", True: "yes"}.get(self.given, f"`{self.given}`")


def commands() -> str:
    """Every verb: what it does, its arguments and its options."""
    pieces = []
    for panel, verbs in VERBS.items():
        pieces += [f"## {panel}", *(described(name, verb) for name, verb in verbs.items())]
    return "\n\n".join(pieces)


def described(name: str, verb: Callable[..., None]) -> str:
    """One verb."""
    takes = parameters(verb)
    usage = " ".join(["foretell", name, "[OPTIONS]", *(one.metavar for one in takes if one.is_argument)])
    rows = [(one.spelled(), plain(one.info.help or ""), one.default()) for one in takes]
    text = plain(inspect.getdoc(verb) or "")
    return f"### {name}\n\n{text}\n\n```text\n{usage}\n```\n\n{table(('', '', 'default'), rows)}"


def parameters(verb: Callable[..., None]) -> list[Parameter]:
    """What a verb takes, in order."""
    hints = get_type_hints(verb, include_extras=True)
    found = []
    for name, parameter in inspect.signature(verb).parameters.items():
        annotation, info = get_args(hints[name])
        found.append(Parameter(name, annotation, info, parameter.default))
    return found


# --- configuration --------------------------------------------------------------------------------


def configuration() -> str:
    """Every section of a recipe with its kinds and their settings."""
    own = [name for name, field in Recipe.model_fields.items() if not configs_in(field.annotation)]
    fields = [field for field in describe_kind(Section("", (Recipe,), False, None), Recipe)["fields"]]
    pieces = ["## At the top", settings(field for field in fields if field["name"] in own)]
    seen = set()
    for place in sections():
        title = f"## [{place.key}]"
        pieces += [] if title in seen else [title]
        seen.add(title)
        within = ", ".join(f"`{key}`" for key in flat(place.within))
        pieces += [f"Only with {within}."] if within else []
        one = len(place.members) == 1 and "kind" not in place.members[0].model_fields
        for member in place.members:
            shown = describe_kind(place, member)
            default = " (default)" if shown["kind"] == place.default else ""
            pieces += [prose(member)] if one else [f"### `{shown['kind']}`{default}", prose(member)]
            pieces.append(settings(shown["fields"]))
    return "\n\n".join(piece for piece in pieces if piece)


def adaptation() -> str:
    """The settings of `--adapt`."""
    pieces = []
    for name, field in AdaptationConfig.model_fields.items():
        (member,) = configs_in(field.annotation)
        shown = describe_kind(Section("", (member,), False, None), member)["fields"]
        pieces.append(settings({**field, "name": f"{name}.{field['name']}"} for field in shown))
    return "\n\n".join(pieces)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterable[str]:
    """Nested tables as `model.kind = "recurrent"`."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f'{prefix}{key} = "{value}"'


def settings(fields: Iterable[dict[str, str]]) -> str:
    """Settings with their types, defaults and meanings; nothing where there are none."""
    rows = [(f"`{f['name']}`", plain(f["type"]), f"`{f['default']}`", plain(f["text"])) for f in fields]
    return table(("setting", "type", "default", ""), rows) if rows else ""


# --- Markdown -------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text that means nothing to Markdown; code between backquotes stays code."""
    pieces = text.split("`")
    return "`".join(
        re.sub(r"([\\*_<>\[\]|])", r"\\\1", piece) if i % 2 == 0 else piece for i, piece in enumerate(pieces)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("\n", " ") for cell in line) + " |" for line in lines)


MADE = {"recipes": recipes, "commands": commands, "configuration": configuration, "adaptation": adaptation}
