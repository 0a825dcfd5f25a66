"""The recipes to time, and the same models in plain torch and transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from foretell.recipe.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """One recipe at one size."""

    name: str
    recipe: str
    settings: dict[str, Any]
    vocabulary: int
    peers: Mapping[str, Callable[[Recipe, int], nn.Module]] = field(default_factory=dict)
    """models that map tokens [B, T] to scores [B, T, V], by name"""
    compiled: bool = True
    """whether to time it compiled, too; the compiler unrolls loops over time, which takes too long"""
    precisions: tuple[str, ...] = ("fp32", "bf16")

    def shrunk(self) -> Work:
        """The work in miniature."""
        small: dict[str, Any] = {
            "data.batches.batch": 2,
            "data.batches.length": 8,
            "model.hidden": 8,
        }
        if "awd" in self.recipe:
            small |= {"model.layers": 2, "model.embedding_dim": 8, "model.output": 8}
        if "gpt" in self.recipe or "bert" in self.recipe:
            small |= {"model.layers": 2, "model.heads": 2, "model.context": 8, "model.feed_forward": 16}
        return replace(self, settings=self.settings | small, vocabulary=50)


def gpt(rows: int, context: int, **model: Any) -> dict[str, Any]:
    """Settings for random crops as long as the context, and of the model."""
    return {
        "data.batches": {"kind": "crops", "batch": rows, "length": context},
        "model.context": context,
        **{f"model.{key}": value for key, value in model.items()},
    }


class PlainTransformer(nn.Module):
    """GPT-2, or BERT with the transform before its output layer, in torch's modules."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        width, self.causal = model.hidden, model.direction == "forward"
        activation = partial(nn.functional.gelu, approximate="tanh" if model.activation == "gelu_tanh" else "none")
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(model.context, width)
        self.drop = nn.Dropout(model.dropout.input)
        layer = nn.TransformerEncoderLayer(
            width,
            model.query_heads,
            model.feed_forward or 4 * width,
            model.dropout.residual,
            activation,
            batch_first=True,
            norm_first=self.causal,
            bias=model.biases,
        )
        norm = nn.LayerNorm(width, bias=model.biases)
        self.first = nn.Identity() if self.causal else nn.LayerNorm(width)
        self.layers = nn.TransformerEncoder(layer, model.layers, norm if self.causal else None, False)
        transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.transform = nn.Identity() if self.causal else transform
        self.head = nn.Linear(width, vocabulary, bias=not self.causal)
        self.head.weight = self.tokens.weight
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        steps = tokens.shape[1]
        x = self.drop(self.first(self.tokens(tokens) + self.positions(torch.arange(steps, device=tokens.device))))
        mask = nn.Transformer.generate_square_subsequent_mask(steps, device=tokens.device) if self.causal else None
        scores: Tensor = self.head(self.transform(self.layers(x, mask=mask, is_causal=self.causal)))
        return scores


class Scores(nn.Module):
    """A model of transformers that returns its scores only."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        scores: Tensor = self.model(input_ids=tokens).logits
        return scores


def theirs(recipe: Recipe, vocabulary: int) -> nn.Module:
    """The same model of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations
        import transformers
    model: Any = recipe.model
    if model.direction == "forward":
        config = transformers.GPT2Config(
            vocab_size=vocabulary,
            n_positions=model.context,
            n_embd=model.hidden,
            n_layer=model.layers,
            n_head=model.query_heads,
            embd_pdrop=model.dropout.input,
            attn_pdrop=model.dropout.attention,
            resid_pdrop=model.dropout.residual,
            bos_token_id=0,
            eos_token_id=0,
        )
        return Scores(transformers.GPT2LMHeadModel(config))
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.query_heads,
        intermediate_size=model.feed_forward,
        max_position_embeddings=model.context,
        hidden_dropout_prob=model.dropout.residual,
        attention_probs_dropout_prob=model.dropout.attention,
    )
    return Scores(transformers.BertForMaskedLM(config))


