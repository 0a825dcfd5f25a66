"""A run with its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import override

from foretell.checksums import damaged
from foretell.coding.container import digest_of_parts
from foretell.data.store.store import load_counts
from foretell.data.tokenizers.tokenizer import tokenizer_of
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import Adaptation
from foretell.evaluate.language_model import LanguageModel
from foretell.learning.data_module import DataModule
from foretell.learning.kinds import data_module
from foretell.models.backbone import Backbone
from foretell.models.counted import CountedConfig, CountedModel
from foretell.models.ngram import NGram
from foretell.nn.frequency_bands import uses_frequencies
from foretell.nn.initializers import on_paper
from foretell.objectives.objective import Objective
from foretell.process import peak_memory
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.training import checkpoint
from foretell.training.checkpoint import Checkpoint
from foretell.training.monitor import Activity, Monitor
from foretell.training.state_dict import check_fit, load_weights
from foretell.training.tensor_files import check_finite


class OpenedRun(LanguageModel):
    """A run with its weights: sizes, records, identity; abstract."""

    adaptation: Adaptation | None = None
    """how it adapts to the measured text"""

    weights: Mapping[str, Tensor]
    """by their names in the model; none of a model of counts, whose tables are not kept twice"""

    def __init__(
        self, run: Run, which: str, device: torch.device, *, quiet: bool = False, counted: CountedModel | None = None
    ):
        """`counted`: the model of counts that was just saved there, which is not read again."""
        self.run, self.which, self.device, self.quiet = run, which, device, quiet
        self.recipe = recipe_of(run)
        self.tokenizer = tokenizer_of(run)
        self.checkpoint, self.facts = checkpoint.pointed(run, which)
        self.settings = self.stage_of(self.checkpoint)
        self.labels = self.data.labels
        self.weights, self.counted = {}, counted
        self._objective: Objective | None = None
        if counted is None:
            self._read()

    def _read(self) -> None:
        """Read the weights of the checkpoint, checked first."""
        run, counted, paper = self.run, self.settings.model.counted, None
        if not (run.is_trusted or counted):  # before reading the files, which can claim any size
            with on_paper():
                paper = self.settings.build(self.tokenizer.size, load_counts(run.counts_file), len(self.labels))
            self.checkpoint.check_room(sum(tensor.nbytes for tensor in paper.state_dict().values()))
        self.checkpoint.verify()
        weights = self.settings.trainable.merged(self.checkpoint.result())
        check_finite(weights, self.checkpoint.path)
        if paper is not None:  # before building a model: a recipe can ask for any size
            check_fit(paper, weights)
        if counted:
            config = cast(CountedConfig, self.settings.model)
            self.counted = config.load(weights, self.tokenizer.boundary, self.tokenizer.size)
        else:
            self.weights = weights
            self._objective = self._load_objective()

    @property
    def ngram(self) -> NGram | None:
        """The n-gram model; None for other models."""
        return None if self.counted is None else self.counted.as_ngram

    @property
    @override
    def name(self) -> str:
        return str(self.run.path)

    @property
    def is_task(self) -> bool:
        """Whether it predicts labels instead of text."""
        return self.settings.is_task

    def _load_objective(self) -> Objective:
        counts = load_counts(self.run.counts_file)
        with torch.device(self.device):
            objective = self.settings.build(self.tokenizer.size, counts, len(self.labels))
        if counts is None and uses_frequencies(objective):
            raise ConfigError(
                f"{self.run.counts_file} is missing, and the weights are arranged by it; restore it from a backup"
            )
        load_weights(objective, self.weights)
        return objective.eval().requires_grad_(False)

    def stage_of(self, saved: Checkpoint) -> Recipe:
        """The recipe of the stage a checkpoint was saved in."""
        stages, number = self.recipe.resolved_stages(), saved.position().stage
        if not 0 <= number < len(stages):
            raise damaged(saved.path / "record.json", f"names stage {number}, but the recipe has {len(stages)}")
        return stages[number][1]

    @property
    def objective(self) -> Objective:
        """The objective of a neural model; raises `ConfigError` for a counted one."""
        if self._objective is None:
            raise ConfigError(f"{self.run.path} is a model of counts: it has no hidden vectors; use another run")
        return self._objective

    @property
    def backbone(self) -> Backbone | None:
        """The backbone; None for a counted model."""
        return None if self._objective is None else self._objective.backbone

    @property
    def parameters(self) -> int:
        """Number of parameters, trained or counted; shared ones count once."""
        if self.counted is not None:
            return self.counted.parameters
        return sum(p.numel() for p in self.objective.parameters())

    @property
    def adapts(self) -> bool:
        """Whether it can learn from the text it is measured on; see `adapted`."""
        return self.backbone is not None or self.learns_as_it_reads

    @property
    @override
    def learns_as_it_reads(self) -> bool:
        return self.settings.model.learns_as_it_reads

    @property
    @override
    def starts_at_lines(self) -> bool:
        return self.settings.data.batches.resets == "lines"

    @property
    @override
    def digest(self) -> bytes:
        adaptation = json.dumps(self.adaptation.record if self.adaptation else {}, sort_keys=True)
        return digest_of_parts([self.plain_digest.hex(), adaptation])

    @property
    def plain_digest(self) -> bytes:
        """`digest` of the model without adaptation."""
        settings = self.settings.model_dump_json(include={"model": True, "head": True, "data": {"batches"}})
        return digest_of_parts([*self.checkpoint.checksums.values(), self.tokenizer.fingerprint, settings])

    @property
    def unnormalised(self) -> str:
        """Probabilities that do not sum to 1, as reported by the import; "" if all do. Such a model is not ranked."""
        return self.run.unnormalised

    def description(self) -> dict[str, Any]:
        """Where it is, recipe, family, size, and the figure its validations are compared by."""
        valid = self.validation()
        figure = valid.get("metric") or next((k for k in ("bits_per_byte", "loss") if valid.get(k) is not None), "")
        best = {f"valid_{figure}": round(valid[figure], 4)} if valid.get(figure) is not None else {}
        return {
            "run": str(self.run.path),
            "recipe": self.recipe.name,
            "model": self.settings.model.kind_name(),
            "parameters": self.parameters,
            "step": self.facts["step"],
            **best,
        }

    def summary(self) -> Record:
        """The validation record of this checkpoint, with its costs."""
        records = list(self.run.metrics())
        valid = self.validation()
        trained = [r for r in records if r["kind"] in ("train", "fit")]
        seconds = sum({r["stage"]: r["seconds"] for r in trained}.values())
        tokens = sum({r["stage"]: r["tokens"] for r in trained}.values())
        return {
            "run": str(self.run.path),
            **valid,
            "weights": self.facts["weights"],
            "parameters": self.parameters,
            "trained_tokens": tokens,
            "seconds": seconds,
            "validation_seconds": valid.get("seconds", 0.0),
            "tokens_per_second": tokens / max(seconds, 1e-9),
            "peak_memory_bytes": peak_memory(),
        }

    def validation(self) -> Record:
        """The validation record of this checkpoint; empty without validation."""
        return self.checkpoint.validation()

    @override
    def progress(self, name: str) -> AbstractContextManager[Activity]:
        return Monitor(quiet=self.quiet).activity(f"{name} {self.run.path.name}")

    @cached_property
    def data(self) -> DataModule:
        """The data module of the run."""
        return data_module(self.settings, self.tokenizer, Monitor(quiet=self.quiet), run=self.run)
