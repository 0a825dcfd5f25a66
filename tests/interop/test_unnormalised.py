"""n-gram models whose probabilities do not sum to 1: refused above 1, reported everywhere, never ranked."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.tools.look.doctor_run import examine_run
from foretell.tools.look.show import describe
from foretell.tools.look.show import render as render_description
from foretell.tools.measure.compare import compare, render
from foretell.tools.measure.score import score_lines
from foretell.tools.printing import measured
from foretell.tools.use.convert import import_path

TEXT = "the cat sat on the mat\nthe dog sat on the cat\na cat and a dog saw the mat\n" * 20


def unigrams(text: str, scale: float = 1.0, backoff: float = 0.0) -> str:
    """An ARPA file of the words of a text, by frequency, each probability multiplied and each word with a weight."""
    lines = text.splitlines()
    counts = Counter(word for line in lines for word in line.split())
    total = sum(counts.values()) + len(lines)
    rows = [f"{math.log10(scale * count / total):.7f}\t{word}\t{backoff}\n" for word, count in counts.items()]
    rows += [f"-99\t<s>\t{backoff}\n", f"{math.log10(scale * len(lines) / total):.7f}\t</s>\n", "-99\t<unk>\n"]
    return f"\\data\\\nngram 1={len(rows)}\nngram 2=0\n\n\\1-grams:\n{''.join(rows)}\n\\2-grams:\n\n\\end\\\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, and runs of files over it: `good`, `five` (sums of 1.05), `above` (back-off weights of 3)."""
    folder = tmp_path_factory.mktemp("unnormalised")
    (folder / "text.txt").write_text(TEXT)
    for name, given in (("good", {}), ("five", {"scale": 1.05}), ("above", {"backoff": 3.0})):
        (folder / f"{name}.arpa").write_text(unigrams(TEXT, **given))
        import_path(folder / f"{name}.arpa", folder / name, str(folder / "text.txt"), None)
    data = {"corpus": str(folder / "text.txt"), "tokenizer": "word"}
    foretell.train({"name": "own", "data": data, "model": {"kind": "ngram", "order": 2}}, folder / "own", quiet=True)
    return folder


def loaded(place: Path, *names: str) -> list[foretell.Trained]:
    return [foretell.load(place / name, quiet=True) for name in names]


def shown(table: Any) -> str:
    console = Console(width=200)
    with console.capture() as text:
        console.print(table)
    return text.get()


# --- above 1 --------------------------------------------------------------------------------------


def test_a_probability_above_1_is_an_error_that_names_the_run(place: Path) -> None:
    above, own = loaded(place, "above", "own")
    text = str(place / "text.txt")
    mixed = foretell.mix([above, foretell.load(place / "good", quiet=True)], [0.5, 0.5])
    for attempt in (
        lambda: above.evaluate(text),
        lambda: above.score(["the cat"]),
        lambda: list(score_lines(above, ["the cat"])),
        lambda: compare([above, own], text),
        lambda: mixed.evaluate(text),
        lambda: foretell.mix([above, foretell.load(place / "good", quiet=True)], split="test"),
        lambda: above.search("the", 3),
        lambda: above.generate("the", 3),
    ):
        with pytest.raises(ConfigError, match=r"above gives .*a probability above 1"):
            attempt()


@pytest.mark.parametrize(
    "words",
    ["evaluate above", "score above text.txt", "compare good above", "evaluate good --mix above --mix-weights 0.5,0.5"],
)
def test_the_command_line_says_it_in_one_line(place: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, ConfigError) and "above gives" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_rounding_is_no_fault(place: Path) -> None:
    """A certain word: files with four digits may come to a little more than 1."""
    (place / "sure.arpa").write_text(unigrams("a\n" * 10, scale=1.0004, backoff=0.0))
    import_path(place / "sure.arpa", place / "sure", str(place / "text.txt"), None)
    [sure] = loaded(place, "sure")
    assert sure.unnormalised == ""
    sure.score(["a"])


# --- sums -----------------------------------------------------------------------------------------


