"""The families of models that are known here and there, each described once.

Config keys and tensor names are those of transformers 5; older checkpoints are brought into that form. Where the
original codes and transformers differ (BERT's activation, say), config.json has the word.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

from foretell.config import Tree
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Link, Misfit, Setting, Theirs, link
from foretell.interop.hugging_face.family import Family, Form, Labels, far
from foretell.strict_json import shown

MOST_LAYERS = 4096
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
SAME_ACTIVATIONS = {"gelu_python": "gelu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}


# --- GPT and GPT-2 --------------------------------------------------------------------------------


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
    """What the two have in common. Their matrices are inputs x outputs."""
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
        ours={
            "model.kind": "transformer",
            "model.direction": "forward",
            "model.embedding_dim": None,
            "model.embedding.kind": "table",
            "model.groups": None,
            **({} if inner else {"model.feed_forward": None}),
            "model.positions.kind": "learned",
            "model.positions.offset": 0,
            "model.norm.kind": norm,
            "model.norm.embedding": False,
            "model.norm.final": norm == "pre",
            "model.segments": 0,
            "head.kind": "full",
            "head.bias": False,
            "head.transform": None,
            "objective.kind": "causal",
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
            link(block + "attention.qkv", theirs + "attn.c_attn", turned=True),
            link(block + "attention.out", theirs + "attn.c_proj", turned=True),
            link(block + "feed_forward_norm", theirs + "ln_2"),
            link(block + "feed_forward.inner", theirs + "mlp.c_fc", turned=True),
            link(block + "feed_forward.out", theirs + "mlp.c_proj", turned=True),
            link("backbone.norm", "transformer.ln_f"),
            link("head.weight", "lm_head.weight"),
        ),
        tied={"lm_head.weight": f"transformer.{words}.weight"},
        ignored=r"\.attn\.(bias|masked_bias)$",  # the triangle of who sees whom
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
# GPT's config has no inner width, and its "gelu" is the approximation by tanh.
GPT = gpt(
    "openai-gpt",
    words="tokens_embed",
    positions="positions_embed",
    norm="post",
    activation=Setting("model.activation", "afn", "gelu", {"gelu_tanh": "gelu", "relu": "relu"}, {"gelu_new": "gelu"}),
    context=512,
)


# --- BERT and what comes from it ------------------------------------------------------------------

BOTH_SIDES: Tree = {
    "model.kind": "transformer",
    "model.direction": "both",
    "model.embedding.kind": "table",
    "model.positions.kind": "learned",
    "head.kind": "full",
    "head.tied": True,
    "head.bias": True,
}
ONLY_ENCODERS: Theirs = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
}


def sizes(
    hidden: int = 768, layers: int = 12, heads: int = 12, inner: int = 3072, dropout: float = 0.1, less: int = 0
) -> tuple[Setting, ...]:
    """The settings that go by the same keys in all of them, with what transformers takes where a key is missing."""
    return (
        Setting("model.hidden", "hidden_size", hidden),
        Setting("model.layers", "num_hidden_layers", layers, most=MOST_LAYERS),
        Setting("model.heads", "num_attention_heads", heads),
        Setting("model.feed_forward", "intermediate_size", inner, absent=lambda theirs: 4 * theirs["hidden_size"]),
        Setting("model.context", "max_position_embeddings", 512, less=lambda _: less),
        Setting("model.segments", "type_vocab_size", 2, least=1),
        Setting("model.norm.epsilon", "layer_norm_eps", 1e-12),
        Setting("head.transform.epsilon", "layer_norm_eps", 1e-12),
        Setting("model.initial.std", "initializer_range", 0.02, loose=True),
        Setting("model.dropout.residual", "hidden_dropout_prob", dropout, loose=True),
        Setting("model.dropout.input", "hidden_dropout_prob", dropout, loose=True),
        Setting("model.dropout.attention", "attention_probs_dropout_prob", dropout, loose=True),
    )


def activations(head: str | None, default: str = "gelu") -> tuple[Setting, ...]:
    """That of the feed-forward networks, which the head's is too where no other is named."""
    own = Setting("model.activation", "hidden_act", default, ACTIVATIONS, SAME_ACTIVATIONS)
    return (own,) if head else (own, replace(own, ours="head.transform.activation"))


