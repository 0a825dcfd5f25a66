"""The labels of a run: kept, found again, and refused where they are no longer those of the run."""

import json
from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.learning.labels import keep_labels, load_labels
from foretell.run import Run
from foretell.tasks.answering import AnsweringConfig
from foretell.tasks.classification import ClassificationConfig
from foretell.tasks.similarity import SimilarityConfig
from foretell.tasks.tagging import TaggingConfig
from foretell.tasks.task import TaskConfig


def test_labels_are_kept_and_others_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe="", resume=False)
    keep_labels(run, ("bad", "good"))
    keep_labels(run, ("bad", "good"))
    assert load_labels(run.labels_file) == ("bad", "good")
    with pytest.raises(ConfigError, match=r"those of its data now \(new: 'fine'\) \(gone: 'good'\)"):
        keep_labels(run, ("bad", "fine"))
    with pytest.raises(ConfigError, match="those of its data now; restore"):
        keep_labels(run, ("good", "bad"))


@pytest.mark.parametrize("label", ["a\tb", "a\n", "\x1b[2J", "", "\ud800"])
def test_labels_that_could_not_be_printed_are_not_kept(tmp_path: Path, label: str) -> None:
    with pytest.raises(ConfigError, match=r"is empty|which no label may"):
        keep_labels(Run(tmp_path), ("good", label))
    assert not Run(tmp_path).labels_file.exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "is a list, not an object"),
        (b"{}", "has no 'labels'"),
        (b'{"labels": null}', "'labels' is None, not a list"),
        (b'{"labels": "ab"}', "'labels' is 'ab', not a list"),
        (b'{"labels": [1, 2]}', "'labels' is a list, not a list of texts"),
        (b'{"labels": ["a", "a"]}', "contains a duplicate label"),
        (b'{"labels": ["a", "\\u001b[2J"]}', r"the label '\x1b[2J' holds '\x1b', which no label may"),
        (b'{"labels": ["a", "\\ud800"]}', "a lone surrogate"),
        (b'{"labels": ["a"]}', "has 1 label, which is nothing to distinguish"),
        (b"[" * 50_000, "nested more than 100 levels deep"),
    ],
)
def test_damaged_labels_are_one_error_that_names_the_file(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as problem:
        load_labels(path, ClassificationConfig())
    assert what in str(problem.value) and str(problem.value).isprintable()
    assert problem.value.file == path and "restore it" in str(problem.value)


@pytest.mark.parametrize(
    ("task", "good", "wrong"),
    [
        (ClassificationConfig(), ["a", "b"], ["a"]),
        (ClassificationConfig(multi_label=True, metric="micro_f1"), ["a"], []),
        (SimilarityConfig(), ["0.0", "5.0"], ["5.0", "0.0"]),
        (SimilarityConfig(), ["0.0", "5.0"], ["a", "b"]),
        (SimilarityConfig(), ["0.0", "5.0"], ["nan", "1.0"]),
        (SimilarityConfig(), ["0.0", "5.0"], ["1.0"]),
        (TaggingConfig(), ["O", "B-x", "I-x"], ["O", "E-x"]),
        (TaggingConfig(scheme="none", metric="accuracy"), ["NN"], []),
        (AnsweringConfig(), ["impossible"], ["possible"]),
        (AnsweringConfig(), [], ["a", "b"]),
    ],
)
def test_labels_fit_their_task(tmp_path: Path, task: TaskConfig, good: list[str], wrong: list[str]) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labels": good}))
    assert load_labels(path, task) == tuple(good)
    path.write_text(json.dumps({"labels": wrong}))
    with pytest.raises(ConfigError, match=r"labels.json: .*; restore it"):
        load_labels(path, task)
