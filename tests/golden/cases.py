"""The golden cases: a small training of every family, task and adaptation, with dropout, and what is measured after it.

Names are those of the present code; `names.py` translates them for an older commit.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A training on text, or on examples by their name in `labelled.write_labelled`, and what is measured after it."""

    name: str
    recipe: Settings
    measures: tuple[tuple[str, Settings], ...]  # methods of the trained model, and their arguments
    labelled: str = ""
    init: str = ""  # the case whose run it starts from
    fast: bool = False  # whether the fast tests run it
    portable: bool = True  # whether its figures hold on other machines; those of half precision do not

    @property
    def resumes(self) -> bool:
        """Whether it is trained in steps, and not counted at once as n-grams are."""
        return bool(self.recipe["model"]["kind"] != "ngram")


def merged(recipe: Settings, changes: Settings) -> Settings:
    """The recipe with dotted settings replaced, whole tables included."""
    result = deepcopy(recipe)
    for path, value in changes.items():
        *tables, name = path.split(".")
        table = result
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    return result


def kind(name: str, **settings: Any) -> Settings:
    return {"kind": name, **settings}


def stage(name: str, settings: Settings, start: str = "last") -> Settings:
    return {"name": name, "limit": "12steps", "start": start, "set": settings}


def case(name: str, base: Settings, changes: Settings, *measures: Any, **more: Any) -> Case:
    return Case(name, merged(base, changes), (TEST, *measures), **more)


def predict(line: str) -> tuple[str, Settings]:
    return "predict", {"examples": [line]}


# fmt: off
RECURRENT = kind("recurrent", cell=kind("lstm"), embedding_dim=8, hidden=12, layers=2,
                 dropout={"embedding": 0.1, "input": 0.2, "between": 0.2, "output": 0.2, "weight": 0.3})
BIRNN = RECURRENT | {"direction": "both"}
CAUSAL = kind("transformer", hidden=12, layers=2, heads=2, context=40, initial={"std": 0.2},
              dropout={"residual": 0.1, "attention": 0.1, "input": 0.1})
BOTH = CAUSAL | {"direction": "both", "segments": 2}

COMMON: Settings = {"limit": "30steps", "training": {"gradient_clip": 1.0, "log_every": "4steps"},
                    "evaluation": {"every": "10steps"}, "checkpoint": {"every": "15steps"},
                    "data": {"tokenizer": kind("word")}}
NGRAM: Settings = {"data": {"tokenizer": kind("word")}, "model": kind("ngram", order=4)}
LSTM = COMMON | {"model": RECURRENT, "optimizer": kind("adam", learning_rate=0.01, epsilon=1e-4),
                 "data": {"tokenizer": kind("word"), "batches": kind("streams", batch=4, length=10)}}
AWD = merged(LSTM, {
    "data.batches.jitter": 2.0, "model.hidden": 8, "head": kind("full", tied=True), "training.gradient_clip": 0.25,
    "objective": kind("causal", penalties=[kind("activation"), kind("temporal")]),
    "optimizer": kind("sgd", learning_rate=5.0, weight_decay=1e-4), "schedule": kind("plateau", by=0.9),
    "averaging": kind("nt-asgd", patience=0)})
GPT = COMMON | {
    "data": {"tokenizer": kind("bpe", size=300), "batches": kind("crops", batch=4, length=16)},
    "model": CAUSAL | {"context": 16, "activation": "gelu_tanh"}, "head": kind("full", tied=True, bias=False),
    "optimizer": kind("adamw", learning_rate=0.01, epsilon=1e-4, weight_decay=0.1),
    "schedule": kind("cosine", warmup="5steps", floor=0.1)}
BERT = COMMON | {
    "data": {"tokenizer": kind("wordpiece", size=120, lowercase=True, specials="bert"),
             "batches": kind("segment-pair", pairs="nsp", short=0.1, batch=4, length=24)},
    "model": BOTH | {"norm": kind("post", epsilon=1e-12, embedding=True)},
    "head": kind("full", tied=True, transform={"activation": "gelu_tanh"}),
    "objective": kind("masked", masking=kind("token", rounding="nearest", most=5)),
    "optimizer": kind("adamw", learning_rate=0.01, epsilon=1e-4, bias_correction=False),
    "schedule": kind("linear", warmup="5steps")}
ELECTRA = merged(BERT, {"data.batches.pairs": "none", "model.embedding_dim": 8,
                        "objective": kind("replaced", generator=kind("smaller", hidden_share=0.5))})
TASK = merged(COMMON, {"data.batches": kind("examples", batch=8, length=40),
                       "optimizer": kind("adam", learning_rate=0.01, epsilon=1e-4)})