def embeddings(stem: str, norm: bool = True) -> tuple[Link, ...]:
    """Words, places, segments, and the norm of their sum."""
    words = "backbone.embedding.table.weight"
    theirs = f"{stem}.embeddings."
    summed = (link("backbone.embedding_norm", theirs + "LayerNorm"),) if norm else ()
    return (
        link(words, theirs + "word_embeddings.weight"),
        link("backbone.positions.weight", theirs + "position_embeddings.weight"),
        link("backbone.segments.weight", theirs + "token_type_embeddings.weight", instead=words),
        *summed,
    )


def layers(
    stem: str, attention_norm: str = "attention.output.LayerNorm", norm: str = "output.LayerNorm"
) -> tuple[Link, ...]:
    """The layers of all but ALBERT."""
    block, theirs = "backbone.blocks.{}.", stem + ".encoder.layer.{}."
    attention = theirs + "attention.self."
    return (
        link(block + "attention.qkv", attention + "query", attention + "key", attention + "value"),
        link(block + "attention.out", theirs + "attention.output.dense"),
        link(block + "attention_norm", theirs + attention_norm),
        link(block + "feed_forward.inner", theirs + "intermediate.dense"),
        link(block + "feed_forward.out", theirs + "output.dense"),
        link(block + "feed_forward_norm", theirs + norm),
    )


def words_head(dense: str, norm: str, bias: str) -> tuple[Link, ...]:
    """What predicts hidden words."""
    return (
        link("head.transform.dense", dense),
        link("head.transform.norm", norm),
        link("head.bias", bias),
    )


def albert_layers() -> tuple[Link, ...]:
    """Its layers, each a group of one."""
    block, theirs = "backbone.blocks.{}.", "albert.encoder.albert_layer_groups.{}.albert_layers.0."
    attention = theirs + "attention."
    return (
        link(block + "attention.qkv", attention + "query", attention + "key", attention + "value"),
        link(block + "attention.out", attention + "dense"),
        link(block + "attention_norm", attention + "LayerNorm"),
        link(block + "feed_forward.inner", theirs + "ffn"),
        link(block + "feed_forward.out", theirs + "ffn_output"),
        link(block + "feed_forward_norm", theirs + "full_layer_layer_norm"),
    )


def forms(name: str, words: str, pair: str = "", pairs: str = "") -> tuple[Form, ...]:
    """Both heads where there is one for pairs, then that for words alone; after their first tensors."""
    masked, rows = {"objective.kind": "masked"}, "data.batches.kind"
    alone = Form(f"{name}ForMaskedLM", "fill-mask", words, masked | {"data.batches.pairs": None}, {rows: "full"})
    if not pair:
        return (alone,)
    other = "sop" if pairs == "nsp" else "nsp"  # the head is the same
    both = masked | {"data.batches.pairs": (pairs, other)}
    return Form(f"{name}ForPreTraining", "fill-mask", pair, both, {rows: "segment-pair"}), alone


# What tasks have on top of a body.
PROBLEM_TYPES = {False: "single_label_classification", True: "multi_label_classification"}
OUTPUTS = "outputs.1"
"""the last layer of `OutputsConfig.build`"""
ONLY_OUTPUTS: Tree = {"objective.language_weight": 0.0, "objective.outputs.hidden": None}
BY_FIRST: Tree = ONLY_OUTPUTS | {"objective.pooling.kind": "first", "objective.pooling.dense": True}
EXAMPLES: Tree = {"data.batches.kind": "examples"}


def of_words(name: str) -> tuple[Form, ...]:
    """A tag for every token, or where an answer begins and ends."""
    tags = Form(
        f"{name}ForTokenClassification",
        "token-classification",
        sign="classifier.weight",
        ours=ONLY_OUTPUTS | {"objective.kind": "tagging", "objective.crf": False},
        begin=EXAMPLES,
        links=(link(OUTPUTS, "classifier"),),
        without_words=True,
        labels=Labels(),
    )
    answer = Form(
        f"{name}ForQuestionAnswering",
        "question-answering",
        sign="qa_outputs.weight",
        ours=ONLY_OUTPUTS | {"objective.kind": "answering"},
        begin=EXAMPLES,
        links=(link(OUTPUTS, "qa_outputs"),),
        without_words=True,
    )
    return tags, answer


