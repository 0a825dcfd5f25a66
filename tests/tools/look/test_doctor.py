import gzip
import json
import math
import random
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled import task_tables, write_labelled
from rich.console import Console

import foretell
from foretell import process
from foretell.api.train import run_recipe
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.tools.look import doctor, doctor_corpus
from foretell.tools.look.doctor import examine_corpus, examine_machine, examine_run, render
from foretell.tools.train.prepare import prepare_store
from foretell.training import checkpoint

ROOT = Path(__file__).resolve().parents[3]


def shown(result: dict[str, Any], width: int = 80) -> str:
    json.dumps(result)
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render(result))
    assert max(map(len, capture.get().splitlines())) <= width
    return capture.get()


def worst(result: dict[str, Any], about: str) -> dict[str, Any]:
    levels = ["ok", "warning", "error"]
    mine = [finding for finding in result["findings"] if finding["about"] == about]
    return max(mine, key=lambda finding: levels.index(finding["level"]))


def sentence(number: int) -> str:
    words = random.Random(number).choices(["tree", "river", "stone", "cloud", "house"], k=6)
    return f"{' '.join(words)} number {number}."


def write_corpus(folder: Path, **splits: list[str]) -> str:
    folder.mkdir()
    for name, lines in splits.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(folder)


# The machine


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return examine_machine(quick=True)


def test_the_machine_is_measured_and_tested(found: dict[str, Any]) -> None:
    test = found["self_test"]
    assert test["problem"] == "" and test["resumed_exactly"] and test["tokens_per_second"] > 0
    assert test["loss_last"] < test["loss_first"] and test["bits_per_byte"] < 8 and test["sample"]
    assert found["speed"][0]["gflops"] > 0 and found["speed"][0]["gigabytes_per_second"] > 0
    assert found["versions"]["torch"] == torch.__version__
    assert not any(finding["level"] == "error" for finding in found["findings"])
    assert "self-test" in shown(found)


def test_the_self_test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))
    state = torch.get_rng_state()
    assert doctor.self_test(8)["steps"] == 8
    assert torch.equal(state, torch.get_rng_state()) and list(tmp_path.iterdir()) == []


