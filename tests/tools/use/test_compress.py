"""`foretell compress` and `decompress`: files whole or not at all, and their figures."""

from pathlib import Path

import pytest
from predictors import trained
from rich.console import Console

from foretell.errors import ConfigError
from foretell.tools.use import compress as tool


def test_a_file_comes_back_with_its_figures(corpus: dict[str, str], tmp_path: Path) -> None:
    model, text = trained("ngram", corpus, tmp_path), Path(corpus["test"])
    packed, back = tmp_path / "text.ft", tmp_path / "text"
    result = tool.compress(model, text, packed, static=False)
    size = text.stat().st_size
    assert result["bytes"] == packed.stat().st_size < size == result["original_bytes"]
    assert result["bits_per_byte"] * size == 8 * result["bytes"] and result["ratio"] == size / result["bytes"]
    assert result["adaptive"] is False and result["seconds"] > 0
    restored = tool.decompress(model, packed, back)
    assert back.read_bytes() == text.read_bytes() and restored["bytes"] == size
    for figures in (result, restored):
        console = Console(width=80)
        with console.capture() as shown:
            console.print(tool.render(figures))
        assert f"{figures['bytes']:,} bytes" in shown.get()


def test_what_fails_writes_nothing(corpus: dict[str, str], tmp_path: Path) -> None:
    model, empty, packed = trained("ngram", corpus, tmp_path), tmp_path / "empty", tmp_path / "empty.ft"
    empty.write_bytes(b"")
    assert tool.compress(model, empty, packed, static=False)["bits_per_byte"] is None
    packed.write_bytes(packed.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"empty\.ft: is truncated or altered"):
        tool.decompress(model, packed, tmp_path / "back")
    assert not (tmp_path / "back").exists()
