"""Comparing runs: the same figures as `evaluate`, over the same text for every tokenizer, and a truth that is known."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from builders import tables, write_corpus
from rich.console import Console

import foretell
from foretell.errors import ConfigError
from foretell.tools.measure.compare import compare, render


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 6000)


@pytest.fixture(scope="module")
def runs(texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[foretell.Trained]:
    folder = tmp_path_factory.mktemp("runs")
    changes: list[dict[str, Any]] = [
        {"limit": "3steps"},
        {"limit": "60steps", "optimizer": {"kind": "adam", "learning_rate": 0.03}},
        {"limit": "30steps", "data__tokenizer": "character"},
    ]
    return [foretell.train(tables(texts, **change), folder / "abc"[i], quiet=True) for i, change in enumerate(changes)]


def test_one_table_for_all_tokenizers(runs: list[foretell.Trained]) -> None:
    result = compare(runs, resamples=500)
    json.dumps(result)
    found = {Path(row["run"]).name: row for row in result["runs"]}
    for run in runs:
        alone, row = run.evaluate("test"), found[run.run.path.name]
        for key in ("bits_per_byte", "perplexity", "top1", "tokens", "lossy", "parameters"):
            assert row[key] == pytest.approx(alone[key], rel=1e-6), key
        assert row["context"] == alone["context"]
    bits = [row["bits_per_byte"] for row in result["runs"]]
    assert bits == sorted(bits) and result["runs"][0]["to_best"] is None
    for row in result["runs"][1:]:
        to_best = row["to_best"]
        assert to_best["difference"] == pytest.approx(row["bits_per_byte"] - bits[0])
        assert to_best["low"] < to_best["difference"] < to_best["high"]
    assert result["parts"]["kind"] == "blocks" and not result["same_tokens"]
    assert len(result["pairs"]) == 3
    assert set(result["worst_tokens"]) <= {str(run.run.path) for run in runs[:2]}
    for run in result["by_frequency"], result["by_position"]:
        for name, buckets in run.items():
            shares = sum(bucket["bits_per_byte"] for bucket in buckets)
            assert shares == pytest.approx(found[Path(name).name]["bits_per_byte"])


def test_a_trained_model_is_really_better_than_an_untrained_one(runs: list[foretell.Trained]) -> None:
    result = compare(runs[:2], resamples=500)
    assert Path(result["runs"][0]["run"]).name == "b" and result["same_tokens"]
    assert result["runs"][1]["to_best"]["real"] and result["runs"][1]["to_best"]["p_better"] > 0.99
    (worst,) = result["worst_tokens"].values()
    total = sum(token["excess_bits"] for token in worst)
    excess = result["runs"][1]["to_best"]["difference"] * result["bytes"]
    assert total == pytest.approx(excess, rel=0.5)  # the vocabulary is small, so the ten worst are nearly all


def test_a_run_against_itself(runs: list[foretell.Trained]) -> None:
    result = compare([runs[0], runs[0]], resamples=200)
    to_best = result["runs"][1]["to_best"]
    assert (to_best["difference"], to_best["low"], to_best["high"], to_best["real"]) == (0, 0, 0, False)
    assert to_best["p_better"] == 0.5


def test_documents_where_there_are_many(runs: list[foretell.Trained], texts: dict[str, str], tmp_path: Path) -> None:
    lines = Path(texts["test"]).read_text().splitlines(keepends=True)
    documents = ["".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    file = tmp_path / "documents.txt"
    file.write_text("<|endofdoc|>\n".join(documents))
    result = compare(runs, str(file), resamples=200)
    assert result["parts"] == {
        "kind": "documents",
        "count": len(documents),
        "mean_bytes": pytest.approx(sum(map(len, documents)) / len(documents)),
    }
    assert result["position_in"] == "documents"


def test_too_little_text_has_no_interval(runs: list[foretell.Trained], tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text("the cat sat\n")
    result = compare(runs, str(file), resamples=200)
    assert result["runs"][1]["to_best"]["low"] is None and not result["runs"][1]["to_best"]["real"]
    assert "too little text" in shown(result)


def test_different_texts_are_refused(runs: list[foretell.Trained], texts: dict[str, str], tmp_path: Path) -> None:
    changed = tmp_path / "test.txt"
    changed.write_text(Path(texts["test"]).read_text().replace("cat", "dog"))  # as long, and other words
    other = foretell.train(tables({**texts, "test": str(changed)}, limit="1steps"), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="different texts as their test split"):
        compare([runs[0], other])
    assert compare([runs[0], other], texts["test"], resamples=100)["split"] == texts["test"]
    assert compare([runs[0], other], "valid", resamples=100)["split"] == "valid"
    with pytest.raises(ConfigError, match="two runs"):
        compare(runs[:1])


def test_mixtures_take_part(runs: list[foretell.Trained]) -> None:
    result = compare([runs[0], foretell.mix(runs[:2])], resamples=200)
    assert " + " in result["runs"][0]["run"] and result["runs"][0]["top1"] is None
    assert math.isfinite(result["runs"][0]["bits_per_byte"])


def shown(result: dict[str, Any], width: int = 200) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(result))
    return capture.get()


def test_what_people_see(runs: list[foretell.Trained]) -> None:
    text = shown(compare(runs[:2], resamples=200))
    for expected in ("bits/byte", "best", "blocks of", "nats per token", "loses most against"):
        assert expected in text
    assert "share of bits per byte" in shown(compare(runs, resamples=200))


# --- what must not be ranked ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def lossy(texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[foretell.Trained]:
    """Two runs over words of which every eighth is unknown, and one over all characters."""
    folder = tmp_path_factory.mktemp("lossy")
    words = {"kind": "word", "min_count": 300}
    changes: dict[str, Any] = {
        "words": {"limit": "60steps", "data__tokenizer": words, "optimizer": {"kind": "adam", "learning_rate": 0.03}},
        "fewer": {"limit": "2steps", "data__tokenizer": words},
        "characters": {"limit": "2steps", "data__tokenizer": "character"},
    }
    return [foretell.train(tables(texts, **change), folder / name, quiet=True) for name, change in changes.items()]


def test_what_is_lossy_is_not_ranked_among_other_vocabularies(lossy: list[foretell.Trained]) -> None:
    result = compare(lossy, resamples=200)
    json.dumps(result)
    names = [Path(row["run"]).name for row in result["runs"]]
    assert names == ["characters", "words", "fewer"]
    assert [row["ranked"] for row in result["runs"]] == [True, False, False]
    assert result["runs"][1]["bits_per_byte"] < result["runs"][0]["bits_per_byte"]
    for row in result["runs"][1:]:
        assert row["unknown_rate"] > 0.01
        assert row["to_best"]["interval"] is None and row["to_best"]["p_better"] is None
        assert row["to_best"]["difference"] is None and "do not restore the text" in row["to_best"]["reason"]
    across, also_across, within = result["pairs"]
    assert across["better"] is across["worse"] is also_across["interval"] is None
    assert Path(within["better"]).name == "words" and within["real"] and within["interval"][0] > 0


def test_what_is_lossy_is_ranked_among_its_own_vocabulary(lossy: list[foretell.Trained]) -> None:
    result = compare(lossy[:2], resamples=200)
    assert all(row["ranked"] for row in result["runs"])
    assert result["runs"][1]["to_best"]["real"] and result["runs"][1]["to_best"]["reason"] is None


@pytest.mark.parametrize("width", [80, 60])
def test_marks_and_rates_fit_a_terminal(lossy: list[foretell.Trained], width: int) -> None:
    result = compare(lossy, resamples=200)
    text = shown(result, width)
    assert max(map(len, text.splitlines())) <= width
    table = text[: text.index("Paired bootstrap")]
    assert "best" not in table and "not ranked ─" in table  # none is best of one
    for row in result["runs"]:
        assert f"{row['bits_per_byte']:.4f}{'*' if row['lossy'] else ''}" in table
        assert f"{row['unknown_rate']:.2%}" in table and f"{row['perplexity']:,.2f}" in text
    assert "…" not in text[: text.index("By the token")]


def test_what_was_found_on_the_text_is_not_ranked(
    runs: list[foretell.Trained], texts: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_text(Path(texts["valid"]).read_text())
    mixed = foretell.mix(runs[:2])
    for split in ("valid", str(copy)):
        result = compare([runs[0], mixed, runs[1]], split, resamples=200)
        assert [row["ranked"] for row in result["runs"]] == [True, True, False]
        assert result["runs"][2]["fitted_here"] == ["mixture weights"]
        assert "mixture weights of" in result["runs"][2]["to_best"]["reason"]
        assert result["runs"][1]["to_best"]["real"]
        assert "mixture weights fitted to this very text" in shown(result)
    assert all(row["ranked"] for row in compare([runs[0], mixed], "test", resamples=100)["runs"])
    given = foretell.mix(runs[:2], [0.5, 0.5])
    assert all(row["ranked"] for row in compare([runs[0], given], "valid", resamples=100)["runs"])


def test_few_parts_are_told(runs: list[foretell.Trained], texts: dict[str, str], tmp_path: Path) -> None:
    lines = Path(texts["test"]).read_text().splitlines(keepends=True)
    file = tmp_path / "some.txt"
    file.write_text("".join(lines)[:9000])  # blocks of 1 KiB and a bit
    result = compare(runs[:2], str(file), resamples=200)
    assert 5 <= result["parts"]["count"] < 20 and result["runs"][1]["to_best"]["interval"] is not None
    assert f"intervals from {result['parts']['count']} parts are too narrow" in shown(result)
    file.write_text("".join(lines)[:3000])
    result = compare(runs[:2], str(file), resamples=200)
    assert result["parts"]["count"] < 5 and result["pairs"][0]["interval"] is None
    assert f"no intervals from {result['parts']['count']} parts" in shown(result)
