"""GPT and GPT-2 in transformers."""

from __future__ import annotations

from foretell.interop.hugging_face.correspondence import Setting, link
from foretell.interop.hugging_face.family import ACTIVATIONS, CAUSAL, MOST_LAYERS, SAME_ACTIVATIONS, Family, Form


def gpt(
    kind: str,
    *,
    words: str,
    positions: str,
    norm: str,
    activation: Setting,
    context: int,
    inner: tuple[Setting, ...] = (),
) -> Family:
    """Shared parts of the two. Their matrices are inputs x outputs."""
    block, theirs = "backbone.blocks.{}.", "transformer.h.{}."
    return Family(
        kind=kind,
        stem="transformer",
        forms=(
            Form(
                "GPT2LMHeadModel" if kind == "gpt2" else "OpenAIGPTLMHeadModel",
                "text-generation",
                begin={"data.batches.kind": "crops"},
            ),
        ),
        ours=CAUSAL
        | {
            **({} if inner else {"model.feed_forward": None}),
            "model.head_dim": None,
            "model.positions.kind": "learned",
            "model.positions.offset": 0,
            "model.norm.kind": norm,
            "model.norm.type": "layer",
            "model.norm.final": norm == "pre",
        },
        theirs={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
        if kind == "gpt2"
        else {},
        settings=(
            Setting("model.hidden", "n_embd", 768),
            Setting("model.layers", "n_layer", 12, most=MOST_LAYERS),
            Setting("model.heads", "n_head", 12),
            activation,
            Setting("model.norm.epsilon", "layer_norm_epsilon", 1e-5),
            Setting("model.initial.std", "initializer_range", 0.02),
            Setting("model.dropout.input", "embd_pdrop", 0.1),
            Setting("model.dropout.attention", "attn_pdrop", 0.1),
            Setting("model.dropout.residual", "resid_pdrop", 0.1),
            Setting("head.tied", "tie_word_embeddings", True),
            Setting("model.context", "n_positions", context),
            *inner,
        ),
        links=(
            link("backbone.embedding.table.weight", f"transformer.{words}.weight"),
            link("backbone.positions.weight", f"transformer.{positions}.weight"),
            link(block + "attention_norm", theirs + "ln_1"),
            link(block + "attention.qkv", theirs + "attn.c_attn", transposed=True),
            link(block + "attention.out", theirs + "attn.c_proj", transposed=True),
            link(block + "feed_forward_norm", theirs + "ln_2"),
            link(block + "feed_forward.inner", theirs + "mlp.c_fc", transposed=True),
            link(block + "feed_forward.out", theirs + "mlp.c_proj", transposed=True),
            link("backbone.norm", "transformer.ln_f"),
            link("head.weight", "lm_head.weight"),
        ),
        tied={"lm_head.weight": f"transformer.{words}.weight"},
        ignored=r"\.attn\.(bias|masked_bias)$",  # causal masks
        aliases={
            "hidden_size": "n_embd",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
        },
    )


GPT2 = gpt(
    "gpt2",
    words="wte",
    positions="wpe",
    norm="pre",
    activation=Setting("model.activation", "activation_function", "gelu_new", ACTIVATIONS, SAME_ACTIVATIONS),
    inner=(Setting("model.feed_forward", "n_inner", absent=lambda theirs: 4 * theirs["n_embd"]),),
    context=1024,
)
# GPT's config has no inner width, and its "gelu" is the tanh approximation.
GPT = gpt(
    "openai-gpt",
    words="tokens_embed",
    positions="positions_embed",
    norm="post",
    activation=Setting("model.activation", "afn", "gelu", {"gelu_tanh": "gelu", "relu": "relu"}, {"gelu_new": "gelu"}),
    context=512,
)
