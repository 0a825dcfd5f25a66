"""Small Transformers in float64, with weights far from their start."""

from typing import Any

import torch
from torch import Tensor

from foretell.models.transformer import Transformer, TransformerConfig

VOCABULARY = 11


def build(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig.model_validate({"hidden": 8, "layers": 2, "heads": 2, "context": 8} | settings)
    model = config.build(VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def tokens_of(rows: int, steps: int) -> Tensor:
    return torch.randint(VOCABULARY, (rows, steps), generator=torch.Generator().manual_seed(2))


POSITIONS = ["learned", "sinusoid", "rotary", "none"]
BERT: dict[str, Any] = {"direction": "both", "norm": {"kind": "post", "embedding": True}, "segments": 2}
