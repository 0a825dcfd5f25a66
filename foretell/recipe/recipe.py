"""The recipe: everything one training is made of, as one typed, commented TOML file.

A language-model family is a recipe, not a class. The kinds of each section are a union in the package that owns it;
here they are only composed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from foretell import config, trees
from foretell.config import Amount, Config, Seed, Size, Tagged
from foretell.data.batches.batches import BatchKind, TextBatchesConfig
from foretell.data.batches.kinds import BatchesChoice
from foretell.data.batches.ramp import RampConfig
from foretell.data.batches.streams import StreamsConfig
from foretell.data.labelled.folds import FoldConfig
from foretell.data.labelled.readers import ReaderChoice
from foretell.data.tokenizers.kinds import BPEConfig, TokenizerChoice
from foretell.errors import CONTROL, ConfigError
from foretell.models.kinds import ModelChoice
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig, HeadChoice
from foretell.nn.vocabulary import Counts
from foretell.objectives.causal import CausalConfig
from foretell.objectives.kinds import AnyObjective
from foretell.objectives.objective import MeasuredBy, Objective
from foretell.optim.averaging import AveragingChoice, NoAveragingConfig
from foretell.optim.optimizers import AdamWConfig, OptimizerChoice
from foretell.optim.schedules.constant import ConstantConfig
from foretell.optim.schedules.kinds import ScheduleChoice
from foretell.recipe import compatibility
from foretell.recipe.files import TOKENIZER
from foretell.tasks.kinds import AnyTask
from foretell.training.out_of_memory import build_within
from foretell.training.settings import SavingConfig, TrainingConfig
from foretell.training.trainable import FullConfig, TrainableChoice
from foretell.trees import Tree

LearntChoice = Annotated[AnyObjective | AnyTask, Tagged()]
"""the objectives of language models, and the tasks"""
LONGEST_NAME = 200
"""characters of a name, which becomes a folder"""
SOME_LABELS = 2
"""number of labels assumed before any examples are read"""


class DataConfig(Config):
    """The text, how it becomes tokens, and how tokens become batches."""

    corpus: str | dict[str, str] = "python-docs"
    """a built-in name, a path, a glob, a prepared store, {train = ..., valid = ..., test = ...}, or hf:OWNER/NAME.
    Append a column of a table other than `text`: reviews.parquet#body. The prefix reviews: makes each document one
    line, as for the sentiment neuron"""
    tokenizer: TokenizerChoice = BPEConfig()
    """trained on the training split only"""
    batches: BatchesChoice = StreamsConfig()
    ramp: RampConfig | None = None
    """grow batches over training; absent: fixed size"""
    reader: ReaderChoice | None = None
    """reader of labelled files; absent: that of a data set known by name"""
    skip_bad: bool = False
    """skip and count rows that cannot be read; false: report all of them and stop"""
    fold: FoldConfig | None = None
    """the part of the examples held out for testing; absent: the splits of the data set. See `folds`"""

    @field_validator("corpus", mode="before")
    @classmethod
    def _splits_only(cls, given: Any) -> Any:
        # `trees.merge` reads a name under a table as a kind; a corpus has none
        return {key: item for key, item in given.items() if key != "kind"} if isinstance(given, Mapping) else given


class EvaluationConfig(Config):
    """How validation is measured during training."""

    every: Amount = Amount(value=1, unit="epochs")
    columns: Size = 1
    """cut the text into this many parts, each from a fresh state: 1 is exact, more is faster"""
    length: Size = 256
    """time steps computed at once; affects speed and memory only"""


class StageConfig(Config):
    """One of several stages of training."""

    name: str
    limit: Amount
    start: Literal["last", "best"] = "last"
    """initial weights: the last ones of the previous stage, or the best so far"""
    keep: tuple[Literal["optimizer", "schedule", "averager"], ...] = ()
    """what is kept from the previous stage instead of being reset"""
    set: dict[str, Any] = Field(default={})
    """settings of this stage that differ, by dotted name"""


class Recipe(Config):
    """Everything a training run is made of."""

    name: str = ""
    """name in tables, and of the default run folder"""
    seed: Seed = 1
    seeds: Annotated[int, Field(gt=0, le=1000)] = 1
    """number of runs to train, with consecutive seeds, each in its own folder"""
    folds: Annotated[int, Field(ge=3, le=1000)] | None = None
    """cross-validation of a task: deal the training and validation examples into this many parts and train a run for
    each, tested on one part and validated on the next; a test split of the data set is not touched"""
    limit: Amount = Amount(value=1, unit="epochs")
    """how long to train: "300steps", "2epochs", "5e6tokens", or a time such as "10m" """
    init: str = ""
    """a run, or hf:OWNER/NAME, to start from instead of random weights; with another vocabulary, tokens keep their
    vectors by spelling. Its model, head and tokenizer are used where these sections name no kind"""
    data: DataConfig = DataConfig()
    model: ModelChoice = RecurrentConfig()
    head: HeadChoice = FullHeadConfig()
    objective: LearntChoice = CausalConfig()
    trainable: TrainableChoice = FullConfig()
    """which parameters are trained: all, the top layers, or adapters"""
    optimizer: OptimizerChoice = AdamWConfig()
    schedule: ScheduleChoice = ConstantConfig()
    averaging: AveragingChoice = NoAveragingConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: SavingConfig = SavingConfig()
    stages: Annotated[tuple[StageConfig, ...], Field(max_length=100)] = ()
    """stages of training; absent: one, up to `limit`"""

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, given: str) -> str:
        if given in (".", "..") or re.search(r"[/\\\n\t]", given) or len(given) > LONGEST_NAME:
            raise ValueError(f"{given!r:.80} is not a folder name; leave out slashes, or give --out")
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for check in compatibility.CHECKS:
            check(self)
        return self

    @property
    def measured_by(self) -> MeasuredBy:
        """How validation is measured, which selects the data module (see `learning`)."""
        return "likelihood" if self.model.counted and not self.is_task else self.objective.measured_by

    @property
    def no_likelihood(self) -> str:
        """See `ObjectiveConfig.no_likelihood`; "" for counted models."""
        return "" if self.measured_by == "likelihood" else self.objective.no_likelihood

    @property
    def requires(self) -> BatchKind:
        """The batches its objective learns from."""
        return "next tokens" if self.model.counted and not self.is_task else self.objective.requires

    @property
    def text_batches(self) -> TextBatchesConfig:
        """The batches of text of a language model, which `compatibility` has checked."""
        return cast(TextBatchesConfig, self.data.batches)

    @property
    def is_task(self) -> bool:
        """Whether it learns from labelled examples."""
        return self.objective.requires == "examples"

    def build(self, vocabulary: int, counts: Counts | None = None, labels: int = SOME_LABELS) -> Objective:
        """Build the objective with a new model and head.

        `counts` [V] is how often each token occurs; `labels` the number of labels of a task, ignored for language
        models.
        """
        if self.model.counted:
            raise ConfigError(
                "an n-gram model is counted: it has no hidden vectors and no gradient; name another model"
            )
        labels, pair_kinds = (labels, 0) if self.is_task else (0, self.data.batches.pair_kinds)
        spec = ModelSpec(self.model, self.head, vocabulary, counts, labels, pair_kinds)
        return build_within(lambda: self.objective.build(spec))

    def tree(self) -> Tree:
        """The recipe as nested tables, defaults included."""
        return self.model_dump(mode="json", exclude_none=True)

    def text(self, run: Path | None = None) -> str:
        """The recipe as TOML. In the folder of a `run` a tokenizer file is the run's own copy, so that the run can be
        moved."""
        tree = self.tree()
        tokenizer = tree["data"]["tokenizer"]
        if run is not None and tokenizer["kind"] == "file":
            tokenizer["path"] = TOKENIZER
        return trees.write_toml(tree)

    def measures_like(self, other: Recipe) -> bool:
        """Whether validation losses can be compared: the same tokens, objective, masks and contexts."""
        mine, its = (
            (r.data.corpus, r.data.tokenizer, r._measured_rows(), r._judged_by(), r.evaluation.columns)
            for r in (self, other)
        )
        return mine == its

    def _measured_rows(self) -> object:
        """The settings of batches that a validation loss depends on."""
        batches = self.data.batches
        return batches.kind_name() if self.requires == "next tokens" else batches.model_copy(update={"batch": 1})

    def _judged_by(self) -> object:
        """The settings of the objective that a validation loss depends on; counted models have none."""
        return self.model.kind_name() if self.model.counted else self.objective.judged_by()

    def trials(self) -> dict[str, Recipe]:
        """The recipes of several seeds and folds by the names of their folders; empty for a single run."""
        recipes: dict[str, Recipe] = {}
        for fold in range(1, self.folds + 1) if self.folds else [0]:
            part = {"fold": FoldConfig(number=fold, of=self.folds)} if self.folds else {}
            data = self.data.model_copy(update=part)
            for seed in range(self.seed, self.seed + self.seeds):
                name = "-".join([f"fold-{fold}"] * (fold > 0) + [f"seed-{seed}"] * (self.seeds > 1))
                recipes[name] = self.model_copy(update={"data": data, "seed": seed, "seeds": 1, "folds": None})
        return recipes if self.seeds > 1 or self.folds else {}

    def on_the_clock(self) -> list[str]:
        """The settings in seconds that affect the weights: with them, equal seeds do not give equal weights."""
        if self.model.counted:
            return []
        names = [name for _, settings in self.resolved_stages() for name in amounts(settings, "seconds")]
        return [name for name in dict.fromkeys(names) if name not in ("checkpoint.every", "training.log_every")]

    def resolved_stages(self) -> list[tuple[StageConfig, Recipe]]:
        """Each stage with the complete recipe that holds in it."""
        if not self.stages:
            return [(StageConfig(name="training", limit=self.limit), self)]
        plain = {key: value for key, value in self.tree().items() if key != "stages"}
        resolved = []
        for stage in self.stages:
            tree = trees.override(plain, stage.set) | {"limit": str(stage.limit)}
            resolved.append((stage, config.validate(Recipe, tree, f"stage {stage.name!r}")))
        for (_, before), (stage, settings) in pairwise(resolved):
            if before.trainable != settings.trainable and {"optimizer", "averager"} & {*stage.keep}:
                raise ConfigError(
                    f"stage {stage.name!r}: trainable selects other weights than the stage before, which "
                    f'keep = {list(stage.keep)} belongs to; keep at most "schedule"'
                )
        return resolved


def as_name(text: str) -> str:
    """A text as the name of a recipe: without slashes and control characters, and not too long."""
    name = re.sub(r"[/\\]", "_", CONTROL.sub("_", text))[:LONGEST_NAME]
    return "_" if name in (".", "..") else name


def amounts(settings: object, unit: str, name: str = "") -> Iterator[str]:
    """The dotted names of all amounts in this unit."""
    if isinstance(settings, Amount):
        if settings.unit == unit:
            yield name
    elif isinstance(settings, Config):
        for key in type(settings).model_fields:
            if key != "stages":  # they are resolved to recipes of their own
                yield from amounts(getattr(settings, key), unit, f"{name}.{key}" if name else key)
    elif isinstance(settings, tuple):
        for item in settings:
            yield from amounts(item, unit, name)
