"""Tell which tokens a small model has put in the place of others: ELECTRA.

Clark et al. 2020 (arXiv:2003.10555, and the authors' code): a generator guesses hidden tokens as a masked model does;
a sample of its guesses is put in their place, through which no gradient flows; the main model says of every token
whether it is the original one. Both are trained at once. The ablations of section 3.4 are two choices: what the main
model tells, and where:

                      at = "all"             at = "chosen"
    tell = "replaced"    ELECTRA             ELECTRA 15%
    tell = "original"    all-tokens MLM      replace MLM

B rows, T places, N chosen places, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
"""neighbouring tokens that are drawn from together first"""


class ReplacedConfig(ObjectiveConfig):
    """Tell which tokens a small model, trained beside, has put in the place of hidden ones (ELECTRA)."""

    kind: Literal["replaced"] = "replaced"
    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    masking: MaskingChoice = TokenMaskingConfig(mask=0.85, random=0.0)
    """which tokens the generator has to guess"""
    generator: GeneratorChoice = SmallerGeneratorConfig()
    temperature: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    """of its samples: below 1 they are more probable ones"""
    allow_correct: bool = True
    """whether a sample may happen to be the hidden token, which then counts as original"""
    tell: Literal["replaced", "original"] = "replaced"
    """what the main model tells of a token: whether it was replaced, or what it was"""
    at: Literal["all", "chosen"] = "all"
    """of which tokens: all there are, special ones included, or those the generator had to guess"""
    masked_weight: NonNegative = 1.0
    """of the generator's loss"""
    weight: NonNegative | None = None
    """of the main model's loss; absent: 50, or 1 where it tells the original"""
    activation: ActivationName = "gelu"
    """between the two layers that tell whether a token was replaced"""
    initial: NormalConfig = NormalConfig()
    """how these begin"""

    @override
    def generator_spec(self, main: ModelSpec) -> ModelSpec | None:
        return self.generator.spec(main)

    def build(self, spec: ModelSpec) -> Replaced:
        """The objective with both models."""
        return Replaced(self, spec)

    def teller(self, width: int, head: Head) -> TokenDiscriminator:
        """What stands on a main model of that width, whose head is used if it tells words."""
        everywhere = self.at == "all"
        if self.tell == "replaced":
            return Discriminator(width, everywhere=everywhere, activation=self.activation, initial=self.initial)
        return CopyingRestorer(head, width, self.initial) if everywhere else TokenRestorer(head)

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The rows with tokens hidden, and what samples are drawn by."""
        return Noisy(Masked(cast(RowBatches, source), self.masking, tokenizer, seed), seed)


class Replaced(Objective):
    """Terms: the generator's "masked", as of a masked model; the main model's "replaced", or "original".

    "replaced" is the binary cross-entropy of all tokens that are no padding. The main model is the `backbone`: what
    features and fine-tuning read. In evaluation `metrics` holds how many of each were told right.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"bidirectional"})

    def __init__(self, config: ReplacedConfig, spec: ModelSpec):
        backbone = spec.backbone()
        super().__init__(backbone, spec.head_on(backbone) if config.tell == "original" else NoHead())
        self.config, self.vocabulary = config, spec.vocabulary
        self.weight = config.weight if config.weight is not None else 50.0 if config.tell == "replaced" else 1.0
        self.generator: Generator | None = config.generator.build(spec, backbone)
        self.discriminator = config.teller(backbone.dim, self.head)

    def forward(self, batch: Batch, state: State) -> Step:
        """See `Objective.forward`."""
        terms, metrics, samples = self._generate(batch)
        seen = with_tokens(batch, samples)
        hidden = self.backbone(seen.inputs, None)
        loss, counts = self.discriminator(hidden.dropped, batch, seen.inputs.tokens)
        terms[self.discriminator.term] = Term(loss, self.weight)
        if not self.training:
            metrics |= counts
        return Step(terms=terms, metrics=metrics)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """See `Objective.counts`."""
        chosen = int((batch.targets != IGNORED).sum())
        told = {self.discriminator.term: batch.tokens if self.discriminator.everywhere else chosen}
        return told if self.generator is None else {"masked": chosen} | told

    def shares(self, counts: Mapping[str, int], number: Mapping[str, int]) -> dict[str, float]:
        """See `Objective.shares`."""
        return super().shares(counts, number) | self.discriminator.shares(counts)

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`."""
        choices = 2 if self.config.tell == "replaced" else self.vocabulary
        return self.config.masked_weight * math.log(self.vocabulary) + self.weight * math.log(choices)

    def macs_per_token(self, length: int) -> float:
        """See `Objective.macs_per_token`: the generator's head is asked for hidden tokens."""
        told = 1.0 if self.discriminator.everywhere else self.config.masking.rate
        main = self.backbone.macs_per_token(length) + told * macs_per_token(self.discriminator)
        if self.generator is None:
            return main
        return (
            main
            + self.generator.backbone.macs_per_token(length)
            + self.config.masking.rate * macs_per_token(self.generator.head)
        )

    # --- the generator ----------------------------------------------------------------------------

    def _generate(self, batch: Batch) -> tuple[dict[str, Term], dict[str, Tensor], Tensor]:
        """Its term, what it guessed right, and a sample [N] for each chosen place."""
        assert batch.noise is not None  # as `ReplacedConfig.batches` makes them
        noise = gather_targets(batch.noise[..., None], batch)[0][:, 0]  # [N]
        if self.generator is None:
            return {}, {}, (noise * self.vocabulary).long().clamp(max=self.vocabulary - 1)
        vectors, targets = gather_targets(self.generator.backbone(batch.inputs, None).dropped, batch)  # [N, D], [N]
        valid = targets != IGNORED
        targets = targets.masked_fill(~valid, 0)
        nll = self.generator.head.nll(vectors, targets)  # [N]
        guesses, samples = self._sample(self.generator.head, vectors.detach(), targets, noise)
        metrics = {} if self.training else {"masked": ((guesses == targets) & valid).sum()}
        return {"masked": Term((nll * valid).sum(), self.config.masked_weight)}, metrics, samples

    @torch.no_grad()
    def _sample(self, head: Head, vectors: Tensor, targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """vectors [N, D] -> the most probable tokens [N], and samples [N], as `noise` [N] from [0, 1) has it."""
        guesses, samples = [], []
        height = max(CHUNK // self.vocabulary, 1)  # rows of scores that are held at once
        for part, target, uniform in zip(
            vectors.split(height), targets.split(height), noise.split(height), strict=True
        ):
            scores = head.log_probs(part)  # [n, V]
            guesses.append(scores.argmax(-1) if not self.training else target)
            if not self.config.allow_correct:
                scores = scores.scatter(1, target[:, None], -math.inf)
            warm = scores if self.config.temperature == 1 else scores / self.config.temperature
            samples.append(sample(warm, uniform))
        return torch.cat(guesses), torch.cat(samples)


def sample(scores: Tensor, uniform: Tensor) -> Tensor:
    """scores [N, V], uniform [N] -> one token each [N], drawn with probabilities softmax(scores).

    By the inverse of the distribution function: one random number a token, where Gumbel noise takes V; first among
    groups of neighbours and then in one group, for running totals over all V cost more than all else.
    """
    weights = (scores - scores.amax(1, keepdim=True)).exp_()  # [N, V]
    grouped = weights.shape[1] // GROUP * GROUP
    groups = weights[:, :grouped].unflatten(1, (-1, GROUP)).sum(2)  # [N, V // GROUP]
    groups = torch.cat([groups, weights[:, grouped:].sum(1, keepdim=True)], 1)
    reached = groups.cumsum(1)
    group, wanted = drawn(reached, uniform * reached[:, -1])
    places = group[:, None] * GROUP + torch.arange(GROUP, device=scores.device)  # [N, GROUP]
    inside = weights.gather(1, places.clamp(max=weights.shape[1] - 1)) * (places < weights.shape[1])
    token, _ = drawn(inside.cumsum(1), wanted)
    return group * GROUP + token


def drawn(reached: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Running totals [N, K], numbers [N] up to the last -> where each lies [N], and how far above what is before.

    A number as large as the last total lies where that was reached.
    """
    below = torch.nextafter(reached[:, -1], reached.new_zeros(()))
    wanted = torch.minimum(wanted.to(reached.dtype), below)[:, None]
    found = torch.searchsorted(reached, wanted, right=True)  # [N, 1]
    before = torch.where(found > 0, reached.gather(1, (found - 1).clamp(min=0)), 0)
    return found[:, 0], (wanted - before)[:, 0]


def with_tokens(batch: Batch, chosen: Tensor) -> Batch:
    """The batch with other tokens [N] at the places of targets, in the order of `gather_targets`."""
    targets, tokens = batch.targets, batch.inputs.tokens
    if targets.device.type == "cpu":
        tokens = tokens.masked_scatter(targets != IGNORED, chosen)
    elif batch.target_positions is None:
        tokens = torch.where(targets != IGNORED, chosen.view_as(targets), tokens)
    else:
        tokens = written(tokens, batch.target_positions, chosen.view_as(batch.target_positions))
    return replace(batch, inputs=replace(batch.inputs, tokens=tokens))


def written(tokens: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """tokens [B, T] with values [B, P] at places [B, P]; those of no place, -1, are written behind the row and cut."""
    behind = places.masked_fill(places < 0, tokens.shape[1])
    return F.pad(tokens, (0, 1)).scatter(1, behind, values)[:, :-1]
