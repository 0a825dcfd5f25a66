"""Llama and Mistral in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Misfit, Setting, Theirs, at, link
from foretell.interop.hugging_face.family import CAUSAL, MOST_LAYERS, Family, Form
from foretell.strict_json import JsonObject, shown
from foretell.trees import Tree

PLAIN: Tree = {"rope_theta": 10_000.0, "rope_type": "default"}
"""rotary positions without scaling"""


class Heads(Setting):
    """Heads of queries, and of keys and values; `head_dim` must be their usual width."""

    @override
    def read(self, theirs: JsonObject) -> dict[str, Any]:
        heads = theirs.integer(self.theirs, least=1)
        given = theirs.get("num_key_value_heads") is not None
        shared = theirs.integer("num_key_value_heads", least=1) if given else heads
        if theirs.get("head_dim") is not None:
            width, hidden = theirs.integer("head_dim", least=1), theirs.integer("hidden_size", least=1)
            if width * heads != hidden:
                what = f"head_dim = {width} is not supported, only hidden_size / num_attention_heads"
                raise ConfigError(what, file=theirs.file)
        return {self.ours: heads if shared == heads else [heads, shared]}

    @override
    def write(self, tree: Tree, theirs: Theirs) -> None:
        heads = at(tree, self.ours)
        pair = heads if isinstance(heads, list | tuple) else (heads, heads)
        theirs["num_attention_heads"], theirs["num_key_value_heads"] = pair


class Rotation(Setting):
    """The base of rotary positions, in `rope_parameters`; older files have `rope_theta` and `rope_scaling`."""

    @override
    def read(self, theirs: JsonObject) -> dict[str, Any]:
        inner = theirs.inner(self.theirs)
        scaling = theirs.inner("rope_scaling") if theirs.get("rope_scaling") is not None else inner
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind != "default":
            raise ConfigError(f"rope_type = {shown(kind)} is not supported, only 'default'", file=theirs.file)
        base = inner.number("rope_theta", least=1, most=1e12)
        if theirs.get("rope_theta") is None:
            return {self.ours: base}
        older = theirs.number("rope_theta", least=1, most=1e12)
        if base not in (PLAIN["rope_theta"], older):
            what = f"rope_theta = {older:g}, but {self.theirs} has {base:g}"
            raise ConfigError(what, file=theirs.file, remedy=f"keep {self.theirs} only")
        return {self.ours: older}

    @override
    def write(self, tree: Tree, theirs: Theirs) -> None:
        base = at(tree, self.ours)
        if base is None:
            raise Misfit(f"{self.ours} is absent")
        theirs[self.theirs] = PLAIN | {"rope_theta": base}


def llama(kind: str, name: str, inner: int, context: int, theirs: Mapping[str, Any]) -> Family:
    """A family with the tensors of Llama, and its sizes where config.json has none."""
    block, layer = "backbone.blocks.{}.", "model.layers.{}."
    return Family(
        kind=kind,
        stem="model",
        forms=(Form(f"{name}ForCausalLM", "text-generation", begin={"data.batches.kind": "crops"}),),
        ours=CAUSAL
        | {
            "model.activation": "swiglu",
            "model.positions.kind": "rotary",
            "model.norm.kind": "pre",
            "model.norm.type": "rms",
            "model.norm.final": True,
            "model.biases": False,
        },
        theirs={"hidden_act": "silu"} | dict(theirs),
        settings=(
            Setting("model.hidden", "hidden_size", 4096),
            Setting("model.layers", "num_hidden_layers", 32, most=MOST_LAYERS),
            Heads("model.heads", "num_attention_heads", 32),
            Setting("model.feed_forward", "intermediate_size", inner, absent=lambda theirs: 4 * theirs["hidden_size"]),
            Setting("model.context", "max_position_embeddings", context),
            Setting("model.norm.epsilon", "rms_norm_eps", 1e-6),
            Rotation("model.positions.base", "rope_parameters", PLAIN),
            Setting("model.initial.std", "initializer_range", 0.02, loose=True),
            Setting("model.dropout.attention", "attention_dropout", 0.0, loose=True),
            Setting("head.tied", "tie_word_embeddings", False),
        ),
        links=(
            link("backbone.embedding.table.weight", "model.embed_tokens.weight"),
            link(block + "attention_norm.weight", layer + "input_layernorm.weight"),
            link(
                block + "attention.qkv.weight",
                *(layer + f"self_attn.{part}_proj.weight" for part in "qkv"),
                square=True,
            ),
            link(block + "attention.out.weight", layer + "self_attn.o_proj.weight"),
            link(block + "feed_forward_norm.weight", layer + "post_attention_layernorm.weight"),
            link(block + "feed_forward.inner.weight", layer + "mlp.gate_proj.weight", layer + "mlp.up_proj.weight"),
            link(block + "feed_forward.out.weight", layer + "mlp.down_proj.weight"),
            link("backbone.norm.weight", "model.norm.weight"),
            link("head.weight", "lm_head.weight"),
        ),
        tied={"lm_head.weight": "model.embed_tokens.weight"},
        begin={"model.initial.residual_scaling": False},
        ignored=r"rotary_emb\.inv_freq$",
    )


LLAMA = llama("llama", "Llama", 11008, 2048, {"attention_bias": False, "mlp_bias": False})
# With a sliding window attention would be another function.
MISTRAL = llama("mistral", "Mistral", 14336, 131072, {"sliding_window": None})
