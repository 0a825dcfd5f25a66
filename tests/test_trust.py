"""Trust: what a run from elsewhere may not do, and by which key one's own are known."""

import hashlib
import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import foretell
from foretell import trust
from foretell.errors import ConfigError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for the key."""
    monkeypatch.setenv("FORETELL_STATE", str(tmp_path / "state"))
    monkeypatch.delenv(trust.PASSING_KEY, raising=False)
    return tmp_path / "state"


def test_trust_is_as_it_was_behind_each_block() -> None:
    said = lambda: (trust.is_trusted(), trust.trusts_everything())  # noqa: E731
    assert said() == (True, False)
    with pytest.raises(KeyError), trust.foreign():
        assert said() == (False, False)
        with trust.trusting():
            assert said() == (True, True)
            with trust.trusting(False), trust.foreign():
                assert said() == (True, True)  # it was said before
        with trust.trusting(False):
            assert said() == (False, False)
        raise KeyError
    assert said() == (True, False)


def test_a_class_from_outside_needs_trust_within_a_run_that_somebody_sent() -> None:
    recipe = {"head": {"kind": "outside:CosineHeadConfig"}}
    assert type(foretell.load_recipe(recipe).head).__name__ == "CosineHeadConfig"
    with trust.foreign(), pytest.raises(ConfigError, match=r"would import 'outside:CosineHeadConfig'.*--trust"):
        foretell.load_recipe(recipe)
    with trust.foreign(), trust.trusting():
        assert type(foretell.load_recipe(recipe).head).__name__ == "CosineHeadConfig"


def test_a_refusal_says_what_to_do() -> None:
    assert str(trust.refuse("run", "open a.txt")) == (
        "run: this run was not made here, and would open a.txt; if you trust who made it, add --trust"
    )
    assert str(trust.refuse("run", "open a.txt", "name a text")).endswith("add --trust, or name a text")


# --- signatures -----------------------------------------------------------------------------------


def test_a_signature_is_of_the_key_and_of_all_bytes(state: Path) -> None:
    signature = trust.sign(b"content")
    key = (state / "signing-key").read_bytes()
    assert signature == hmac.new(key, b"content", hashlib.sha256).hexdigest()
    assert trust.is_own(b"content", signature)
    assert not trust.is_own(b"Content", signature)
    for wrong in (signature[:-1], signature.upper(), "", None, 3, "\u00e9" * 64, signature.encode()):
        assert not trust.is_own(b"content", wrong)


def test_the_key_is_made_once_for_its_owner_alone(state: Path) -> None:
    assert trust.keeps_key()
    key = trust.own_key()
    assert len(key) == 32 and trust.own_key() == key
    assert stat.S_IMODE((state / "signing-key").stat().st_mode) == 0o600
    assert [file.name for file in state.iterdir()] == ["signing-key"]
    (state / "signing-key").unlink()
    assert trust.own_key() != key


def test_processes_that_start_at_once_have_one_key(state: Path) -> None:
    code = "from foretell.trust import sign; print(sign(b'content'))"
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate()[0].strip() for process in processes} == {trust.sign(b"content")}


def test_a_key_that_cannot_be_kept_is_passed_to_children(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.PASSING_KEY, "")  # so that it is put back
    state.write_text("")  # a file in the place of the folder
    assert not trust.keeps_key()
    key, signature = trust.own_key(), trust.sign(b"content")
    assert os.environ[trust.PASSING_KEY].encode() == key and len(key) == 64
    assert trust.is_own(b"content", signature)
    monkeypatch.setenv(trust.PASSING_KEY, "")
    assert not trust.is_own(b"content", signature)


def test_the_place_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("FORETELL_STATE", "~/own")
    assert trust.state_folder() == Path("/home/ann/own")
    monkeypatch.delenv("FORETELL_STATE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert trust.state_folder() == Path("/state/foretell")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    assert trust.state_folder() == Path("/home/ann/.local/state/foretell")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert trust.state_folder() == Path("/home/ann/Library/Application Support/foretell")
