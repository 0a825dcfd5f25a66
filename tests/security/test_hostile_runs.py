"""A run that somebody sent runs no code, touches nothing outside of its folder, and takes neither long nor much."""

import os
import shutil
from pathlib import Path

import pytest
from fuzz.cases import Answer, Case, faults
from fuzz.running import Runner, lay_out
from security.attacks import ATTACKS, PREDICT, Command, seal

from foretell.tools.subprocesses import child

SECONDS, MEMORY = 10, 2 << 30
SECRET = "the secret of the user\n" * 40


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a run may not open."""
    (tmp_path / "outside").mkdir()
    path = tmp_path / "outside" / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_comes_to_nothing(runner: Runner, secret: Path, tmp_path: Path, name: str) -> None:
    withstand(runner, secret, tmp_path, name, ATTACKS[name].commands[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_comes_to_nothing_whoever_opens_it(runner: Runner, secret: Path, tmp_path: Path, name: str) -> None:
    withstand(runner, secret, tmp_path, name, ATTACKS[name].commands[1:])


def withstand(runner: Runner, secret: Path, tmp_path: Path, name: str, commands: tuple[Command, ...]) -> None:
    """Nothing comes of an attack, whichever of these commands meets it."""
    attack = ATTACKS[name]
    for number, command in enumerate(commands):
        shutil.rmtree(secret.parent)
        secret.parent.mkdir()
        secret.write_text(SECRET)
        folder = tmp_path / str(number)
        lay_out(Case("", (), f"runs/{attack.base}"), runner.seeds, folder)
        (folder / "pairs.tsv").write_text("the cat\tthe dog\n" * 3)
        (folder / "long.txt").write_text("a" * 5000 + "\n")
        attack.change(folder / "run", secret)
        seal(folder / "run")
        before = untouched(secret.parent)
        case = Case(name, (command,))
        [answer] = runner.run_in(folder, case, seconds=SECONDS, more=elsewhere(folder, secret))
        found = list(faults(case, [answer], {}, memory=MEMORY))
        assert not found, f"{' '.join(command)}: {found}"
        codes = attack.codes | {1} if command[0] == "doctor" else attack.codes  # it found something
        assert answer.code in codes, f"{' '.join(command)}: {answer}"
        assert "\x1b" not in answer.stdout + answer.stderr, repr(answer)
        assert touched(secret.parent) == before, f"{' '.join(command)} touched what is outside"
        assert not (folder / "opened").read_text(), f"{' '.join(command)} opened what is outside"
        if command == PREDICT and answer.accepted:
            assert len(answer.stdout.splitlines()) == 3
        shutil.rmtree(folder)


def elsewhere(folder: Path, secret: Path) -> dict[str, str]:
    """Somebody else's account, whose key signed nothing; and what is to be watched."""
    (folder / "opened").touch()
    return {"FORETELL_STATE": str(folder / "state"), "FUZZ_WATCH": f"{secret.parent}:{folder / 'opened'}"}


def untouched(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file outside made old, and when it is then said to have been read and written: the system notes both."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (1e9, 1e9))
    return touched(folder)


def touched(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file outside was last read and written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in files}


def test_what_is_opened_outside_is_seen(runner: Runner, secret: Path, tmp_path: Path) -> None:
    """The test above could find it: a user's own command that does open the file."""
    folder = tmp_path / "here"
    lay_out(Case("", (), "runs/lm"), runner.seeds, folder)
    case = Case("", (("score", "run", str(secret)),))
    [answer] = runner.run_in(folder, case, more=elsewhere(folder, secret))
    assert answer.accepted
    assert str(secret) in (folder / "opened").read_text()
    before = untouched(secret.parent)
    secret.read_bytes()
    assert touched(secret.parent) != before


def test_what_a_sent_run_may_do(runner: Runner, tmp_path: Path) -> None:
    """Its weights are used; its corpus is opened when its maker is trusted."""
    for command, code in (
        (("generate", "run", "--tokens", "3"), 0),
        (("score", "run", "short.txt"), 0),
        (("evaluate", "run", "--split", "short.txt"), 0),
        (("show", "run"), 0),
        (("evaluate", "run"), 2),
        (("evaluate", "run", "--trust"), 0),
        (("train", "run", "--resume"), 2),
    ):
        folder = tmp_path / "-".join(command).replace("/", "")
        lay_out(Case("", (), "runs/lm"), runner.seeds, folder)
        [answer] = runner.run_in(folder, Case("", (command,)), more={"FORETELL_STATE": str(folder / "state")})
        assert answer.code == code, (command, answer)
        assert code == 0 or "--trust" in answer.stderr


MODULES = ("typer", "torch", "tomllib", "json", "foretell")


def plant_modules(folder: Path, marker: Path) -> None:
    """Modules with the names of others, which leave a file when they are imported."""
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")


def test_a_child_does_not_import_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plant_modules(tmp_path / "here", tmp_path / "executed")
    assert child("runs", ".", quiet=True)["runs"] == []
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_children_do_not_import_from_the_working_folder(runner: Runner, tmp_path: Path) -> None:
    here = tmp_path / "here"
    lay_out(Case("", (), "recipes"), runner.seeds, here)
    plant_modules(here, tmp_path / "executed")
    case = Case("", (("train", "lstm.toml", "limit=2steps", "seeds=2", "--out", "out", "--json"),))
    for answers in (runner.run_in(here, case, seconds=120),):
        assert isinstance(answers[0], Answer) and answers[0].accepted, answers[0].stderr
    assert not (tmp_path / "executed").exists()
