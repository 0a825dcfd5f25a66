"""Every task with every kind of model that it takes learns, is saved, is opened and says the same; refusals say why."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import covering, members
from labelled import MODELS, objective_of, task_tables, write_labelled

import foretell
from foretell.data.batches.framing import collate
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.run import judged
from foretell.tasks.kinds import TaskChoice
from foretell.tasks.task import Task
from foretell.trees import override

TASKS = ["classification", "several", "pairs", "similarity", "choice", "tagging", "chained", "answering"]
every_task = pytest.mark.parametrize("task", TASKS)
every_model = pytest.mark.parametrize("model", MODELS)


def test_all_tasks_are_here() -> None:
    assert {objective_of(task, "bert")["kind"] for task in TASKS} == {m.kind_name() for m in members(TaskChoice)}


@pytest.mark.parametrize(("task", "model"), covering(TASKS, MODELS))
def test_it_learns_and_says_the_same_when_opened(task: str, model: str, tmp_path: Path) -> None:
    data = write_labelled(task, tmp_path)
    trained = foretell.train(task_tables(task, model, data), tmp_path / "run", quiet=True)
    record = trained.evaluate("valid")
    assert record[f"{trained.objective.term}_loss"] < 0.1
    assert record[record["metric"]] > 0.95
    summary = trained.summary()
    assert judged(summary) == pytest.approx(1 - record[record["metric"]], abs=1e-6)
    examples = TaskModule(trained.recipe).learned.train
    found = trained.predict(examples)
    again = foretell.load(tmp_path / "run").predict(examples)
    assert len(found) == len(examples)
    assert [one.record() for one in found] == [other.record() for other in again] or task == "answering"
    assert [one.line() for one in found] == [other.line() for other in again]


@every_task
@every_model
def test_what_it_says_depends_on_no_other_example(task: str, model: str, tmp_path: Path) -> None:
    """Side by side with others, padded, in any order, and alone."""
    built, examples = build(task, model, tmp_path)
    rows = examples.task.rows(examples.learned.train[:5], examples.framing, examples.labels)
    specials = examples.tokenizer.specials
    together = collate(rows, specials).inputs
    with torch.no_grad():
        scores = built.probabilities(built.scores(built.read(together).last, together), rows)
        for number, row in enumerate(rows):
            alone = collate([row], specials).inputs
            one = built.probabilities(built.scores(built.read(alone).last, alone), [row])[0]
            here = scores[number][: len(one)] if task in ("tagging", "chained", "answering") else scores[number]
            torch.testing.assert_close(here, one, rtol=1e-4, atol=1e-5)


@every_task
def test_parts_of_a_batch_are_one_batch(task: str, tmp_path: Path) -> None:
    built, examples = build(task, "recurrent", tmp_path)
    batch = examples.batches()[0]
    whole = built(batch, None).terms[built.term].total.item()
    parts = [batch.rows(slice(0, 5)), batch.rows(slice(5, 16))]
    assert sum(built(part, None).terms[built.term].total.item() for part in parts) == pytest.approx(whole, rel=1e-5)
    assert sum(built.counts(part)[built.term] for part in parts) == built.counts(batch)[built.term]


@every_task
@every_model
def test_every_parameter_gets_a_gradient(task: str, model: str, tmp_path: Path) -> None:
    built, examples = build(task, model, tmp_path)
    built(examples.batches()[0], None).terms[built.term].total.backward()
    unmoved = {name for name, p in built.named_parameters() if p.grad is None or not p.grad.any()}
    assert unmoved <= ({"outputs.1.bias"} if task == "choice" else set())  # options compete: what all have is nothing


def build(task: str, model: str, folder: Path) -> tuple[Task, TaskModule]:
    """A task as it begins, without dropout, and its examples."""
    recipe = load_recipe(task_tables(task, model, write_labelled(task, folder)))
    examples = TaskModule(recipe)
    torch.manual_seed(1)
    built = recipe.build(examples.tokenizer.size, labels=len(examples.labels)).eval()
    assert isinstance(built, Task)
    return built, examples


# --- refusals -------------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("classification", "recurrent", {"objective.pooling": "first"}, 'take "last", "mean", "max" or "concat"'),
    ("classification", "gpt", {"objective.pooling": "first"}, "reads forwards has seen nothing of the text"),
    ("classification", "bert", {"objective.language_weight": 0.5}, "does not predict the next token"),
    ("classification", "recurrent-both", {"objective.language_weight": 0.5}, "does not predict the next token"),
    ("classification", "bert", {"objective.gradient_length": 5}, "reads a text at once"),
    ("classification", "gpt", {"objective.gradient_length": 5}, "reads a text at once"),
    ("classification", "bert", {"model": {"kind": "ngram"}}, "an n-gram model has none"),
    ("classification", "bert", {"data.batches": {"kind": "streams", "length": 9}}, 'data.batches.kind = "examples"'),
    ("classification", "bert", {"objective": "causal"}, 'objective.kind = "classification" or another task'),
    ("classification", "bert", {"objective": "tagging"}, "from tagged words, and .*classified.tsv:2 has labelled"),
    ("tagging", "bert", {"objective": "answering"}, "learns from questions, and .*has tagged words"),
    ("classification", "bert", {"objective": {"kind": "similarity"}}, r"tsv:2: 'label' is 'GOOD', not a number"),
    ("classification", "bert", {"objective.metric": "f1"}, "name it as positive"),
    ("classification", "bert", {"objective.positive": "MEH"}, r"^objective.positive = 'MEH' .* \(BAD, GOOD, ODD\)"),
    ("classification", "bert", {"objective.pairs": "apart"}, "takes two"),
    ("tagging", "bert", {"objective.scheme": "none", "objective.metric": "entity_f1"}, 'set metric = "accuracy"'),
    ("answering", "bert", {"data.batches.length": 3}, "leaves no room for a passage"),
    ("classification", "bert", {"data.batches.length": 2}, "leaves no room for texts"),
    ("classification", "bert", {"data.batches.length": 99}, r"^recipe: data.batches.length = 99 does not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "model", "changes", "why"), REFUSED, ids=lambda part: str(part)[:40])
def test_refusals_say_why(task: str, model: str, changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    tables = override(task_tables(task, model, write_labelled(task, tmp_path)), changes)
    with pytest.raises(ConfigError, match=why):
        foretell.train(tables, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("reader", "label", "told"), [("one", "GOOD", "'GOOD'"), ("score", "2", "2.0")])
def test_labels_that_are_all_the_same_are_refused(reader: str, label: str, told: str, tmp_path: Path) -> None:
    task = {"one": "classification", "score": "similarity"}[reader]
    data = write_labelled(task, tmp_path)
    file = tmp_path / "same.tsv"
    file.write_text(f"text\tlabel\nthe cat\t{label}\na dog\t{label}\n")
    data |= {"corpus": {"train": str(file), "valid": str(file)}, "reader": {"kind": "table", "labels": reader}}
    with pytest.raises(ConfigError, match=f"every label of the training split is {told}"):
        foretell.train(task_tables(task, "recurrent", data), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("changes", [{}, {"objective.scheme": "none", "objective.metric": "accuracy"}])
def test_tags_that_are_all_the_same_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    data = write_labelled("tagging", tmp_path)
    file = tmp_path / "same.conll"
    file.write_text("the O\ncat O\n\na O\n")
    data |= {"corpus": {"train": str(file), "valid": str(file)}}
    tables = override(task_tables("tagging", "recurrent", data), changes)
    with pytest.raises(ConfigError, match="every tag of the training split is 'O': nothing to distinguish"):
        foretell.train(tables, tmp_path / "run", quiet=True)


def test_labels_that_training_has_not_are_refused_with_their_lines(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)
    other = tmp_path / "other.tsv"
    other.write_text("text\tlabel\nthe cat\tGOOD\na mat\tBAD\na dog\tGOD\na tree\tUGLY\n")
    data["corpus"] = data["corpus"] | {"valid": str(other)}
    with pytest.raises(ConfigError, match=r"2 of 4 rows[^$]*other.tsv:4: the label 'GOD' [^$]*mean 'GOOD'[^$]*tsv:5"):
        foretell.train(task_tables("classification", "bert", data), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    tables = task_tables("classification", "bert", data | {"skip_bad": True}, limit="2steps")
    assert foretell.train(tables, tmp_path / "run", quiet=True).summary()["examples"] == 2
