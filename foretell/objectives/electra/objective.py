"""ELECTRA: detect tokens that a small generator has replaced.

Clark et al. 2020 (arXiv:2003.10555, and the authors' code): a generator predicts masked tokens as a masked model does;
samples from it replace them, without a gradient through the samples; the main model predicts for every token whether it
is the original. Both are trained together. The ablations of section 3.4 are two settings, what the main model predicts
and at which positions:

                           positions = "all"   positions = "chosen"
    target = "replaced"    ELECTRA             ELECTRA 15%
    target = "original"    all-tokens MLM      replace MLM

B rows, T positions, P masked positions of a row, N masked positions of a batch, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from foretell.config import NonNegative
from foretell.data.batches.batches import Batches, BatchKind, RowBatches
from foretell.data.batches.masking import Masked, MaskingChoice, TokenMaskingConfig
from foretell.data.batches.sampling_noise import Noisy
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.kernels.cross_entropy import CHUNK
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.activation import ActivationName
from foretell.nn.flops import macs_per_token
from foretell.nn.heads import Head, NoHead
from foretell.nn.initializers import NormalConfig
from foretell.objectives.electra.discriminators import CopyingRestorer, Discriminator, TokenDiscriminator, TokenRestorer
from foretell.objectives.electra.generator import Generator, GeneratorChoice, SmallerGeneratorConfig
from foretell.objectives.masked import gather_targets
from foretell.objectives.objective import MeasuredBy, Objective, ObjectiveConfig
from foretell.types import IGNORED, Batch, State, Step, Term

GROUP = 128
"""tokens whose probabilities are summed for the first step of sampling"""


class ReplacedConfig(ObjectiveConfig):
    """Detect tokens that a small generator, trained along, has replaced (ELECTRA)."""

    kind: Literal["replaced"] = "replaced"
    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    masking: MaskingChoice = TokenMaskingConfig(mask=0.85, random=0.0)
    """which tokens the generator predicts"""
    generator: GeneratorChoice = SmallerGeneratorConfig()
    temperature: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    """of its samples; below 1 they are more probable"""
    allow_correct: bool = True
    """whether a sample may be the masked token itself, which then counts as original"""
    target: Literal["replaced", "original"] = "replaced"
    """what the main model predicts: whether a token was replaced, or the original token"""
    positions: Literal["all", "chosen"] = "all"
    """where it predicts: at all positions, special tokens included, or at the masked ones"""
    masked_weight: NonNegative = 1.0
    """weight of the generator's loss"""
    weight: NonNegative | None = None
    """weight of the main model's loss; absent: 50, or 1 where it predicts the original"""
    activation: ActivationName = "gelu"
    """between the two layers of the discriminator"""
    initial: NormalConfig = NormalConfig()
    """initial weights of the discriminator"""

    @property
    @override
    def no_likelihood(self) -> str:
        return "is a masked model"

    @override
    def generator_spec(self, main: ModelSpec) -> ModelSpec | None:
        return self.generator.spec(main)

    @override
    def build(self, spec: ModelSpec) -> Replaced:
        return Replaced(self, spec)

    def discriminator(self, width: int, head: Head) -> TokenDiscriminator:
        """Output layers for a main model of a width; `head` predicts original tokens."""
        everywhere = self.positions == "all"
        if self.target == "replaced":
            return Discriminator(width, all_positions=everywhere, activation=self.activation, initial=self.initial)
        return CopyingRestorer(head, width, self.initial) if everywhere else TokenRestorer(head)

    @override
    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The rows with masked tokens, and noise to sample by."""
        return Noisy(Masked(cast(RowBatches, source), self.masking, tokenizer, seed), seed)


class Replaced(Objective):
    """Terms: "masked" of the generator, "replaced" or "original" of the main model.

    "replaced" is the binary cross-entropy over all tokens but padding. The main model is the `backbone`, which
    features and fine-tuning read. In evaluation `metrics` counts the correct predictions of each.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"bidirectional"})

    def __init__(self, config: ReplacedConfig, spec: ModelSpec):
        backbone = spec.backbone()
        super().__init__(backbone, spec.head_on(backbone) if config.target == "original" else NoHead())
        self.config, self.vocabulary = config, spec.vocabulary
        self.weight = config.weight if config.weight is not None else 50.0 if config.target == "replaced" else 1.0
        self.generator: Generator | None = config.generator.build(spec, backbone)
        self.discriminator = config.discriminator(backbone.dim, self.head)

    @property
    @override
    def models(self) -> Sequence[Backbone]:
        return (self.backbone,) if self.generator is None else (self.backbone, self.generator.backbone)

    @override
    def forward(self, batch: Batch, state: State) -> Step:
        terms, metrics, samples = self._generate(batch)
        seen = with_tokens(batch, samples)
        hidden = self.backbone(seen.inputs, None)
        loss, counts = self.discriminator(hidden.dropped, batch, seen.inputs.tokens)
        terms[self.discriminator.term] = Term(loss, self.weight)
        if not self.training:
            metrics |= counts
        return Step(terms=terms, metrics=metrics)

    @override
    def counts(self, batch: Batch) -> Mapping[str, int]:
        masked = int((batch.targets != IGNORED).sum())
        counts = {self.discriminator.term: batch.tokens if self.discriminator.all_positions else masked}
        return counts if self.generator is None else {"masked": masked} | counts

    @override
    def ratios(self, counts: Mapping[str, int], targets: Mapping[str, float]) -> dict[str, float]:
        return super().ratios(counts, targets) | self.discriminator.ratios(counts)

    @override
    def uniform_loss(self) -> float:
        choices = 2 if self.config.target == "replaced" else self.vocabulary
        return self.config.masked_weight * math.log(self.vocabulary) + self.weight * math.log(choices)

    @override
    def macs_per_token(self, length: int) -> float:
        """The generator's head runs on masked tokens."""
        rate = 1.0 if self.discriminator.all_positions else self.config.masking.rate
        main = self.backbone.macs_per_token(length) + rate * macs_per_token(self.discriminator)
        if self.generator is None:
            return main
        return (
            main
            + self.generator.backbone.macs_per_token(length)
            + self.config.masking.rate * macs_per_token(self.generator.head)
        )

    # --- the generator ----------------------------------------------------------------------------

    def _generate(self, batch: Batch) -> tuple[dict[str, Term], dict[str, Tensor], Tensor]:
        """Its term, its correct predictions, and a sample for each masked position [N]."""
        assert batch.noise is not None  # as `ReplacedConfig.batches` makes them
        noise = gather_targets(batch.noise[..., None], batch)[0][:, 0]  # [N]
        if self.generator is None:
            return {}, {}, (noise * self.vocabulary).long().clamp(max=self.vocabulary - 1)
        vectors, targets = gather_targets(self.generator.backbone(batch.inputs, None).dropped, batch)  # [N, D], [N]
        valid = targets != IGNORED
        targets = targets.masked_fill(~valid, 0)
        nll = self.generator.head.nll(vectors, targets)  # [N]
        predictions, samples = self._sample(self.generator.head, vectors.detach(), targets, noise)
        metrics = {} if self.training else {"masked": ((predictions == targets) & valid).sum()}
        return {"masked": Term((nll * valid).sum(), self.config.masked_weight)}, metrics, samples

    @torch.no_grad()
    def _sample(self, head: Head, vectors: Tensor, targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [N, D] -> the most probable tokens [N], and samples [N] drawn with `noise` [N] from [0, 1)."""
        predictions, samples = [], []
        rows = max(CHUNK // self.vocabulary, 1)  # rows of scores in memory at once
        for part, target, uniform in zip(vectors.split(rows), targets.split(rows), noise.split(rows), strict=True):
            scores = head.log_probs(part)  # [n, V]
            predictions.append(scores.argmax(-1) if not self.training else target)
            if not self.config.allow_correct:
                scores = scores.scatter(1, target[:, None], -math.inf)
            scaled = scores if self.config.temperature == 1 else scores / self.config.temperature
            samples.append(sample(scaled, uniform))
        return torch.cat(predictions), torch.cat(samples)


def sample(scores: Tensor, uniform: Tensor) -> Tensor:
    """Scores [N, V], uniform [N] -> one token per row [N], drawn from softmax(scores).

    By inverting the distribution function: one random number per token, where Gumbel noise takes V. First a group of
    tokens is drawn, then a token of the group: a cumulative sum over all V would cost more than everything else.
    """
    weights = (scores - scores.amax(1, keepdim=True)).exp_()  # [N, V]
    grouped = weights.shape[1] // GROUP * GROUP
    groups = weights[:, :grouped].unflatten(1, (-1, GROUP)).sum(2)  # [N, V // GROUP]
    groups = torch.cat([groups, weights[:, grouped:].sum(1, keepdim=True)], 1)
    cumulative = groups.cumsum(1)
    group, rest = invert(cumulative, uniform * cumulative[:, -1])
    tokens = group[:, None] * GROUP + torch.arange(GROUP, device=scores.device)  # [N, GROUP]
    inside = weights.gather(1, tokens.clamp(max=weights.shape[1] - 1)) * (tokens < weights.shape[1])
    token, _ = invert(inside.cumsum(1), rest)
    return group * GROUP + token


def invert(cumulative: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative sums [N, K], values [N] up to the last -> the bin of each value [N], and its offset in the bin [N].

    A value as large as the last sum is in the bin where that was reached.
    """
    below = torch.nextafter(cumulative[:, -1], cumulative.new_zeros(()))
    values = torch.minimum(values.to(cumulative.dtype), below)[:, None]
    bins = torch.searchsorted(cumulative, values, right=True)  # [N, 1]
    before = torch.where(bins > 0, cumulative.gather(1, (bins - 1).clamp(min=0)), 0)
    return bins[:, 0], (values - before)[:, 0]


def with_tokens(batch: Batch, samples: Tensor) -> Batch:
    """The batch with samples [N] at the target positions, in the order of `gather_targets`."""
    targets, tokens = batch.targets, batch.inputs.tokens
    if targets.device.type == "cpu":
        tokens = tokens.masked_scatter(targets != IGNORED, samples)
    elif batch.target_positions is None:
        tokens = torch.where(targets != IGNORED, samples.view_as(targets), tokens)
    else:
        tokens = written(tokens, batch.target_positions, samples.view_as(batch.target_positions))
    return replace(batch, inputs=replace(batch.inputs, tokens=tokens))


def written(tokens: Tensor, positions: Tensor, values: Tensor) -> Tensor:
    """Tokens [B, T] with values [B, P] at positions [B, P]; those at position -1 are dropped."""
    padded = positions.masked_fill(positions < 0, tokens.shape[1])
    return F.pad(tokens, (0, 1)).scatter(1, padded, values)[:, :-1]
