"""Tokenizers of others: checked, tried out, and no more trusted than that."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from foretell import trust
from foretell.data.tokenizers.foreign import check_tokenizer, try_tokenizer
from foretell.data.tokenizers.kinds import FileConfig
from foretell.data.tokenizers.tokenizer import load_tokenizer
from foretell.errors import ConfigError


def written(path: Path, **changes: Any) -> Path:
    """A tokenizer of words in a file, with changes in what describes it."""
    library = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(["</s>"])
    path.write_text(json.dumps(json.loads(library.to_str()) | changes))
    return path


def test_a_good_one_passes(tmp_path: Path) -> None:
    file = written(tmp_path / "good.json")
    check_tokenizer(file)
    try_tokenizer(file)
    with trust.foreign():
        assert load_tokenizer(file).encode("b a") == [2, 1]
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    with trust.foreign():
        assert load_tokenizer(tmp_path / "marked.json").encode("b a") == [2, 1]


def test_a_file_named_by_the_user_is_tried_out_and_that_of_a_trusted_run_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []
    monkeypatch.setattr("foretell.data.tokenizers.foreign.try_tokenizer", tried.append)
    file = written(tmp_path / "good.json")
    load_tokenizer(file)
    assert tried == []
    FileConfig(path=str(file)).train([])
    assert tried == [file]
    with trust.foreign():
        load_tokenizer(file)
        with trust.trusting():
            load_tokenizer(file)
    assert tried == [file, file]


def test_gaps_between_ids_are_refused_whoever_names_the_file(tmp_path: Path) -> None:
    """The library gives what is added other ids than its file says, and a model has no row for the last token."""
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 5}, "unk_token": "<unk>"}
    file = written(tmp_path / "gap.json", model=model)
    with pytest.raises(ConfigError, match=r"gap\.json: the token 'b' has the id 5, though there are only 3 tokens"):
        FileConfig(path=str(file)).train([])


def test_a_text_that_the_library_breaks_down_over(tmp_path: Path) -> None:
    """What no trial finds: an expression that takes forever for some texts, which ends where the library gives up."""
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    tokenizer = load_tokenizer(written(tmp_path / "slow.json", pre_tokenizer=split))
    assert tokenizer.encode("xxy") == [0]
    with pytest.raises(ConfigError, match="the tokenizer cannot encode this text: 'Onig: Regex search error"):
        tokenizer.encode("x" * 60 + "zy")
    with pytest.raises(ConfigError, match="cannot encode this text"):
        tokenizer.spans("x" * 60 + "zy")
