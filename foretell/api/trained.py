"""A trained run, opened for use."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from typing_extensions import override

from foretell.api.opened import OpenedRun
from foretell.coding.tokens import TokenCoder
from foretell.config import validate
from foretell.data.batches.batches import RowBatches
from foretell.data.labelled.examples import Example
from foretell.data.store.store import Split
from foretell.data.text.reviews import PreparationName, preparation_of
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import AdaptationConfig, Counting, with_adaptive
from foretell.evaluate.evaluator import Evaluator
from foretell.evaluate.features import Extractor, FeaturesConfig, PoolingName, Vectors
from foretell.evaluate.pseudo_likelihood import pseudo_likelihood
from foretell.evaluate.scoring import (
    CheckedScorer,
    NeuralScorer,
    Scorer,
    TokenScores,
    check_loss,
    score_tokens,
)
from foretell.learning.data_module import Options
from foretell.learning.opened_text import OpenedText
from foretell.learning.task import TaskEvaluator, task_of
from foretell.learning.text import LikelihoodEvaluator, TextModule
from foretell.process import peak_memory
from foretell.recipe.loading import recipe_of
from foretell.results import Figures
from foretell.run import Record, Run
from foretell.run_names import MEMBERS
from foretell.tasks.predictor import Predictor
from foretell.training.devices import device_of
from foretell.training.monitor import Monitor


def cannot_adapt(name: str) -> ConfigError:
    """The error of what does not adapt to the text it reads."""
    return ConfigError(
        f"{name} cannot adapt to the text it reads",
        remedy="runs trained by gradient, of unbounded n-grams and of context mixing do, over their own tokens",
    )


def load_run(
    path: str | Path,
    *,
    which: str = "best",
    device: torch.device | str | None = None,
    quiet: bool = False,
    trust: bool = False,
) -> Trained:
    """A run folder, opened for use, unless it is a mixture, with the weights of its `best` (or `last`) checkpoint.

    Passes of more than ten seconds report progress on stderr, unless `quiet`. A run made elsewhere may import classes
    from outside the package, and open the corpus that its recipe names, only with `trust`. Raises `ConfigError` if a
    file of the run is missing or damaged, or the run is a mixture.
    """
    run = Run.open(path)
    run.trust = trust
    if recipe_of(run).model.made_of_runs:
        raise ConfigError(f"{run.path} is a mixture; name one of its runs, in {run.path / MEMBERS}")
    return Trained(run, which, device_of(device), quiet=quiet)


class Trained(OpenedRun):
    """A trained model: evaluate, score, generate, features, predict."""

    @property
    def members(self) -> tuple[Trained, ...]:
        """The runs it consists of, as a mixture has several."""
        return (self,)

    # --- measuring --------------------------------------------------------------------------------

    def evaluate(
        self,
        split: str = "test",
        *,
        batch: int | None = None,
        columns: int = 1,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
        adaptive: bool = False,
        audit: bool = False,
        skip_bad: bool = False,
    ) -> Figures:
        """Measure a split of the run's corpus, or any file like it.

        A language model is measured by the probability of the text, a masked one by the terms of its objective on
        fixed masks, a task by its metrics. The state is carried over the whole text (or reset at each document or
        line, if training did so); with `columns` above 1 the text is cut into that many parts, which is faster and a
        slightly worse for the model. `batch` is the batch size and affects speed only.
        `dynamic` and `cache` are passed to `adapted`; columns then learn from each other. With `adaptive` the text is
        read twice: as it is without, then adapted, as the part `adaptive` of the result. `audit` proves at sampled
        places that probabilities sum to 1 and nothing later was looked at (see `evaluate.audit`). `skip_bad` leaves out
        examples that a task cannot use.
        """
        if adaptive or dynamic is not False or cache is not False:
            adapted = self.adapted(dynamic=dynamic, cache=cache)
            if not adaptive:
                return adapted.evaluate(split, batch=batch, columns=columns, audit=audit)
            static = self.evaluate(split, batch=batch, columns=columns, audit=audit)
            return with_adaptive(static, adapted.evaluate(split, batch=batch, audit=audit))
        if audit:
            self.check_likelihood()
        evaluator = self.evaluator(batch=batch, columns=columns, skip_bad=skip_bad, audit=audit)
        with self.progress("evaluating") as on_progress:
            measured = evaluator.evaluate(split, on_progress)
        evaluator.refuse_undefined(measured, f"{self.run.path}, {split}")
        return Figures(self.record(split, evaluator, measured))

    def evaluator(
        self,
        *,
        batch: int | None = None,
        columns: int = 1,
        ranks: bool = True,
        skip_bad: bool = False,
        audit: bool = False,
    ) -> Evaluator:
        """The evaluator of `evaluate`."""
        options = Options(
            batch=batch,
            columns=columns,
            skip_bad=skip_bad,
            audit=audit,
            details=True,
            validation=self.validation(),
            scorer=lambda: self.scorer(ranks=ranks),
            adaptation=self.adaptation,
        )
        return self.data.evaluator(self._objective, self.device, options)

    def likelihood(self, *, ranks: bool = True, batch: int | None = None, columns: int = 1) -> LikelihoodEvaluator:
        """Measures the probability of text; a `ConfigError` for models that assign none."""
        self.check_likelihood()
        return cast(LikelihoodEvaluator, self.evaluator(batch=batch, columns=columns, ranks=ranks))

    def task_evaluator(self, *, skip_bad: bool = False) -> TaskEvaluator:
        """Measures a task on labelled examples; a `ConfigError` for a language model."""
        task_of(self.settings)
        return cast(TaskEvaluator, self.evaluator(skip_bad=skip_bad))

    def record(self, split: str, evaluator: Evaluator, measured: Mapping[str, Any]) -> Record:
        """The metrics, with the run, the split, the context and the cost of the model."""
        context = evaluator.context
        rate = {"examples_per_second": measured["examples"] / measured["seconds"]} if "examples" in measured else {}
        return {
            "run": str(self.run.path),
            "split": split,
            **measured,
            **rate,
            **({"unnormalised": self.unnormalised} if self.unnormalised else {}),
            **({"context": context} if context else {}),
            "weights": self.facts["weights"],
            "step": self.facts["step"],
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }

    @property
    def text_module(self) -> TextModule:
        """The text of the run, in its tokens."""
        return TextModule(self.settings, self.tokenizer, self.run, Monitor(quiet=self.quiet))

    def text(self, split: str) -> OpenedText:
        """A split of the run's corpus, or of a file, as tokens of this run's vocabulary."""
        return self.text_module.open(split)

    def check_likelihood(self) -> None:
        """Raise `ConfigError` if the model assigns no probability to text."""
        if does := self.settings.no_likelihood:
            advice = "name another run, or measure it with foretell evaluate"
            raise ConfigError(f"{self.run.path} {does}: it assigns no probability to text; {advice}")

    def scorer(self, *, ranks: bool = True) -> Scorer:
        """The model as a scorer, with its adaptation."""
        if self.counted is not None:
            inner = self.counted.scorer(ranks=ranks) if self.adaptation is None else self.counted.learner()
        else:
            self.check_likelihood()
            inner = self._neural_scorer(ranks=ranks)
            inner = inner if self.adaptation is None else self.adaptation.scorer(inner)
        return CheckedScorer(inner, str(self.run.path))

    def _neural_scorer(self, *, ranks: bool) -> NeuralScorer:
        opening = self.tokenizer.specials.opening
        return NeuralScorer(self.objective.backbone, self.objective.head, ranks=ranks, opening=opening)

    def adapted(
        self,
        *,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
        quiet: bool = False,
    ) -> Trained:
        """A copy of the model that adapts to the text it reads: by dynamic evaluation (by default), a neural cache, or
        both; a counted model by learning from each token it has read, where it can.

        Each is `True` or its settings (see `DynamicConfig` and `CacheConfig`); missing settings are tuned now, on the
        beginning of the validation split. `self` is not changed. `quiet` turns off progress on stderr.
        """
        self.scorer()  # raises for models that do not predict the next token
        given = (("dynamic", dynamic), ("cache", cache))
        chosen = {name: {} if part is True else part for name, part in given if part is not False}
        settings, other = validate(AdaptationConfig, chosen or {"dynamic": {}}, "adaptation"), copy.copy(self)
        other.quiet = quiet or self.quiet
        if self.counted is None:
            neural = self._neural_scorer(ranks=False)
            other.adaptation = self.text_module.tuned(settings, neural, self.device, Monitor(quiet=other.quiet).say)
        elif not self.adapts:
            raise cannot_adapt(str(self.run.path))
        elif chosen not in ({}, {"dynamic": {}}):
            raise ConfigError(f"{self.run.path} learns as it reads; it has no settings for that, and no cache")
        else:
            other.adaptation = Counting()
        return other

    @override
    def learning(self) -> Trained:
        other = copy.copy(self)
        other.adaptation = Counting()
        return other

    @override
    def coder(self, *, adaptive: bool) -> TokenCoder:
        own = None if self.counted is None or self.starts_at_lines else self.counted.coder(learn=adaptive)
        return own or super().coder(adaptive=adaptive)

    def fitted_on(self, text: Split) -> list[str]:
        """The settings of its adaptation that were tuned on this very text."""
        return self.likelihood().fitted_on(text)

    def token_scores(
        self, text: Split, *, batch: int | None = None, columns: int = 1, ranks: bool = True
    ) -> TokenScores:
        """The scores that `evaluate` sums, per token; `text` holds tokens of this run's vocabulary."""
        evaluator = self.likelihood(ranks=ranks, batch=batch, columns=columns)
        with self.progress("scoring with") as on_progress:
            found = score_tokens(evaluator.scorer, evaluator.windows(text), self.device, on_progress)
        check_loss(found.totals.loss, str(self.run.path), zeros=True)
        return found

    def context(self, columns: int = 1) -> str:
        """The context of a prediction, in words."""
        return self.likelihood(columns=columns).context

    def pseudo_likelihood(self, split: str = "test", tokens: int = 1000) -> Record:
        """The pseudo-perplexity of a masked model over `tokens` tokens; see `evaluate.pseudo_likelihood`."""
        if self._objective is None or "bidirectional" not in self._objective.needs:
            raise ConfigError(f"{self.run.path} predicts the next token; pseudo-perplexity is for masked models")
        if tokens < 1:
            raise ConfigError(f"tokens must be at least 1, not {tokens}")
        specials, batches = self.tokenizer.specials, self.settings.text_batches
        with self.text(split) as text, self.progress("evaluating") as on_progress:
            rows = cast(RowBatches, batches.one_text().build(text, specials, seed=0))
            return pseudo_likelihood(self._objective, rows, specials, tokens, self.device, on_progress)

    # --- using ------------------------------------------------------------------------------------

    def predict(self, examples: Sequence[str | Example]) -> list[Any]:
        """Predictions of a task, in the order of the examples; a string is parsed like a line of `foretell predict`.

        Each is a `Prediction` of the task, with probabilities, and character offsets if it concerns parts of a text.
        """
        predictor = self.predictor
        task = predictor.config
        parsed = [
            task.parse_line(one, f"text {i}") if isinstance(one, str) else one for i, one in enumerate(examples, 1)
        ]
        task.check_inputs(parsed, self.labels)
        with self.progress("predicting with") as on_progress:
            return predictor.predict(parsed, on_progress)

    @property
    def predictor(self) -> Predictor:
        """Predicts and measures examples of its task; a `ConfigError` for a language model."""
        return self.task_evaluator().predictor()

    def prompt(self, text: str) -> list[int]:
        """The ids of a prompt: a boundary, then the text."""
        return [self.tokenizer.boundary, *self.tokenizer.encode(text)]

    def extractor(
        self,
        *,
        pooling: PoolingName = "mean",
        layers: Sequence[int] | Literal["all"] = (-1,),
        mix: Sequence[float] | None = None,
        prepare: PreparationName | None = None,
        tokens: int = 4096,
        window: int = 4096,
    ) -> Extractor:
        """The model as an extractor of feature vectors, a block of texts at a time; see `features`."""
        settings = {"pooling": pooling, "layers": layers, "mix": mix, "prepare": prepare, "tokens": tokens}
        given = {name: value for name, value in {**settings, "window": window}.items() if value is not None}
        chosen = validate(FeaturesConfig, given, "features")
        if chosen.prepare is None:
            chosen = chosen.model_copy(update={"prepare": preparation_of(self.settings.data.corpus)})
        return Extractor(self.objective.backbone, self.tokenizer, chosen, self.device)

    def features(
        self,
        texts: Iterable[str],
        *,
        pooling: PoolingName = "mean",
        layers: Sequence[int] | Literal["all"] = (-1,),
        mix: Sequence[float] | None = None,
        prepare: PreparationName | None = None,
        tokens: int = 4096,
        window: int = 4096,
    ) -> Vectors:
        """[number of texts, width] fp32: the mean of the last layer over each text, special tokens included.

        `pooling` is over the tokens of a text (concat: last, max and mean, concatenated; cell: the memory cells after
        the last token). Several `layers` are concatenated; they count from 1, or from the end. `mix` has a weight per
        layer, to sum them instead. `prepare` changes texts first (absent: as the training text was). `tokens` of a
        batch and the `window` of texts sorted by length affect speed and memory only. `extractor(...).blocks(texts)`
        returns the same in blocks, for more texts than fit in memory.
        """
        extractor = self.extractor(
            pooling=pooling, layers=layers, mix=mix, prepare=prepare, tokens=tokens, window=window
        )
        return extractor.all(texts)
