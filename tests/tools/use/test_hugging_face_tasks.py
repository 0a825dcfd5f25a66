"""Fine-tuned models there and back: the same predictions on both sides."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from builders import covering
from hugging_face import (
    BERT_SIZES,
    imported,
    unwarned,
)
from labelled import task_tables, write_labelled

import foretell
from foretell.data.batches.framing import collate
from foretell.data.labelled.examples import Choice, Question, Tagged
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.tools.use.convert import export_run

POST = {"kind": "post", "embedding": True}
PIECES = {"kind": "wordpiece", "size": 200, "specials": "bert"}
UNIGRAMS = {"kind": "unigram", "size": 60, "specials": "bert"}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert": ({"norm": POST}, PIECES),
    "roberta": (
        {"norm": POST, "positions": {"kind": "learned", "offset": 2}, "segments": 0},
        {"kind": "bpe", "size": 300, "specials": "roberta"},
    ),
    "albert": ({"norm": POST, "embedding_dim": 8, "groups": 1, "layers": 2}, UNIGRAMS),
    "electra": ({"norm": POST, "embedding_dim": 8}, PIECES),
    "megatron-bert": ({"norm": {"kind": "pre", "final": True}}, PIECES),
}
"""a small model of each family, and its tokenizer"""
ON_TOP = {
    "classification": "SequenceClassification",
    "several": "SequenceClassification",
    "pairs": "SequenceClassification",
    "similarity": "SequenceClassification",
    "choice": "MultipleChoice",
    "tagging": "TokenClassification",
    "answering": "QuestionAnswering",
}


def of_task(task: str, body: str, folder: Path, **changes: Any) -> foretell.Trained:
    """A run of a task, of a few steps."""
    model, tokenizer = BODIES[body]
    tables = task_tables(task, "bert", write_labelled(task, folder), limit="3steps")
    tables["model"], tables["data"]["tokenizer"] = tables["model"] | model | {"context": 96}, tokenizer
    tables["data"]["batches"]["length"] = 96
    if task == "pairs":
        tables["objective"]["pairs"] = "joined"
    return foretell.train(load_recipe(tables, changes), folder / "run", quiet=True)


def read_there(tokenizer: Any, example: Any) -> dict[str, torch.Tensor]:
    """An example as a user of transformers gives it to a model."""
    if isinstance(example, Choice):
        contexts = [example.context] * len(example.options)
        found = tokenizer(contexts, list(example.options), padding=True, return_tensors="pt")
        return {key: tensor[None] for key, tensor in found.items()}
    texts = {Tagged: lambda e: [" ".join(e.words)], Question: lambda e: [e.question, e.passage]}
    return dict(tokenizer(*texts.get(type(example), lambda e: e.texts)(example), return_tensors="pt"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("task", "body"), covering(ON_TOP, BODIES))
def test_a_fine_tuned_model_says_the_same_there(task: str, body: str, transformers: ModuleType, tmp_path: Path) -> None:
    run = of_task(task, body, tmp_path)
    told = export_run(run, tmp_path / "there", "hf")
    if body == "electra" and task not in ("tagging", "answering"):  # of texts it says nothing by tanh, as ALBERT does
        body = "albert"
    name = {"megatron-bert": "MegatronBert"}.get(body, body.capitalize())
    assert told["architecture"] == f"{name}For{ON_TOP[task]}"
    with unwarned():
        model = getattr(transformers, told["architecture"]).from_pretrained(tmp_path / "there").eval()
        auto = getattr(transformers, f"AutoModelFor{ON_TOP[task]}").from_pretrained(tmp_path / "there")
    assert type(auto) is type(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "there")
    examples = TaskModule(run.recipe)
    rows = examples.task.rows(examples.learned.train[:6], examples.framing, run.labels)
    for example, row in zip(examples.learned.train, rows, strict=False):
        here = collate([row], run.tokenizer.specials).inputs
        with torch.no_grad():
            mine = run.objective.scores(run.objective.read(here).last, here)
            its = model(**read_there(tokenizer, example))
        logits = torch.stack([its.start_logits, its.end_logits], -1) if task == "answering" else its.logits
        torch.testing.assert_close(mine, logits.view_as(mine), rtol=0, atol=1e-5)
    if task in ("classification", "several", "pairs", "tagging"):
        assert model.config.id2label == dict(enumerate(run.labels))
    kinds = {"several": "multi_label_classification", "similarity": "regression"}
    if ON_TOP[task] == "SequenceClassification":
        assert model.config.problem_type == kinds.get(task, "single_label_classification")
    if task != "choice":  # of how many, the folder does not say
        back, told = imported(tmp_path / "there", tmp_path / "back")
        assert told["missing"] == told["surplus"] == []
        assert back.settings.objective.kind == run.settings.objective.kind
        here, again = ([found.line() for found in one.predict(examples.learned.train[:6])] for one in (run, back))
        assert here == again or task == "similarity"
    card = (tmp_path / "there" / "README.md").read_text()
    assert f"| {run.summary()[run.settings.objective.metric]:.4f} |" in card


@pytest.mark.parametrize(
    ("architecture", "settings", "objective", "names"),
    [
        ("SequenceClassification", {"num_labels": 1}, {"kind": "similarity"}, ("0.0", "1.0")),
        ("SequenceClassification", {}, {"kind": "classification", "multi_label": False}, ("LABEL_0", "LABEL_1")),
        ("TokenClassification", {"id2label": {0: "NOUN", 1: "VERB"}}, {"scheme": "none"}, ("NOUN", "VERB")),
        ("TokenClassification", {"id2label": {0: "O", 1: "I-LOC"}}, {"scheme": "iob2"}, ("O", "I-LOC")),
        ("TokenClassification", {"id2label": {0: "S-LOC", 1: "O"}}, {"scheme": "bioes"}, ("S-LOC", "O")),
        ("MultipleChoice", {}, {"kind": "masked"}, ()),
    ],
)
def test_what_outputs_of_theirs_are_here(
    architecture: str,
    settings: dict[str, Any],
    objective: dict[str, Any],
    names: tuple[str, ...],
    transformers: ModuleType,
    tmp_path: Path,
) -> None:
    config = transformers.BertConfig(**BERT_SIZES, **settings)
    getattr(transformers, f"BertFor{architecture}")(config).save_pretrained(tmp_path / "theirs")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert run.labels == names
    assert objective.items() <= run.settings.objective.model_dump().items()
    left = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    assert sorted(told["surplus"]) == (left if architecture == "MultipleChoice" else [])


@pytest.mark.parametrize("wrong", [{"first": "NOUN"}, ["NOUN", "VERB"]])
def test_labels_that_name_no_output(wrong: Any, transformers: ModuleType, tmp_path: Path) -> None:
    config = transformers.BertConfig(**BERT_SIZES)
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id2label": wrong}))
    with pytest.raises(ConfigError, match="id2label must name each output by its number"):
        imported(tmp_path / "theirs", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "changes", "told"),
    [
        (
            "classification",
            {"objective.pooling": "mean"},
            r"nearest is bert, except for objective\.pooling\.kind = 'mean'.*with objective\.pooling\.kind=first",
        ),
        ("classification", {"objective.outputs.hidden": 5}, r"except for objective\.outputs\.hidden = 5"),
        ("pairs", {"objective.pairs": "apart"}, r"except for objective\.pairs = 'apart' instead of 'joined'"),
        ("tagging", {"objective.crf": True}, r"except for objective\.crf = True"),
    ],
)
def test_what_no_fine_tuned_model_there_can_say(task: str, changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        export_run(of_task(task, "bert", tmp_path, **changes), tmp_path / "there", "hf")