def of_texts(name: str, whole: tuple[Link, ...], chosen: tuple[Link, ...] | None = None) -> tuple[Form, ...]:
    """A number for a text or its classes, by the links of `whole`; one of several texts, by `chosen` if given."""
    classes = Form(
        f"{name}ForSequenceClassification",
        "text-classification",
        sign=f"{whole[-1].theirs[0]}.weight",
        ours=BY_FIRST | {"objective.kind": "classification", "objective.orders": "given"},
        begin=EXAMPLES,
        settings=(Setting("objective.multi_label", "problem_type", spelled=PROBLEM_TYPES, absent=lambda _: None),),
        links=whole,
        without_words=True,
        labels=Labels(),
    )
    number = replace(
        classes,
        ours=classes.ours | {"objective.kind": "similarity"},
        theirs={"problem_type": "regression"},
        settings=(),
        labels=Labels(read=lambda _: ("0.0", "1.0"), write=lambda _: ("similarity",)),
    )
    option = Form(  # how many there are is not in a checkpoint, so that it is not read
        f"{name}ForMultipleChoice",
        "multiple-choice",
        ours=BY_FIRST | {"objective.kind": "choice"},
        links=chosen or whole,
        without_words=True,
    )
    return number, classes, option


def pair_head(pooler: str, pair: str) -> tuple[Link, ...]:
    """What tells how two texts belong together; the first kind is the text that goes on, here and there."""
    return link("pooler", pooler), link("pair", pair)


