"""BERT and its relatives in transformers: RoBERTa, ALBERT, ELECTRA, Megatron-BERT, XLM-RoBERTa, CamemBERT."""

from __future__ import annotations

from dataclasses import replace

from foretell.interop.hugging_face.correspondence import Link, Setting, Theirs, link
from foretell.interop.hugging_face.family import ACTIVATIONS, MOST_LAYERS, SAME_ACTIVATIONS, Family, Form, Labels
from foretell.trees import Tree

BOTH_SIDES: Tree = {
    "model.kind": "transformer",
    "model.direction": "both",
    "model.head_dim": None,
    "model.embedding.kind": "table",
    "model.positions.kind": "learned",
    "model.norm.type": "layer",
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
    """Settings with the same keys in all of them, and the defaults of transformers."""
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
    """The activation of feed-forward networks, and of the head unless it has its own."""
    own = Setting("model.activation", "hidden_act", default, ACTIVATIONS, SAME_ACTIVATIONS)
    return (own,) if head else (own, replace(own, ours="head.transform.activation"))


def embeddings(stem: str, norm: bool = True) -> tuple[Link, ...]:
    """Tokens, positions, segments, and the norm of their sum."""
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
    """The layers of all except ALBERT."""
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
    """The masked-language-model head."""
    return (
        link("head.transform.dense", dense),
        link("head.transform.norm", norm),
        link("head.bias", bias),
    )


def albert_layers() -> tuple[Link, ...]:
    """ALBERT's layers, each a group of one."""
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
    """Pre-training with both heads if there is a pair head, then masked language modelling; by their first tensors."""
    masked, rows = {"objective.kind": "masked"}, "data.batches.kind"
    alone = Form(f"{name}ForMaskedLM", "fill-mask", words, masked | {"data.batches.pairs": None}, {rows: "full"})
    if not pair:
        return (alone,)
    other = "sop" if pairs == "nsp" else "nsp"  # the head is the same
    both = masked | {"data.batches.pairs": (pairs, other)}
    return Form(f"{name}ForPreTraining", "fill-mask", pair, both, {rows: "segment-pair"}), alone


# Heads of tasks.
PROBLEM_TYPES = {False: "single_label_classification", True: "multi_label_classification"}
OUTPUTS = "outputs.1"
"""the last layer of `OutputsConfig.build`"""
ONLY_OUTPUTS: Tree = {"objective.language_weight": 0.0, "objective.outputs.hidden": None}
BY_FIRST: Tree = ONLY_OUTPUTS | {"objective.pooling.kind": "first", "objective.pooling.dense": True}
EXAMPLES: Tree = {"data.batches.kind": "examples"}


def of_words(name: str) -> tuple[Form, ...]:
    """Token classification and question answering."""
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
    """Regression and classification of texts, with the links `whole`; multiple choice, with `chosen` if given."""
    classes = Form(
        f"{name}ForSequenceClassification",
        "text-classification",
        sign=f"{whole[-1].theirs[0]}.weight",
        ours=BY_FIRST | {"objective.kind": "classification", "objective.pairs": "joined"},
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
    option = Form(  # a checkpoint lacks the number of options, so this is not imported
        f"{name}ForMultipleChoice",
        "multiple-choice",
        ours=BY_FIRST | {"objective.kind": "choice"},
        links=chosen or whole,
        without_words=True,
    )
    return number, classes, option


def pair_head(pooler: str, pair: str) -> tuple[Link, ...]:
    """The pair head; the first kind is the following text, in ours and theirs."""
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
    """RoBERTa, or the same with another vocabulary, whose classes begin with `name`."""
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
        # positions start after the id of the padding token, 1; rows 0 and 1 are unused
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
        *of_words("Electra"),  # texts: our pooler has tanh instead of GELU, so they are exported as ALBERT
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
