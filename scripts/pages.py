"""Generate the tables of the pages in docs/ from the code whenever the pages are built.

mkdocs calls `on_page_markdown` (see `hooks` in mkdocs.yml). A comment `<!-- made: recipes -->` alone on its line is
replaced by the Markdown of a function in `MADE`; words after the name are its arguments.
"""

from __future__ import annotations

import inspect
import json
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
from foretell.config import Amount, configs_in
from foretell.evaluate.adaptation import AdaptationConfig
from foretell.models.context_mixing.model import ContextMixingConfig
from foretell.models.ngram import NGramConfig
from foretell.models.recurrent import RecurrentConfig
from foretell.models.unbounded_ngram.config import UnboundedNGramConfig
from foretell.recipe.files import find_recipe, recipe_names
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.tools.look.sections import Section, describe_kind, prose, sections

MARK = re.compile(r"^<!-- made: ([a-z]+)((?: [\w-]+)*) -->$", re.MULTILINE)
NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page by generated Markdown."""
    return MARK.sub(lambda mark: MADE[mark[1]](*mark[2].split()), markdown)


# --- recipes --------------------------------------------------------------------------------------


def recipes() -> str:
    """Table of the shipped recipes, then each file under its comment."""
    rows, files = [], []
    for name in recipe_names():
        recipe = load_recipe(name)
        tokenizer = recipe.data.tokenizer
        size = getattr(tokenizer, "size", None)
        tokens = f"{tokenizer.kind_name()}{f' {size:,}' if size else ''}"
        limit = "" if recipe.model.counted else amount(recipe.limit)
        link = f"[{name}](#{name.replace('.', '')})"  # headings lose their dots
        rows.append((link, recipe.data.corpus, tokens, shape(recipe), layers(recipe), limit))
        comment, rest = parted(name)
        files.append(f"## {name}\n\n{comment}\n\n```toml\n{rest}\n```")
    return "\n\n".join([table(("recipe", "corpus", "tokens", "model", "weights in layers", "limit"), rows), *files])


def parted(name: str) -> tuple[str, str]:
    """Split a recipe into its head comment, as a paragraph, and the rest of the file."""
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines()
    comment = list(takewhile(lambda line: line.startswith("#"), lines))
    return plain(" ".join(line.lstrip("# ") for line in comment)), "\n".join(lines[len(comment) :]).strip()


def shape(recipe: Recipe) -> str:
    """Describe a model in a few words."""
    model = recipe.model
    if isinstance(model, NGramConfig):
        return f"{model.order}-gram"
    if isinstance(model, ContextMixingConfig):
        return f"{len(model.contexts)} contexts, {len(model.mixers)} mixers"
    if isinstance(model, UnboundedNGramConfig):
        return "n-grams of any length"
    if isinstance(model, RecurrentConfig):
        return f"{model.cell.kind_name()} {' - '.join(map(str, [model.embedding_dim, *model.widths]))}"
    return f"{model.kind_name()} {model.layers} x {model.hidden}, context {model.context}"


def amount(limit: Amount) -> str:
    """A limit in words: `125,000 steps`, `20 minutes`."""
    value, unit = limit.value, limit.unit
    if unit == "seconds" and value % 60 == 0:
        value, unit = value / 60, "minutes"
    return f"{value:,g} {unit}" if value != 1 else f"1 {unit[:-1]}"


def layers(recipe: Recipe) -> str:
    """Number of weights in the layers; embedding and head depend on the vocabulary, so on the text."""
    if recipe.model.counted:
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
    fallback: Any
    """default; `inspect.Parameter.empty` if required"""

    @property
    def is_argument(self) -> bool:
        """Whether it is positional."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def metavar(self) -> str:
        """Name of an argument in the usage line, in brackets if optional."""
        word = self.info.metavar or self.name.upper()
        return word if self.fallback is inspect.Parameter.empty or word.startswith("[") else f"[{word}]"

    def spelled(self) -> str:
        """Spelling on the command line."""
        if self.is_argument:
            return f"`{self.metavar}`"
        dashed = self.name.replace("_", "-")
        flag = self.annotation is bool
        # note: typer stores the first name passed to `Option` as its default, for use without Annotated
        names = [name for name in (self.info.default, *(self.info.param_decls or ())) if isinstance(name, str)]
        names = names or ([f"--{dashed}/--no-{dashed}"] if flag else [f"--{dashed}"])
        return ", ".join(f"`{name}`" for name in names) + ("" if flag else f" {plain(self.value_type())}")

    def value_type(self) -> str:
        """Type of the value of an option."""
        types = [part for part in (*get_args(self.annotation), self.annotation) if part not in (type(None), None)]
        if get_origin(self.annotation) is Literal:
            return " or ".join(map(str, get_args(self.annotation)))
        words = {int: "number", float: "number", Path: "path"}
        return self.info.metavar or words.get(types[0], "text")

    def default(self) -> str:
        """Default as shown in the table."""
        if self.fallback is inspect.Parameter.empty:
            return "required"
        if self.fallback in (None, False):
            return ""
        return {sys.executable: "this one", True: "yes"}.get(self.fallback, f"`{self.fallback}`")