BERT_HEADS = (
    *words_head("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    *pair_head("bert.pooler.dense", "cls.seq_relationship"),
)
BERT = Family(
    kind="bert",
    stem="bert",
    forms=(
        *of_texts("Bert", (link(OUTPUTS, "classifier"),)),
        *of_words("Bert"),
        *forms("Bert", "cls.predictions.transform.dense.weight", "cls.seq_relationship.weight", "nsp"),
    ),
    ours=BOTH_SIDES
    | {
        "model.embedding_dim": None,
        "model.groups": None,
        "model.positions.offset": 0,
        "model.norm.kind": "post",
        "model.norm.embedding": True,
        "model.norm.final": False,
    },
    theirs=ONLY_ENCODERS,
    settings=sizes() + activations(None),
    links=(
        *embeddings("bert"),
        *layers("bert"),
        *BERT_HEADS,
    ),
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    begin={"model.initial.residual_scaling": False},
    ignored=r"embeddings\.position_ids$",
)
MEGATRON_BERT = replace(
    BERT,
    kind="megatron-bert",
    forms=(
        *of_texts("MegatronBert", (link(OUTPUTS, "classifier"),)),
        *of_words("MegatronBert"),
        *forms("MegatronBert", "cls.predictions.transform.dense.weight", "cls.seq_relationship.weight", "nsp"),
    ),
    ours=BERT.ours | {"model.norm.kind": "pre", "model.norm.embedding": False, "model.norm.final": True},
    settings=sizes(hidden=1024, layers=24, heads=16, inner=4096) + activations(None),
    links=(
        *embeddings("bert", norm=False),
        *layers("bert", attention_norm="attention.ln", norm="ln"),
        link("backbone.norm", "bert.encoder.ln"),
        *BERT_HEADS,
    ),
    begin={},
)


def roberta(kind: str, name: str) -> Family:
    """RoBERTa, and what is one with another vocabulary: their classes begin with `name`."""
    return replace(
        BERT,
        kind=kind,
        stem="roberta",
        forms=(
            *of_texts(
                name,
                (link("pooler", "classifier.dense"), link(OUTPUTS, "classifier.out_proj")),
                (link("pooler", "roberta.pooler.dense"), link(OUTPUTS, "classifier")),
            ),
            *of_words(name),
            *forms(name, "lm_head.dense.weight"),
        ),
        # places are counted from the padding token's id on, which is 1, and rows 0 and 1 stand for none
        ours=BERT.ours | {"model.positions.offset": 2, "head.transform.activation": "gelu"},
        theirs=ONLY_ENCODERS | {"pad_token_id": 1},
        settings=sizes(less=2) + activations("gelu"),
        links=(
            *embeddings("roberta"),
            *layers("roberta"),
            *words_head("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
        ),
        tied={
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        },
    )


ROBERTA = roberta("roberta", "Roberta")
XLM_ROBERTA = roberta("xlm-roberta", "XLMRoberta")
CAMEMBERT = roberta("camembert", "Camembert")
ALBERT = replace(
    BERT,
    kind="albert",
    stem="albert",
    forms=(
        *of_texts("Albert", (link(OUTPUTS, "classifier"),)),
        *of_words("Albert"),
        *forms("Albert", "predictions.dense.weight", "sop_classifier.classifier.weight", "sop"),
    ),
    ours={key: value for key, value in BERT.ours.items() if key not in ("model.embedding_dim", "model.groups")},
    theirs=ONLY_ENCODERS | {"inner_group_num": 1},
    settings=(
        *sizes(hidden=4096, heads=64, inner=16384, dropout=0.0),
        *activations(None, "gelu_new"),
        Setting("model.embedding_dim", "embedding_size", 128),
        Setting("model.groups", "num_hidden_groups", 1, absent=lambda theirs: theirs["num_hidden_layers"]),
    ),
    links=(
        *embeddings("albert"),
        link("backbone.projection", "albert.encoder.embedding_hidden_mapping_in"),
        *albert_layers(),
        *words_head("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
        *pair_head("albert.pooler", "sop_classifier.classifier"),
    ),
    tied={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
)
ELECTRA = replace(
    BERT,
    kind="electra",
    stem="electra",
    forms=(
        Form(
            "ElectraForPreTraining",
            "feature-extraction",
            "discriminator_predictions.dense.weight",
            {"objective.kind": "replaced", "objective.target": "replaced"},
            {"data.batches.kind": "full", "objective.generator.kind": "uniform"},
            settings=(Setting("objective.activation", "hidden_act", "gelu", ACTIVATIONS, SAME_ACTIVATIONS),),
            without_words=True,
        ),
        *of_words("Electra"),  # whole texts: ours have tanh there and not GELU, so they go as ALBERTs
        *forms("Electra", "generator_predictions.dense.weight"),
    ),
    ours={key: value for key, value in BERT.ours.items() if key != "model.embedding_dim"}
    | {"head.transform.activation": "gelu"},
    settings=(
        *sizes(hidden=256, heads=4, inner=1024),
        *activations("gelu"),
        Setting("model.embedding_dim", "embedding_size", 128, absent=lambda theirs: theirs["hidden_size"]),
    ),
    links=(
        *embeddings("electra"),
        link("backbone.projection", "electra.embeddings_project"),
        *layers("electra"),
        *words_head("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
        link("discriminator.dense", "discriminator_predictions.dense"),
        link("discriminator.prediction", "discriminator_predictions.dense_prediction"),
    ),
    tied={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
)

FAMILIES = (GPT2, GPT, BERT, ROBERTA, ELECTRA, ALBERT, MEGATRON_BERT, XLM_ROBERTA, CAMEMBERT)


def family_named(kind: object, file: Path | str = "config.json") -> Family:
    """The family of a `model_type`, which a file says."""
    known = {family.kind: family for family in FAMILIES}
    if isinstance(kind, str) and kind in known:
        return known[kind]
    # note: not `did_you_mean`, to which every relative of BERT looks like another that is known
    near = difflib.get_close_matches(str(kind), known, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"model_type {shown(kind)} is not supported{hint} (supported: {', '.join(known)})", file=file)


def family_of(recipe: Tree, first: str | None = None) -> tuple[Family, Form, Theirs]:
    """The first family that a recipe fits, with form and config.json; `first` is tried before the others."""
    misfits = {}
    for family in sorted(FAMILIES, key=lambda family: family.kind != first):
        try:
            return family, *family.config(recipe)
        except Misfit as problem:
            misfits[family.kind] = problem
    nearest = min(misfits, key=lambda kind: far(misfits[kind].problems))
    raise ConfigError(
        f"no family of the Hugging Face world is that model; nearest is {nearest}, but for {misfits[nearest]}"
    )
