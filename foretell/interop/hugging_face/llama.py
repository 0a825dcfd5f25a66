"""Llama and Mistral in transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from foretell.config import Config, validate
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Misfit, Setting, Theirs, at, link
from foretell.interop.hugging_face.family import CAUSAL, MOST_LAYERS, Family, Form
from foretell.nn.attention.positions import LinearScalingConfig, Llama3ScalingConfig
from foretell.strict_json import JsonObject, shown
from foretell.trees import Tree

PLAIN: Tree = {"rope_theta": 10_000.0, "rope_type": "default"}
"""rotary positions without scaling"""
SCALINGS: dict[str, type[Config]] = {"linear": LinearScalingConfig, "llama3": Llama3ScalingConfig}
"""our scaling of rotary positions for a `rope_type`"""
ORIGINAL = "original_max_position_embeddings"
SPELLED = {"original_context": ORIGINAL}
"""their names of settings of a scaling, where they differ"""


class Heads(Setting):
    """Heads of queries, and of keys and values, and their width where it is not hidden_size / num_attention_heads."""

    @override
    def read(self, theirs: JsonObject) -> dict[str, Any]:
        heads = theirs.integer(self.theirs, least=1)
        given = theirs.get("num_key_value_heads") is not None
        shared = theirs.integer("num_key_value_heads", least=1) if given else heads
        width = theirs.integer("head_dim", least=1) if theirs.get("head_dim") is not None else None
        usual = width is None or width * heads == theirs["hidden_size"]
        return {
            self.ours: heads if shared == heads else [heads, shared],
            "model.head_dim": None if usual else width,
        }

    @override
    def write(self, tree: Tree, theirs: Theirs) -> None:
        heads = at(tree, self.ours)
        pair = heads if isinstance(heads, list | tuple) else (heads, heads)
        theirs["num_attention_heads"], theirs["num_key_value_heads"] = pair
        if (width := at(tree, "model.head_dim")) is not None:
            theirs["head_dim"] = width


class Rotation(Setting):
    """Base and scaling of rotary positions, in `rope_parameters`; older files have `rope_theta` and `rope_scaling`."""

    @override
    def read(self, theirs: JsonObject) -> dict[str, Any]:
        given = (theirs.inner(key, {}) for key in ("rope_scaling", self.theirs))
        stated = [inner for inner in given if inner and inner.values_by_key is not self.default]
        first, *others = (self._in(inner, theirs) for inner in stated or [JsonObject({}, theirs.file)])
        if any(other != first for other in others):
            what = f"rope_scaling and {self.theirs} differ, which are the same setting"
            raise ConfigError(what, file=theirs.file, remedy=f"keep {self.theirs} only")
        return first

    def _in(self, inner: JsonObject, theirs: JsonObject) -> dict[str, Any]:
        """Our settings for one of the two objects."""
        if layers := [key for key, value in inner.items() if isinstance(value, dict)]:
            what = f"{inner.path(layers[0])} is not supported, only the same rotary positions in all layers"
            raise ConfigError(what, file=theirs.file)
        kind = inner.get("rope_type", inner.get("type", "default"))
        if not isinstance(kind, str) or kind not in ("default", *SCALINGS):
            known = ", ".join(("default", *SCALINGS))
            raise ConfigError(f"rope_type = {shown(kind)} is not supported (known: {known})", file=theirs.file)
        places = [place for place in (inner, theirs) if place.get("rope_theta") is not None]
        base, *others = [place.number("rope_theta", least=1, most=1e12) for place in places] or [PLAIN["rope_theta"]]
        if any(other != base for other in others):
            what = f"rope_theta = {others[0]:g}, but {inner.inside} has {base:g}"
            raise ConfigError(what, file=theirs.file, remedy=f"keep {self.theirs} only")
        found: dict[str, Any] = {f"{self.ours}.base": base}
        if kind in SCALINGS:
            found[f"{self.ours}.scaling"] = scaling_in(inner, SCALINGS[kind], theirs)
        return found

    @override
    def write(self, tree: Tree, theirs: Theirs) -> None:
        base, scaling = at(tree, f"{self.ours}.base"), dict(at(tree, f"{self.ours}.scaling") or {})
        if base is None:
            raise Misfit(f"{self.ours}.base is absent")
        kind = scaling.pop("kind", "default")
        if kind not in ("default", *SCALINGS):
            raise Misfit(f"{self.ours}.scaling.kind = {kind!r} is not among {', '.join(SCALINGS)}")
        named = {SPELLED.get(name, name): value for name, value in scaling.items()}
        theirs[self.theirs] = {"rope_theta": base, "rope_type": kind} | named


def scaling_in(inner: JsonObject, scaling: type[Config], theirs: JsonObject) -> Tree:
    """Our scaling of rotary positions. The original context can also be stated outside, which then counts."""
    longest = {ORIGINAL: theirs["max_position_embeddings"]}
    outside = {ORIGINAL: theirs[ORIGINAL]} if theirs.get(ORIGINAL) is not None else {}
    read = JsonObject({**longest, **inner, **outside}, theirs.file, inner.inside)
    names = {name: SPELLED.get(name, name) for name in scaling.model_fields if name != "kind"}
    return validate(scaling, {name: read.value(key) for name, key in names.items()}, theirs.file).model_dump()


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
            Rotation("model.positions", "rope_parameters", PLAIN),
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
                first=block + "attention.out.weight",
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