TEXTS = ("the cat sat on the mat", "a dog barked", "")
RMS = {"learning_rate": 1e-3, "epsilon": 1e-3, "decay": 0.01, "segment": 10, "statistics": 400}
RECENT = {"window": 20, "sharpness": 0.7, "weight": 0.1}
TEST, COLUMNS = ("evaluate", {"split": "test"}), ("evaluate", {"split": "test", "columns": 3})
ADAPTED = tuple(("evaluate", on) for on in ({"dynamic": RMS}, {"cache": RECENT}, {"dynamic": RMS, "cache": RECENT}))
TUNED = (("evaluate", {"dynamic": {"rule": "sgd", "segment": 10, "tuning": 60}}),
         ("evaluate", {"cache": {"window": 20, "tuning": 60}}))
SCORE, FEATURES = ("score", {"texts": TEXTS}), ("features", {"texts": TEXTS})
GENERATE = ("generate", {"prompt": "the cat", "tokens": 30, "top_k": 10, "seed": 3})
SEARCH = ("search", {"prompt": "the", "tokens": 8, "width": 3, "best": 2})
PSEUDO = ("pseudo_likelihood", {"tokens": 40})

CASES: tuple[Case, ...] = (
    case("ngram", NGRAM, {}, SCORE, GENERATE, SEARCH, fast=True),
    case("ngram-characters", NGRAM, {"data.tokenizer": kind("character"), "model.prune": [0, 0, 1]}, SCORE),
    case("ngram-lines", NGRAM, {"data.batches": kind("lines")}),
    case("lstm", LSTM, {"schedule": kind("steps", by=0.5, after="10steps", every="8steps")},
         COLUMNS, SCORE, GENERATE, SEARCH, FEATURES, fast=True),
    case("lstm-unlocked", LSTM, {"model.dropout.locked": False, "model.cell.learned_state": True,
                                 "optimizer": kind("rmsprop"), "schedule": kind("one-cycle")}),
    case("lstm-projected", LSTM, {"model.cell": kind("lstm", projection=6, layer_norm=True), "model.stack": "summed",
                                  "model.dropout.layer": 0.2, "optimizer": kind("adadelta")}),
    case("awd-lstm", AWD, {}, COLUMNS, *ADAPTED, fast=True),
    case("awd-lstm-adaptive", AWD, {"head": kind("adaptive", tied=True, cutoffs=(6, 12), divide=2),
                                    "model.embedding": kind("adaptive", cutoffs=(6, 12), divide=2)}, SCORE, *TUNED),
    case("awd-lstm-finetuned", AWD, {"stages": [
        stage("train", {}), stage("finetune", {"averaging.at_once": True, "optimizer.learning_rate": 2.0}, "best")]}),
    case("rnn-documents", LSTM, {"model.cell": kind("rnn"), "data.batches.kind": "documents",
                                 "head": kind("sampled", samples=16, proposal="unigram"),
                                 "optimizer": kind("sgd", learning_rate=0.5, momentum=0.9, nesterov=True)}),
    case("gru-lines", LSTM, {"model.cell": kind("gru", reset="before", layer_norm=True, dropout={"zoneout": 0.1}),
                             "model.stack": "residual", "model.embedding_dim": 12, "data.batches.kind": "lines",
                             "head": kind("hierarchical"), "optimizer": kind("adagrad", learning_rate=0.1)}, SCORE),
    case("qrnn", LSTM, {"model.cell": kind("qrnn", pooling="ifo", zoneout=0.2), "model.stack": "dense",
                        "model.first_cell": kind("qrnn", window=2), "averaging": kind("swa", every="5steps"),
                        "head": kind("hierarchical", tree="classes"),
                        "schedule": kind("cyclic", cycle="10steps", low=0.2)}, COLUMNS, GENERATE, fast=True),
    case("mlstm", LSTM, {"model.cell": kind("mlstm", weight_norm=True), "model.layers": 1, "evaluation.columns": 8,
                         "data.tokenizer": kind("byte"), "averaging": kind("ema", decay=0.9),
                         "schedule": kind("wsd", warmup="3steps", until=0.5)}, SCORE, FEATURES, fast=True),
    case("mixture", AWD, {"head": kind("mixture", components=3, latent=8, dropout=0.2, tied=True)},
         SCORE, *ADAPTED, fast=True),
    case("gpt", GPT, {"model.norm": kind("post"), "model.dropout.table": 0.1},
         SCORE, GENERATE, SEARCH, FEATURES, *ADAPTED, fast=True),
    case("gpt2-micro-batches", GPT, {"training.micro_batches": 2, "training.recompute": True,
                                     "training.normalise": "sequences"}, SCORE),
    case("gpt2-rotary", GPT, {"model.positions": kind("rotary"), "model.layers": 4, "model.groups": 2,
                              "model.activation": "geglu", "model.biases": False, "model.dropout.layer": 0.1,
                              "schedule": kind("noam", warmup="8steps")}, GENERATE),
    case("gpt2-adaptive", GPT, {"head": kind("adaptive", tied=True, cutoffs=(40, 100), divide=2),
                                "model.embedding": kind("adaptive", cutoffs=(40, 100), divide=2),
                                "model.positions": kind("sinusoid")}),
    case("gpt2-ramp", GPT, {"data.ramp": {"times": 3, "over": "20steps"}, "schedule": kind("polynomial", power=2.0),
                            "optimizer.batch_scaling": {"rule": "square-root", "rows": 8}}),
    case("gpt2-bf16", GPT, {"training.precision": "bf16"}, portable=False),
    case("lstm-fp16", LSTM, {"training.precision": "fp16", "training.scaling": {"initial": 1024.0, "grow_every": 5}},
         portable=False),
    case("bert", BERT, {"training.micro_batches": 2}, PSEUDO, FEATURES, fast=True),
    case("bert-sentences", BERT, {"training.normalise": "longest", "model.norm": kind("pre"),
                                  "data.batches": kind("sentence-pair", batch=4, length=24)}),
    case("roberta", BERT, {"data.tokenizer": kind("bpe", size=300, specials="roberta"), "model.segments": 0,
                           "data.batches": kind("full", batch=4, length=24, documents="apart", copies=2),
                           "objective.masking": kind("whole-word", rate=0.2)}, PSEUDO),
    case("roberta-documents", BERT, {"data.batches": kind("doc", batch=4, length=24), "model.segments": 0,
                                     "data.ramp": {"times": 2, "over": "15steps"}}),
    case("albert", BERT, {"data.tokenizer": kind("unigram", size=90, lowercase=True, specials="bert"),
                          "data.batches.pairs": "sop", "model.groups": 1, "model.embedding_dim": 8,
                          "objective.masking": kind("n-gram", longest=3), "optimizer": kind("lamb")}, PSEUDO),
    case("masked-lstm", BERT, {"model": BIRNN, "data.batches": kind("full", batch=4, length=24)}, PSEUDO),
    case("electra", ELECTRA, {}, FEATURES, fast=True),
    case("electra-tied", ELECTRA, {"objective.generator": kind("tied"), "objective.positions": "chosen",
                                   "objective.temperature": 0.8, "optimizer.learning_rate": 0.002}),
    case("electra-original", ELECTRA, {"objective.generator": kind("uniform"), "objective.target": "original"}),
    case("classification-bert", TASK, {"model": BOTH, "data.fold": {"number": 2, "of": 4}, "objective": kind(
        "classification", pooling=kind("first"))}, FEATURES, predict("cat good"), labelled="classification", fast=True),
    case("classification-lstm", TASK, {"model": RECURRENT, "objective": kind(
        "classification", pooling=kind("concat"), metric="macro_f1", gradient_length=4)}, labelled="classification"),
    case("classification-gpt", TASK, {"model": CAUSAL, "training.micro_batches": 2, "objective": kind(
        "classification", pooling=kind("extract"), pairs="both-orders", language_weight=0.5)}, labelled="pairs"),
    case("multi-label", TASK, {"model": RECURRENT, "objective": kind(
        "classification", multi_label=True, metric="micro_f1")}, predict("good"), labelled="several", fast=True),
    case("similarity", TASK, {"model": BOTH, "objective": kind("similarity", metric="pearson")},
         predict("never sat\tcat"), labelled="similarity"),
    case("multiple-choice", TASK, {"model": BOTH, "objective": kind("choice", pooling=kind("mean"))},
         labelled="choice", fast=True),
    case("tagging", TASK, {"model": BIRNN, "objective": kind("tagging", at="first")},
         predict("Ann Lee sat"), labelled="tagging", fast=True),
    case("tagging-crf", TASK, {"model": BOTH, "objective": kind("tagging", at="last", crf=True)}, labelled="chained"),
    case("answering", TASK, {"model": BOTH, "objective": kind("answering", question=5, stride=4),
                             "data.batches.length": 16}, predict("who saw it\tBob"), labelled="answering", fast=True),
    case("unfreezing", TASK, {
        "model": RECURRENT, "objective": kind("classification", outputs={"hidden": 6, "dropout": 0.1}),
        "schedule": kind("slanted"), "optimizer.layer_decay": 0.4, "stages": [
            stage("outputs", {"trainable.kind": "top", "trainable.layers": 0}),
            stage("last-layer", {"trainable.kind": "top", "trainable.layers": 1}),
            stage("all", {"trainable.kind": "full"})]}, labelled="classification", init="lstm"),
    case("adapters", TASK, {"model": CAUSAL, "objective": kind("classification"), "stages": [
        stage("adapters", {"trainable.kind": "lora", "trainable.rank": 2}), stage("all", {"trainable.kind": "full"})]},
         labelled="classification", fast=True),
    case("other-vocabulary", LSTM, {"data.tokenizer": kind("bpe", size=280),
                                    "objective": kind("causal", penalties=[kind("l2-sp")])}, init="lstm"),
)
