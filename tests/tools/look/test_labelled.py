"""Labelled data: the task and the reader that files show, and the settings that answer what they do not show."""

from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.tools.look.doctor import examine
from foretell.tools.look.labelled import labelled_data


@pytest.mark.parametrize(
    ("name", "row", "task"),
    [
        ("a.csv", "text,label\na film,{0}", "classification"),
        ("a.csv", "sentence1,sentence2,score\na film,the film,{1}", "similarity"),
        ("a.conll", "word B-PER\n", "tagging"),
        ("a.json", '{{"data": []}}', "answering"),
        ("a.jsonl", '{{"text": "a film number {1}"}}', None),
        ("a.txt", "a film", None),
        ("a.txt", "EU B-ORG\nrejects O\na O\nGerman B-MISC\ncall O\n", "tagging"),
    ],
)
def test_the_task_follows_from_the_file(tmp_path: Path, name: str, row: str, task: str | None) -> None:
    head, _, rest = row.partition("\n")
    rows = [rest.format("good" if n % 2 else "bad", n / 7) for n in range(50)] if rest.strip() else []
    (tmp_path / name).write_text("\n".join([head.format("", 0) if not rest.strip() else head, *rows, ""]))
    found = labelled_data(str(tmp_path / name))
    assert (found and found.task.kind_name()) == task


def test_a_score_of_one_text_is_asked_about(tmp_path: Path) -> None:
    rows = "".join(f"a film number {n} of many,{n / 7}\n" for n in range(50))
    (tmp_path / "a.csv").write_text("review,stars\n" + rows)
    with pytest.raises(ConfigError, match=r"too many values to be a label.*train similar"):
        labelled_data(str(tmp_path / "a.csv"))
    found = labelled_data(str(tmp_path / "a.csv"), ["data.reader.label=stars", "objective.kind=similarity"])
    assert found is not None and found.task.kind_name() == "similarity"


def test_a_file_named_for_testing_may_be_trained_on(tmp_path: Path) -> None:
    """What the error says to write works."""
    rows = "".join(f"a fine film number {n},{'good' if n % 2 else 'bad'}\n" for n in range(60))
    (tmp_path / "test.csv").write_text("review,stars\n" + rows)
    with pytest.raises(ConfigError, match="if it is to be trained on") as caught:
        examine(str(tmp_path / "test.csv"))
    with pytest.raises(ConfigError, match="if it is to be trained on"):
        load_recipe("classify", {"init": "runs/bert-wiki-mini", "data.corpus": str(tmp_path / "test.csv")})
    found = labelled_data(str(caught.value.remedy).partition("corpus = ")[2])
    assert found is not None
    splits, _ = found.splits()
    assert len(splits["train"]) + len(splits["valid"]) == 60


@pytest.mark.parametrize(("setting", "said"), [("data.reader.lable=x", "did you mean 'label'"), ("limit=3m", "limit")])
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "one,a\ntwo,b\n" * 30)
    with pytest.raises(ConfigError, match=said):
        labelled_data(str(tmp_path / "a.csv"), [setting])


def test_a_folder_of_the_conll_shared_tasks(tmp_path: Path) -> None:
    sentence = "EU NNP I-ORG\nrejects VBZ O\nGerman JJ I-MISC\ncall NN O\n. . O\n\n"
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(sentence * 3)
    data = labelled_data(str(tmp_path))
    assert data is not None and data.task.kind_name() == "tagging"
    splits, _ = data.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 3, "valid": 3, "test": 3}


def test_parts_of_speech_are_classes(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("the DET\ndog NOUN\nbarks VERB\n\n" * 5)
    data = labelled_data(str(tmp_path / "a.conll"))
    assert data is not None and data.task.scheme == "none"  # type: ignore[attr-defined]