class PlainLSTM(nn.Module):
    """A stack of torch.nn.LSTM of the same widths: ordinary dropout, no weight drop, no penalties."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        widths = [model.embedding_dim] + [model.hidden] * (model.layers - 1) + [model.output or model.hidden]
        self.tokens = nn.Embedding(vocabulary, model.embedding_dim)
        self.layers = nn.ModuleList(nn.LSTM(widths[i], widths[i + 1], batch_first=True) for i in range(model.layers))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(widths[-1], vocabulary)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        x = self.drop(self.tokens(tokens))
        for layer in self.layers:
            x = self.drop(layer(x)[0])
        scores: Tensor = self.head(x)
        return scores


class PlainMLSTM(nn.Module):
    """A multiplicative LSTM: products with the inputs for all steps at once, the rest in a loop under autograd."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        width, embedding = model.hidden, model.embedding_dim
        self.tokens, self.head = nn.Embedding(vocabulary, embedding), nn.Linear(width, vocabulary)
        self.inputs = nn.Linear(embedding, 5 * width)
        self.inner, self.outer = nn.Linear(width, width, bias=False), nn.Linear(width, 4 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        products = self.inputs(self.tokens(tokens.t()))  # [T, B, 5 H]
        width = products.shape[2] // 5
        h = c = products.new_zeros(products.shape[1], width)
        outputs = []
        for gates, factor in zip(*(part.unbind() for part in products.split([4 * width, width], 2)), strict=True):
            i, f, g, o = (gates + self.outer(factor * self.inner(h))).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        scores: Tensor = self.head(torch.stack(outputs, 1))
        return scores


MLSTM = {
    "data.batches": {"kind": "streams", "batch": 256, "length": 256},
    "model": {"kind": "recurrent", "cell": "mlstm", "embedding_dim": 64, "hidden": 4096, "layers": 1},
    "training.gradient_clip": 1.0,
}
"""As in arXiv:1808.01371, where a V100 processed 80,900 characters per second."""
QRNN_SIZE = {"data.batches.jitter": 0.0, "model.cell": "qrnn", "model.hidden": 1550, "model.layers": 4}

BERT_LARGE = {
    "data.batches": {"kind": "full", "ends": "anywhere", "batch": 128, "length": 128},
    "training.recompute": False,
    "training.micro_batches": 1,
    "stages": [],
}
"""Rows of 128 tokens, 15 % of them masked, without pairs; everything else as in the recipe."""
GPT_2 = gpt(16, 1024) | {"training.micro_batches": 1}
PLAIN, PLAIN_LSTM = {"plain torch": PlainTransformer}, {"plain torch": PlainLSTM}

WORK = (
    Work("GPT-2 124M", "gpt2-124m", GPT_2, 50_304, PLAIN | {"transformers": theirs}, precisions=("bf16",)),
    Work("BERT-large, 128", "bert-large", BERT_LARGE, 30_522, PLAIN | {"transformers": theirs}, precisions=("bf16",)),
    Work("AWD-LSTM, PTB size", "awd-lstm-ptb", {"data.batches.jitter": 0.0}, 10_000, PLAIN_LSTM),
    Work("AWD-QRNN, PTB size", "awd-lstm-ptb", QRNN_SIZE, 10_000, PLAIN_LSTM),
    Work("mLSTM 4096", "char-lstm", MLSTM, 256, {"plain torch": PlainMLSTM}, compiled=False),
    Work("nanoGPT, CPU setting", "nanogpt-shakespeare", {}, 65, PLAIN),
    Work("GPT 6 x 384", "nanogpt-shakespeare", gpt(64, 256, layers=6, heads=6, hidden=384), 65, PLAIN),
)
"""By importance, as time may run out. 50,304 is 50,257 rounded up to a multiple of 64, as in nanoGPT."""