def test_a_self_test_that_fails_is_an_error(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(doctor, "run_recipe", broken)
    result = found | {"self_test": doctor.self_test(8)}
    result["findings"] = doctor.machine_findings(result)
    assert worst(result, "self-test")["level"] == "error"
    assert "RuntimeError: no kernel" in shown(result)


def test_what_is_wrong_with_a_machine_is_found(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_DATA", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    bad = {"cores": 2, "threads": 64, "memory_available_bytes": 1 << 30}
    result = found | {
        "versions": found["versions"] | {"torch": "2.4.1+cu121"},
        "machine": found["machine"] | bad | {"disk_free_bytes": {"/full": 1 << 20}},
        "devices": [],
    }
    result["findings"] = doctor.machine_findings(result)
    for about, do in {
        "torch": 'pip install "torch>=2.11,<2.14"',
        "devices": "nvidia-smi",
        "threads": "export OMP_NUM_THREADS=2",
        "memory": "end other programs",
        "disk": "free some",
        "data": "set FORETELL_DATA",
    }.items():
        finding = worst(result, about)
        assert finding["level"] == "warning" and do in finding["do"], about
    assert "6 warnings" in shown(result) or "7 warnings" in shown(result)  # the allocator's


def test_the_range_of_torch_is_that_of_the_package() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    given = next(line for line in wanted if line.startswith("torch"))
    low, high = (tuple(map(int, pair)) for pair in re.findall(r"(\d+)\.(\d+)", given))
    assert (low, high) == (doctor.TORCH_FROM, doctor.TORCH_BELOW)


def test_corpora_that_are_missing_are_told_where_to_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    assert doctor.whereabouts("python-docs") == "found"
    assert f"into {tmp_path / 'ptb'}" in doctor.whereabouts("ptb")
    write_corpus(tmp_path / "ptb", **{f"ptb.{name}": ["a"] for name in ("train", "valid", "test")})
    assert doctor.whereabouts("ptb") == "found"


def test_the_allocator_says_whether_it_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_active", False)
    monkeypatch.setenv("FORETELL_ALLOCATOR", "default")
    assert process.keep_freed_memory() is False and not process.active()


# A corpus


def test_lines_shared_between_splits_are_found_with_their_share(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(2000)]
    valid = [sentence(number) for number in range(5000, 5150)] + train[:50]  # 50 of 200
    test = [sentence(number) for number in range(6000, 6200)] + ["short"] * 100
    path = write_corpus(tmp_path / "c", train=[*train, "short"], valid=valid, test=test)
    result = examine_corpus(path)
    splits = result["splits"]
    assert splits["valid"]["also_in_train"]["lines"] == pytest.approx(0.25)
    assert splits["test"]["also_in_train"]["lines"] == 0  # short lines come back by chance
    assert splits["train"]["repeated"]["lines"] == 0
    assert worst(result, "valid")["level"] == "warning"
    assert splits["train"]["lines"] == 2001 and splits["train"]["documents"] == 1
    assert splits["train"]["words"] == 2000 * 8 + 1
    assert splits["valid"]["longest_line"] == max(map(len, valid)) + 1
    assert "25.0% of lines" in " ".join(shown(result).split())


def test_a_split_that_is_mostly_train_is_an_error(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(100)]
    path = write_corpus(tmp_path / "c", train=train, valid=train[:60], test=[sentence(999)])
    finding = worst(examine_corpus(path), "valid")
    assert finding["level"] == "error" and "remove them from train" in finding["do"]


def test_shares_stay_right_when_more_lines_are_met_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_corpus, "ROOM", 1000)
    train = [sentence(number) for number in range(8000)]
    valid = train[:2000] + [sentence(number) for number in range(9000, 15000)]
    result = examine_corpus(write_corpus(tmp_path / "c", train=train, valid=valid, test=["x"]))
    share = result["splits"]["valid"]["also_in_train"]["lines"]
    assert share == pytest.approx(0.25, abs=0.07)  # about 750 of 8000 lines are looked up


def test_repeated_lines_and_paragraphs_within_train_are_found(tmp_path: Path) -> None:
    paragraphs = [[sentence(number), sentence(number + 1000)] for number in range(90)]
    written = [line for block in [*paragraphs, *paragraphs[:10]] for line in [*block, ""]]
    path = write_corpus(tmp_path / "c", train=written, valid=["x"], test=["y"])
    repeated = examine_corpus(path)["splits"]["train"]["repeated"]
    assert repeated == {"lines": pytest.approx(0.1), "paragraphs": pytest.approx(0.1)}


def test_unknown_rates_are_those_counted_by_hand(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["a a a b"], valid=["a b c d"], test=["a"])
    unknown = examine_corpus(path)["splits"]["valid"]["unknown"]
    assert unknown["words"] == 0.5  # c and d
    assert unknown["characters"] == pytest.approx(2 / 8)  # of eight with blanks and newline
    counts = Counter({"a": 3, "b": 1})
    assert doctor_corpus.unknown(counts, Counter("abcd"), 1) == 0.75


def test_odd_bytes_are_counted(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=[], valid=["fine"], test=["fine"])
    (tmp_path / "c" / "train.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo \xe4\r\nnul \0 \xee\x80\x80\n")
    (tmp_path / "c" / "train-1.txt").touch()
    with gzip.open(tmp_path / "c" / "train-2.txt.gz", "wb") as stream:
        stream.write(b"packed \xff\n")
    result = examine_corpus(path)
    files = result["files"]
    assert (files["count"], files["empty"], files["byte_order_marks"]) == (5, 1, 1)
    assert (files["invalid_utf8"], files["nul"], files["carriage_returns"]) == (2, 1, 2)
    assert result["odd_characters"] == {"U+FFFD": 2, "U+0000": 1, "U+E000": 1}
    text = " ".join(shown(result).split())
    assert "2 places of invalid UTF-8" in text and "iconv" in text and "dos2unix" in text


def test_a_damaged_file_is_an_error_and_nothing_else_is_read(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["fine"], valid=["fine"], test=["fine"])
    packed = gzip.compress(random.Random(1).randbytes(5000))
    (tmp_path / "c" / "train-2.txt.gz").write_bytes(packed[:2000])
    result = examine_corpus(path)
    assert worst(result, "files")["level"] == "error" and result["splits"] == {}
    assert "train-2.txt.gz" in shown(result, width=200)


def test_what_is_left_out_of_a_folder_is_a_warning(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["fine"], valid=["fine"], test=["fine"], more=["not read"])
    (tmp_path / "c" / "notes.md").write_text("not read")
    texts = [f["text"] for f in examine_corpus(path)["findings"] if f["level"] == "warning" and f["about"] == "files"]
    assert [text.rpartition(": ")[2] for text in texts] == ["notes.md", "more.txt"]
    assert "named for no split" in shown(examine_corpus(path))
    store = prepare_store(path, tmp_path / "store", "byte", quiet=True)
    assert store["left_out"] == texts


def test_only_the_beginning_is_looked_at_and_said_so(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(1000)]
    path = write_corpus(tmp_path / "c", train=train, valid=train[-100:], test=["x"])
    splits = examine_corpus(path, sample_bytes=10_000)["splits"]
    assert not splits["train"]["complete"] and 10_000 <= splits["train"]["bytes"] < 10_100
    assert splits["valid"]["complete"]


def test_a_corpus_without_splits_is_divided_and_a_missing_split_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("".join(f"{sentence(n)}\n" for n in range(1000)))
    assert list(examine_corpus(str(tmp_path / "one.txt"))["splits"]) == ["train", "valid", "test"]
    result = examine_corpus(write_corpus(tmp_path / "c", train=["a b"]))
    assert "no valid and no test split" in worst(result, "splits")["text"]


@pytest.mark.parametrize(
    ("lines", "guess"),
    [
        (["The cat sat on a mat .", "A dog , too , did n't sit ."], "one sentence a line, tokenised"),
        (["The cat sat on it.", "No dog did."], "one sentence a line, not tokenised"),
        (["mr. smith is a man", "he is n't old at all"], "one sentence a line, tokenised"),
        (["One is here. Two is there. Three. Four."], "one paragraph a line, not tokenised"),
        (["It was the best of", "times and the worst", "of times.", ""], "wrapped or short lines"),
    ],
)
def test_the_form_of_lines_is_guessed(tmp_path: Path, lines: list[str], guess: str) -> None:
    path = write_corpus(tmp_path / "c", train=lines * 30, valid=["x"], test=["y"])
    assert examine_corpus(path)["looks_like"].startswith(guess)


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        examine_corpus(str(tmp_path / "nothing"))
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(ConfigError, match="token store"):
        examine_corpus(str(tmp_path))


# A run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("doctor")
    lines = [sentence(number) for number in range(200)]
    corpus = write_corpus(folder / "c", train=lines, valid=lines[:20], test=lines[:20])
    recipe = load_recipe(
        {
            "limit": "4steps",
            "data": {"corpus": corpus, "tokenizer": "byte"},
            "model": {"embedding_dim": 4, "hidden": 8, "layers": 1},
            "checkpoint": {"every": "2steps", "keep": 3},
            "training": {"log_every": "1steps"},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORETELL_CACHE", str(folder / "cache"))
        yield run_recipe(recipe, folder / "run", resume=False, quiet=True).run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_sound_run_has_nothing_to_complain_of(run: Path) -> None:
    result = examine_run(run)
    assert {finding["level"] for finding in result["findings"]} == {"ok"}
    assert list(result["checkpoints"]) == ["step-00000002", "step-00000004"]
    assert result["finished"] and not result["resumable"]
    assert result["last_record"]["step"] == 4 and result["best_validation"]["step"] == 4
    assert "0 errors, 0 warnings" in shown(result)


def test_a_sound_run_of_a_task_has_nothing_to_complain_of(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)  # of three labels
    tables = task_tables("classification", "recurrent", data, limit="2steps")
    run_recipe(load_recipe(tables), tmp_path / "run", resume=False, quiet=True)
    assert {finding["level"] for finding in examine_run(tmp_path / "run")["findings"]} == {"ok"}
    Path(data["corpus"]["train"]).unlink()
    assert "no such file" in worst(examine_run(tmp_path / "run"), "corpus")["text"]
    (tmp_path / "run" / "labels.json").unlink()
    assert worst(examine_run(tmp_path / "run"), "labels")["level"] == "error"


def test_a_damaged_checkpoint_is_noticed(run: Path) -> None:
    file = run / "checkpoints" / "step-00000004" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = examine_run(run)
    finding = worst(result, "step-00000004")
    assert finding["level"] == "error" and "model.safetensors" in finding["text"]
    assert worst(result, "best")["level"] == worst(result, "last")["level"] == "warning"
    assert result["resumable"] and not result["finished"]  # from step 2
    assert file.exists()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named_and_not_measured(run: Path, number: float) -> None:
    saved = checkpoint.at_step(Run(run), 4)
    tensors, record = saved.weights(), saved.record()
    name = sorted(tensors)[0]
    tensors[name].view(-1)[3] = number
    checkpoint.save(Run(run), 4, {"model": tensors}, record)
    finding = worst(examine_run(run), "step-00000004")
    assert finding["level"] == "error" and f"{name} holds numbers that are not finite" in finding["text"]
    for which in ("best", "last"):
        with pytest.raises(ConfigError, match=rf"run/.*: {re.escape(name)} holds numbers that are not finite"):
            foretell.load(run, which=which)


@pytest.mark.parametrize("name", ["record.json", "optimizer.safetensors"])
def test_a_missing_file_of_a_checkpoint_is_noticed(run: Path, name: str) -> None:
    (run / "checkpoints" / "step-00000002" / name).unlink()
    finding = worst(examine_run(run), "step-00000002")
    assert finding["level"] == "error" and name in finding["text"]


def test_weights_of_another_recipe_are_noticed(run: Path) -> None:
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("hidden = 8", "hidden = 9"))
    finding = worst(examine_run(run), "step-00000004")
    assert finding["level"] == "error" and "do not fit the recipe" in finding["text"]


def test_half_written_things_are_told_and_left_alone(run: Path) -> None:
    (run / "checkpoints" / "damaged-step-00000006-1").mkdir()
    (run / "checkpoints" / "step-00000004 (copy)").mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    result = examine_run(run)
    assert result["set_aside"] == ["damaged-step-00000006-1"]
    assert worst(result, "records")["level"] == "warning"
    assert (run / "checkpoints" / "damaged-step-00000006-1").exists()


def test_a_recipe_tokenizer_or_text_that_is_gone_is_told(run: Path) -> None:
    recipe = run / "recipe.toml"
    whole = recipe.read_text()
    recipe.write_text(re.sub('corpus = ".*"', 'corpus = "/nowhere"', whole))
    assert worst(examine_run(run), "corpus")["level"] == "warning"
    recipe.write_text(whole + "\nnonsense = 1\n")
    broken = examine_run(run)
    assert worst(broken, "recipe")["level"] == "error" and not broken["resumable"]
    recipe.write_text(whole)
    (run / "tokenizer.json").write_text("{")
    assert worst(examine_run(run), "tokenizer")["level"] == "error"
    shown(broken)


def test_a_run_that_saved_nothing_yet(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "metrics.jsonl").unlink()
    Run(run).note_saved({})
    result = examine_run(run)
    assert result["checkpoints"] == {} and not result["resumable"]
    assert result["last_record"] is None
    with pytest.raises(ConfigError, match="is not a run"):
        examine_run(run / "checkpoints")
