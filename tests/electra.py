"""Small models of ELECTRA, and batches for them."""

from typing import Any

import torch
from torch import Tensor

from foretell import config
from foretell.models.model_spec import ModelSpec
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.electra.discriminators import originals
from foretell.objectives.electra.objective import Replaced, ReplacedConfig
from foretell.types import Batch, Inputs

VOCABULARY = 11
TINY = {"direction": "both", "hidden": 8, "layers": 2, "heads": 2, "context": 8, "segments": 2}
HEAD = {"tied": True, "transform": {}}


def compose(model: dict[str, Any] | None = None, vocabulary: int = VOCABULARY, **settings: Any) -> Replaced:
    torch.manual_seed(0)
    norm = {"kind": "post", "embedding": True, "final": False, "epsilon": 1e-12}
    body = config.validate(TransformerConfig, {"norm": norm, "activation": "gelu"} | TINY | (model or {}), "model")
    head = config.validate(FullHeadConfig, HEAD, "head")
    return config.validate(ReplacedConfig, settings, "objective").build(ModelSpec(body, head, vocabulary))


def masked_batch(lengths: tuple[int, ...] = (8, 3, 6, 5)) -> Batch:
    """Rows of different lengths, a third of whose tokens are hidden behind token 1 but for every seventh."""
    random = torch.Generator().manual_seed(3)
    shape = (len(lengths), max(lengths))
    tokens = torch.randint(2, VOCABULARY, shape, generator=random)
    real = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    chosen = (torch.rand(shape, generator=random) < 0.35) & real
    hidden = torch.where(chosen & (torch.arange(shape[1]) % 7 > 0), 1, tokens.masked_fill(~real, 0))
    return Batch(
        inputs=Inputs(tokens=hidden, lengths=torch.tensor(lengths)),
        targets=tokens.masked_fill(~chosen, -100),
        noise=torch.rand(shape, generator=random, dtype=torch.float64),
    )


def samples_of(built: Replaced, batch: Batch) -> Tensor:
    with torch.no_grad():
        return built._generate(batch)[2]


def seen_by(built: Replaced, batch: Batch) -> Tensor:
    """The tokens that the main model reads, place by place."""
    tokens, drawn = originals(batch).clone(), iter(samples_of(built, batch).tolist())
    for row, place in (batch.targets != -100).nonzero().tolist():
        tokens[row, place] = next(drawn)
    return tokens
