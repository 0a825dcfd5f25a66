"""The recipe: everything one training is made of, as one typed, commented TOML file.

A language-model family is a recipe, not a class. What may stand in each section is a union in the package that owns it;
here they are only composed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from foretell import config
from foretell.config import Amount, Config, ConfigError, Tree
from foretell.data.batches import Gives
from foretell.data.choice import BatchesChoice
from foretell.data.ramp import RampConfig
from foretell.data.readers import ReaderChoice
from foretell.data.streams import DocumentsConfig, LinesConfig, StreamsConfig
from foretell.data.tokenizer import BPEConfig, TokenizerChoice
from foretell.models.blueprint import Blueprint
from foretell.models.choice import ModelChoice
from foretell.models.ngram import NGramConfig
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig, HeadChoice
from foretell.nn.vocabulary import Counts
from foretell.objectives.causal import CausalConfig
from foretell.objectives.choice import ObjectiveChoice
from foretell.objectives.objective import Objective
from foretell.optim.averaging import AveragingChoice, NoAveragingConfig
from foretell.optim.decays import ConstantConfig
from foretell.optim.optimizers import AdamWConfig, OptimizerChoice
from foretell.optim.schedules import ScheduleChoice
from foretell.training.trainer import SavingConfig, TrainingConfig

TOKENS: Gives = "next tokens"
"""what classes from outside give and want that do not say"""


class DataConfig(Config):
    """The text, how it becomes tokens, and how tokens become batches."""

    corpus: str | dict[str, str] = "python-docs"
    """a built-in name, a path, a glob, a prepared store, {train = ..., valid = ..., test = ...}, or hf:OWNER/NAME;
    a column of tables that is not `text` goes after it: reviews.parquet#body; reviews: before it makes a line of each
    document, as for the sentiment neuron"""
    tokenizer: TokenizerChoice = BPEConfig()
    """learnt from the training split only"""
    batches: BatchesChoice = StreamsConfig()
    ramp: RampConfig | None = None
    """lets batches grow, from those above; absent: they stay"""
    reader: ReaderChoice | None = None
    """how files with labels are read; absent: as is right for a labelled set known by name"""
    skip_bad: bool = False
    """leave out rows that cannot be read, and count them, where else all of them are reported and nothing is done"""

    @field_validator("corpus", mode="before")
    @classmethod
    def _splits_only(cls, given: Any) -> Any:
        # `config.merge` takes a name that a table is laid on for a kind; a corpus has none
        return {key: item for key, item in given.items() if key != "kind"} if isinstance(given, Mapping) else given


class EvaluationConfig(Config):
    """How the validation split is measured during training."""

    every: Amount = Amount(value=1, unit="epochs")
    columns: int = 1
    """cut the text into so many parts that start from a fresh state: 1 is exact, more is faster"""
    length: int = 256
    """time steps computed at once; changes nothing but speed and memory"""


class StageConfig(Config):
    """One stage of a training in several."""

    name: str
    limit: Amount
    start: Literal["last", "best"] = "last"
    """which weights to begin with: those that the stage before ended with, or the best so far"""
    keep: tuple[Literal["optimizer", "schedule", "averager"], ...] = ()
    """what goes on instead of starting anew"""
    set: dict[str, Any] = Field(default={})
    """settings that differ in this stage, by dotted name"""


class Recipe(Config):
    """Everything one training is made of."""

    name: str = ""
    """what to call it in tables"""
    seed: int = 1
    limit: Amount = Amount(value=1, unit="epochs")
    """how long to train: "300steps", "2epochs", "5e6tokens" or time, "10m" """
    init: str = ""
    """a run to start from instead of random weights; of another vocabulary, what is spelled alike is taken over"""
    data: DataConfig = DataConfig()
    model: ModelChoice = RecurrentConfig()
    head: HeadChoice = FullHeadConfig()
    objective: ObjectiveChoice = CausalConfig()
    optimizer: OptimizerChoice = AdamWConfig()
    schedule: ScheduleChoice = ConstantConfig()
    averaging: AveragingChoice = NoAveragingConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: SavingConfig = SavingConfig()
    stages: tuple[StageConfig, ...] = ()
    """training in stages; absent: one stage up to `limit`"""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        model, length = self.model, self.data.batches.length
        if isinstance(model, TransformerConfig) and length > model.context:
            raise ValueError(
                f"data.batches.length = {length} does not fit model.context = {model.context}; make it at most that"
            )
        return self

    @model_validator(mode="after")
    def _batches_can_grow(self) -> Self:
        batches = self.data.batches
        if self.data.ramp is not None and isinstance(batches, StreamsConfig | DocumentsConfig | LinesConfig):
            raise ValueError(
                f'data.ramp joins batches, and those of data.batches.kind = "{batches.kind}" go on from each other; '
                'take "crops" or rows such as "full", or leave it out'
            )
        return self

    @model_validator(mode="after")
    def _layers_differ(self) -> Self:
        model, decay = self.model, self.optimizer.layer_decay
        if isinstance(model, TransformerConfig) and (model.groups or model.layers) < model.layers and decay < 1:
            raise ValueError(
                f"optimizer.layer_decay = {decay} gives each layer a rate of its own, but with "
                f"model.groups = {model.groups} {model.layers} layers share weights; leave layer_decay out"
            )
        return self

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        gives, wants = getattr(self.data.batches, "gives", TOKENS), getattr(self.objective, "wants", TOKENS)
        if isinstance(self.model, NGramConfig) or wants == TOKENS:
            if gives == "rows":
                kind = self.data.batches.kind
                raise ValueError(
                    f'data.batches.kind = "{kind}" gives rows for masked models; for this one take "streams" or "crops"'
                )
            return self
        if gives != wants:
            raise ValueError(
                f'objective.kind = "{self.objective.kind}" reads rows of text; set data.batches.kind to "full", "doc", '
                '"segment-pair" or "sentence-pair"'
            )
        if getattr(self.data.tokenizer, "specials", "") == "none":
            raise ValueError(
                f'objective.kind = "{self.objective.kind}" needs a mask token; set data.tokenizer.specials = "bert"'
            )
        if getattr(self.model, "direction", "both") != "both":
            raise ValueError(f'objective.kind = "{self.objective.kind}" reads both sides; set model.direction = "both"')
        if getattr(self.data.batches, "documents", "") == "apart" and isinstance(self.model, RecurrentConfig):
            raise ValueError(
                'data.batches.documents = "apart" needs attention: a recurrent model reads rows from end to end; '
                'set data.batches.kind = "doc"'
            )
        return self

    def build(self, vocabulary: int, counts: Counts | None = None) -> Objective:
        """The objective with its model and head, freshly initialised, for so many tokens that occur so often."""
        if isinstance(self.model, NGramConfig):
            raise ConfigError(
                "an n-gram model is counted: it has no hidden vectors and no gradient; name another model"
            )
        labels = getattr(self.data.batches, "labels", 0)  # classes from outside need not know of pairs
        return self.objective.build(Blueprint(self.model, self.head, vocabulary, counts, labels))

    def tree(self) -> Tree:
        """The recipe as nested tables, defaults included."""
        return self.model_dump(mode="json", exclude_none=True)

    def text(self) -> str:
        """The recipe as TOML."""
        return config.write_toml(self.tree())

    def measures_like(self, other: Recipe) -> bool:
        """Whether validation losses under both can be compared: of the same tokens, objective, masks and contexts."""
        mine, its = (
            (r.data.corpus, r.data.tokenizer, r._measured_rows(), type(r.objective), r.evaluation.columns)
            for r in (self, other)
        )
        return mine == its

    def _measured_rows(self) -> object:
        """What a validation depends on of batches; a masked model is measured on rows as it is trained on."""
        batches = self.data.batches
        if getattr(batches, "gives", TOKENS) == TOKENS:
            return batches.kind
        return batches.model_copy(update={"batch": 1}), getattr(self.objective, "masking", None)

    def resolved_stages(self) -> list[tuple[StageConfig, Recipe]]:
        """Each stage with the whole recipe as it holds in it."""
        if not self.stages:
            return [(StageConfig(name="training", limit=self.limit), self)]
        plain = {key: value for key, value in self.tree().items() if key != "stages"}
        resolved = []
        for stage in self.stages:
            tree = config.override(plain, stage.set) | {"limit": str(stage.limit)}
            resolved.append((stage, config.validate(Recipe, tree, f"stage {stage.name!r}")))
        return resolved


def recipe_folder() -> Path:
    """Where the shipped recipes are: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.toml"))


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path or by shipped name."""
    shipped = recipe_folder() / f"{name.removesuffix('.toml')}.toml"
    for path in (Path(name), Path(name) / "recipe.toml", shipped):
        if path.is_file():
            return path
    hint = config.did_you_mean(name, recipe_names())
    raise ConfigError(f"no recipe {name!r}{hint} (a path, or one of: {', '.join(recipe_names())})")


def read_tree(path: Path, seen: tuple[Path, ...] = ()) -> Tree:
    """The tables of a recipe file laid on those of its `base`, and so on."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: its base leads back to itself")
    tree = config.read_toml(path)
    base = tree.pop("base", None)
    if base is None:
        return tree
    beside = path.parent / str(base)
    origin = beside if beside.is_file() else find_recipe(str(base))
    return config.merge(read_tree(origin, (*seen, path.resolve())), tree)


def load_recipe(
    source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Recipe:
    """A recipe from a shipped name, a path, tables or a recipe, with dotted overrides applied."""
    if isinstance(source, Recipe):
        tree, where = source.tree(), "recipe"
    elif isinstance(source, Mapping):
        tree, where = dict(source), "recipe"
    else:
        path = find_recipe(str(source))
        tree, where = {"name": path.stem} | read_tree(path), str(path)
    recipe = config.validate(Recipe, config.override(tree, overrides), where)
    if recipe.init and isinstance(recipe.model, NGramConfig):
        raise ConfigError(f"{where}: an n-gram model is counted anew for each text and goes on from none; set init=''")
    recipe.resolved_stages()  # a mistake in a later stage is one now, not after hours
    return recipe
