"""Going on from another run, on other text and with another vocabulary."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import losses, masking, tables, write_corpus
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.data.tokenizers.kinds import ByteConfig, CharacterConfig, WordConfig, word_level
from foretell.errors import ConfigError
from foretell.nn.vocabulary_transfer import match
from foretell.run import Run
from foretell.training.trainer import Trainer

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def first(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    """A run whose result is an average."""
    averaged = {"kind": "nt-asgd", "at_once": True}
    recipe = tables(corpus, limit="150steps", optimizer__learning_rate=5.0, averaging=averaged)
    return foretell.train(recipe, tmp_path_factory.mktemp("runs") / "first", quiet=True)


def begun(recipe: Any, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Trainer:
    """The trainer before its first step."""
    found: list[Trainer] = []

    def keep(self: Trainer) -> str:
        found.append(self)
        raise InterruptedError

    monkeypatch.setattr(Trainer, "train", keep)
    monkeypatch.setattr(Run, "discard_if_empty", lambda self: None)
    with pytest.raises(InterruptedError):
        foretell.train(recipe, out, quiet=True, **changes)
    monkeypatch.undo()
    return found[0]


def init_record(out: Path) -> dict[str, Any]:
    (record,) = (record for record in Run(out).metrics() if record["kind"] == "init")
    return record


def shifted(corpus: Corpus, folder: Path) -> Corpus:
    """The same text with some words changed for new ones."""
    folder.mkdir()
    paths = {}
    for split, path in corpus.items():
        text = Path(path).read_text().replace("cat", "horse").replace("mat", "roof")
        paths[split] = folder / f"{split}.txt"
        paths[split].write_text(text)
    return {split: str(path) for split, path in paths.items()}


@pytest.mark.parametrize("other", ["other-order", "same"])
def test_without_a_step_the_loss_is_the_same(
    first: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    words = sorted(first.tokenizer.spellings, reverse=True)
    word_level(words).save(tmp_path / "tokenizer.json")
    place = {"other-order": tmp_path, "same": first.run.path}[other]  # either the folder of a run
    settings = {"init": str(first.run.path), "data__tokenizer": {"kind": "file", "path": str(place)}}
    trainer = begun(first.run.path, tmp_path / "run", monkeypatch, **settings)
    again = foretell.load_recipe(tmp_path / "run").data.tokenizer.train([])
    assert (again.fingerprint == first.tokenizer.fingerprint) == (other == "same")
    expected = first.evaluate("valid")["loss"]
    assert first.facts["weights"] == "averaged"
    trainer.stage.objective.eval()
    assert trainer.stage.evaluator.evaluate("valid")["loss"] == pytest.approx(expected, abs=1e-6)


def test_a_new_text_with_new_words(first: foretell.Trained, corpus: Corpus, tmp_path: Path) -> None:
    """What is asked for in one line; the loss begins below that of random weights, and falls."""
    text = shifted(corpus, tmp_path / "text")
    places = ", ".join(f'{split} = "{path}"' for split, path in text.items())
    line = ["train", str(first.run.path), f"init={first.run.path}", f"data.corpus={{{places}}}", "averaging.kind=none"]
    result = CliRunner().invoke(app, [*line, "--out", str(tmp_path / "second")])
    assert result.exit_code == 0, result.output
    words = len(["horse", "roof"])
    assert f"{words} new (initialised with the mean vector), {words} dropped" in result.stderr
    record = init_record(tmp_path / "second")
    size = first.tokenizer.size
    assert (record["shared_tokens"], record["new_tokens"], record["gone_tokens"]) == (size - words, words, words)
    assert (record["init"], record["init_step"], record["step"]) == (str(first.run.path), first.facts["step"], 0)
    second = losses(tmp_path / "second", "train")
    assert second[0][1] < losses(first.run.path, "train")[0][1] - 0.5
    assert sum(loss for _, loss in second[-20:]) < sum(loss for _, loss in second[:20])


def test_a_new_word_is_the_mean_of_all(
    first: foretell.Trained, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shifted(corpus, tmp_path / "text")
    trainer = begun(first.run.path, tmp_path / "run", monkeypatch, init=str(first.run.path), data__corpus=text)
    ids = foretell.data.tokenizers.tokenizer.load_tokenizer(tmp_path / "run" / "tokenizer.json").spellings
    named = dict(trainer.stage.objective.named_parameters())
    for name in ("backbone.embedding.table.weight", "head.weight", "head.bias"):
        assert named[name][ids["horse"]].tolist() == pytest.approx(first.weights[name].mean(0).tolist(), abs=1e-6)
        dog = first.weights[name][first.tokenizer.spellings["dog"]]
        assert named[name][ids["dog"]].tolist() == dog.tolist()


def test_what_the_objective_alone_has_begins_anew(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that has learnt no pairs goes on with pairs; one that has goes on without."""
    plain, pairs = tmp_path / "plain", tmp_path / "pairs"
    before = foretell.train(masking(corpus, limit="3steps", data__batches__kind="full"), plain, quiet=True)
    recipe = masking(
        corpus, limit="3steps", data__batches={"kind": "segment-pair", "pairs": "sop", "batch": 4, "length": 12}
    )
    trainer = begun(recipe | {"init": str(plain)}, pairs, monkeypatch)
    now = dict(trainer.stage.objective.named_parameters())
    new = {"pooler.weight", "pooler.bias", "pair.weight", "pair.bias"}
    assert set(init_record(pairs)["new_weights"]) == new == now.keys() - before.weights.keys()
    assert all(torch.equal(now[name], before.weights[name]) for name in now.keys() - new)
    foretell.train(recipe | {"init": str(plain)}, pairs, resume=True, quiet=True)
    again = masking(corpus, limit="1steps", data__batches__kind="full", init=str(pairs))
    begun(again, tmp_path / "again", monkeypatch)
    record = init_record(tmp_path / "again")
    assert (record["new_weights"], set(record["left_weights"])) == ([], new)