def commands() -> str:
    """All verbs with their arguments and options."""
    pieces = []
    for panel, verbs in VERBS.items():
        pieces += [f"## {panel}", *(described(name, verb) for name, verb in verbs.items())]
    return "\n\n".join(pieces)


def described(name: str, verb: Callable[..., None]) -> str:
    """Section of one verb."""
    verb_parameters = parameters(verb)
    usage = " ".join(
        ["foretell", name, "[OPTIONS]", *(parameter.metavar for parameter in verb_parameters if parameter.is_argument)]
    )
    rows = [
        (parameter.spelled(), plain(parameter.info.help or ""), parameter.default()) for parameter in verb_parameters
    ]
    text = plain(inspect.getdoc(verb) or "")
    return f"### {name}\n\n{text}\n\n```text\n{usage}\n```\n\n{table(('', '', 'default'), rows)}"


def parameters(verb: Callable[..., None]) -> list[Parameter]:
    """Arguments and options of a verb, in order."""
    hints = get_type_hints(verb, include_extras=True)
    result = []
    for name, parameter in inspect.signature(verb).parameters.items():
        annotation, info, *_ = get_args(hints[name])
        result.append(Parameter(name, annotation, info, parameter.default))
    return result


# --- configuration --------------------------------------------------------------------------------


def configuration() -> str:
    """Sections of a recipe with their kinds and settings."""
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
    """Settings of `--adapt`."""
    pieces = []
    for name, field in AdaptationConfig.model_fields.items():
        (member,) = configs_in(field.annotation)
        shown = describe_kind(Section("", (member,), False, None), member)["fields"]
        pieces.append(settings({**field, "name": f"{name}.{field['name']}"} for field in shown))
    return "\n\n".join(pieces)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterable[str]:
    """Yield nested tables as `model.kind = "recurrent"`."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f'{prefix}{key} = "{value}"'


def settings(fields: Iterable[dict[str, str]]) -> str:
    """Table of settings with types, defaults and descriptions; "" without settings."""
    rows = [(f"`{f['name']}`", plain(f["type"]), f"`{f['default']}`", plain(f["text"])) for f in fields]
    return table(("setting", "type", "default", ""), rows) if rows else ""


# --- notebooks ------------------------------------------------------------------------------------


def notebook(name: str) -> str:
    """The cells of a notebook, its headings one level lower."""
    pieces = []
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        pieces.append(f"```python\n{source}\n```" if code else re.sub(r"^(#+ )", r"#\1", source, flags=re.MULTILINE))
    return "\n\n".join(pieces)


# --- Markdown -------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Escape text for Markdown; code between backquotes stays code."""
    pieces = text.split("`")
    return "`".join(
        re.sub(r"([\\*_>\[\]|])", r"\\\1", piece).replace("<", "&lt;") if i % 2 == 0 else piece
        for i, piece in enumerate(pieces)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("\n", " ") for cell in line) + " |" for line in lines)


MADE: dict[str, Callable[..., str]] = {
    "recipes": recipes,
    "commands": commands,
    "configuration": configuration,
    "adaptation": adaptation,
    "notebook": notebook,
}