def test_the_verdict_of_the_import_stays_with_the_run(place: Path) -> None:
    good, five, above, own = loaded(place, "good", "five", "above", "own")
    assert good.unnormalised == own.unnormalised == ""
    assert "add up to 1.05, not 1" in five.unnormalised
    assert "not 1" in above.unnormalised
    assert Run.open(place / "five").unnormalised == five.unnormalised


def test_evaluate_tells_it(place: Path) -> None:
    good, five = loaded(place, "good", "five")
    text = str(place / "text.txt")
    found = five.evaluate(text)
    assert found["unnormalised"] == five.unnormalised
    assert "add up to 1.05" in shown(measured(found, "five"))
    assert "unnormalised" not in good.evaluate(text)
    mixed = foretell.mix([good, five], [0.5, 0.5]).evaluate(text)
    assert "five" in mixed["unnormalised"] and "1.05" in mixed["unnormalised"]


def test_show_and_doctor_tell_it(place: Path) -> None:
    described = describe(str(place / "five"))
    assert "1.05" in described["unnormalised"] and "1.05" in shown(render_description(described))
    assert "unnormalised" not in describe(str(place / "good"))
    [finding] = [one for one in examine_run(place / "five")["findings"] if one["about"] == "probabilities"]
    assert finding["level"] == "warning" and "1.05" in finding["text"]


def test_compare_does_not_rank_it(place: Path) -> None:
    text = str(place / "text.txt")
    result = compare(loaded(place, "five", "good"), text, resamples=100)
    names = {Path(row["run"]).name: row for row in result["runs"]}
    assert names["five"]["bits_per_byte"] < names["good"]["bits_per_byte"]  # what it did not have to pay for
    assert [Path(row["run"]).name for row in result["runs"]] == ["good", "five"]
    assert names["good"]["ranked"] and not names["five"]["ranked"]
    assert "1.05" in names["five"]["unnormalised"] and names["good"]["unnormalised"] == ""
    [pair] = result["pairs"]
    assert pair["better"] is pair["worse"] is None and pair["difference"] is None
    table = shown(render(result))
    assert "not ranked" in table and "add up to 1.05" in table
    json.dumps(result)


def test_two_of_them_are_not_ranked_with_each_other(place: Path) -> None:
    (place / "other.arpa").write_text(unigrams(TEXT, scale=1.04))
    import_path(place / "other.arpa", place / "other", str(place / "text.txt"), None)
    result = compare(loaded(place, "five", "other"), str(place / "text.txt"), resamples=100)
    assert [row["ranked"] for row in result["runs"]] == [False, False]
    assert result["pairs"][0]["difference"] is None


def test_tokens_that_the_file_lacks_count(place: Path) -> None:
    """Each gets the probability of the unknown word, so with many of them the sum is more than 1."""
    third = f"{math.log10(1 / 3):.7f}\t"
    arpa = unigrams("the cat\n" * 10).replace(f"{third}the", f"{math.log10(1 / 3 - 0.05):.7f}\tthe")
    arpa = arpa.replace("-99\t<unk>", f"{math.log10(0.05):.7f}\t<unk>")
    (place / "few.arpa").write_text(arpa)
    import_path(place / "few.arpa", place / "few", str(place / "text.txt"), None)
    assert loaded(place, "few")[0].unnormalised == ""
    import_path(place / "few.arpa", place / "many", str(place / "text.txt"), place / "own" / "tokenizer.json")
    assert "add up to 1.35" in loaded(place, "many")[0].unnormalised  # 7 more words of 0.05


def test_a_model_that_was_counted_is_never_told(place: Path) -> None:
    """Exported and imported again its sums are still 1, to the digits of the file."""
    from foretell.tools.use.convert import export_run

    export_run(loaded(place, "own")[0], place / "own.arpa", None)
    import_path(place / "own.arpa", place / "again", str(place / "text.txt"), place / "own" / "tokenizer.json")
    assert loaded(place, "again")[0].unnormalised == ""