def test_a_killed_beginning_is_recorded_once(
    first: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(first.run.path, tmp_path / "run", monkeypatch, init=str(first.run.path), limit="3steps")
    foretell.train(first.run.path, tmp_path / "run", resume=True, quiet=True, init=str(first.run.path), limit="3steps")
    assert init_record(tmp_path / "run")["new_tokens"] == 0


def test_tokens_with_a_role_keep_it_under_another_name() -> None:
    words, characters = WordConfig().train(["a b\n"]), CharacterConfig().train(["a c\n"])
    origin = match(characters, words).origin.tolist()
    assert origin[characters.boundary] == words.boundary
    assert origin[characters.unknown or 0] == words.unknown
    assert origin[characters.spellings["a"]] == words.spellings["a"]
    found = match(characters, words)
    # in both: a, and the two roles; only characters: blank, c, newline; only words: b
    assert found.counts == {"shared_tokens": 3, "new_tokens": 3, "gone_tokens": 1}
    same = match(ByteConfig().train([]), ByteConfig().train([]))
    assert same.counts["new_tokens"] == 0 and str(same) == f"tokens: {len(same.origin)} kept"


# --- what cannot be gone on from ------------------------------------------------------------------


def test_another_architecture(first: foretell.Trained, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has another architecture: .* is \(32, 8\) there and \(48, 8\) here; ") as e:
        foretell.train(first.run.path, tmp_path / "run", init=str(first.run.path), model__hidden=12)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"blocks\.1\S* is absent there"):
        foretell.train(first.run.path, tmp_path / "run", init=str(first.run.path), model__layers=2)


def test_an_ngram_run(first: foretell.Trained, tmp_path: Path) -> None:
    texts = write_corpus(tmp_path)
    recipe = {"data": {"corpus": texts, "tokenizer": "word"}, "model": {"kind": "ngram", "order": 2}}
    counted = foretell.train(recipe, tmp_path / "counted", quiet=True)
    with pytest.raises(ConfigError, match="is an n-gram model, which is counted and cannot be trained further"):
        foretell.train(tables(texts, init=str(counted.run.path)), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="an n-gram model is counted from its text alone"):
        foretell.train(recipe | {"init": str(first.run.path)}, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


# --- bands ----------------------------------------------------------------------------------------


def banded(words: str, names: list[str], folder: Path, cutoffs: tuple[int, ...] = (6,)) -> dict[str, Any]:
    """A recipe with an untied adaptive head and adaptive word vectors, over these words."""
    folder.mkdir()
    word_level(names).save(folder / "tokenizer.json")
    (folder / "text.txt").write_text(words)
    recipe = tables({split: str(folder / "text.txt") for split in ("train", "valid", "test")}, limit="20steps")
    recipe["data"]["tokenizer"] = {"kind": "file", "path": str(folder / "tokenizer.json")}
    recipe["head"] = {"kind": "adaptive", "cutoffs": cutoffs, "divide": 2}
    recipe["model"]["embedding"] = {"kind": "adaptive", "cutoffs": cutoffs, "divide": 2}
    recipe["training"]["log_every"] = "100steps"
    return recipe


def vectors(objective: Any, module: Any) -> torch.Tensor:
    """[V, D] the whole vector of each token, through the projection of its band."""
    found = torch.zeros(len(module.bands.tokens), 8)
    for band in range(len(module.bands)):
        rows, project = module.rows()[band].detach(), module.projection(band)
        found[module.bands.tokens_of(band)] = rows if project is None else rows @ project.detach().t()
    return found


def test_tokens_that_change_their_band_keep_what_they_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = list("abcdefghijkl")
    often = "".join(f"{' '.join([word] * (30 - 2 * i))}\n" for i, word in enumerate(letters))
    old = foretell.train(banded(often, ["<eos>", "<unk>", *letters], tmp_path / "a"), tmp_path / "old", quiet=True)
    seldom = "".join(f"{' '.join([word] * (8 + 2 * i))}\n" for i, word in enumerate(letters))
    recipe = banded(seldom, ["<unk>", "<eos>", "new", *letters[::-1]], tmp_path / "b") | {"init": str(tmp_path / "old")}
    new = begun(recipe, tmp_path / "new", monkeypatch).stage.objective
    record, moved, lost = init_record(tmp_path / "new"), set(), set()
    spelled = foretell.load_recipe(tmp_path / "new").data.tokenizer.train([]).spellings
    for name in ("head.words", "backbone.embedding.words"):
        there, here = old.objective.get_submodule(name), new.get_submodule(name)
        before, after = vectors(old.objective, there), vectors(new, here)
        for word in letters:
            one, other = old.tokenizer.spellings[word], spelled[word]
            band, now = (int(part.bands.located()[token, 0]) for part, token in ((there, one), (here, other)))
            if now <= band:  # the same, or one of full width: exact in the head, and where the projection is square
                torch.testing.assert_close(after[other], before[one], rtol=1e-3, atol=1e-4)
            moved |= {word} if now < band else set()
            lost |= {word} if now > band else set()
    assert (record["moved_tokens"], record["lost_tokens"]) == (len(moved), len(lost))
    assert len(moved) > 3 and len(lost) > 3 and record["shared_tokens"] == 14 - len(lost)


def test_another_number_of_bands_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = list("abcdefghijkl")
    text = "".join(f"{' '.join([word] * (30 - 2 * i))}\n" for i, word in enumerate(letters))
    foretell.train(banded(text, ["<eos>", "<unk>", *letters], tmp_path / "a"), tmp_path / "old", quiet=True)
    monkeypatch.setattr(
        "foretell.api.initialisation.first_difference", lambda *_: ""
    )  # which holds cutoffs against each other
    recipe = banded(text, ["<unk>", "<eos>", *letters], tmp_path / "b", (4, 9)) | {"init": str(tmp_path / "old")}
    begun(recipe, tmp_path / "new", monkeypatch)
    record = init_record(tmp_path / "new")
    assert "head.tails" in record["new_weights"] and record["lost_tokens"] > 0
