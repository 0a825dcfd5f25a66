"""What somebody sent to be imported runs no code, touches nothing outside, and takes neither long nor much."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.cases import Answer, Case, faults
from fuzz.running import Runner
from interop.hugging_face.test_hostile import CONFIG, PIECES, tensors
from safetensors.torch import save_file
from security.imports import ARPA, FOLDERS, Import
from security.test_hostile_runs import MEMORY, SECONDS, elsewhere, secret, touched, untouched

__all__ = ["secret"]
ATTACKS = {f"ARPA, {name}": attack for name, attack in ARPA.items()}
ATTACKS |= {f"folder, {name}": attack for name, attack in FOLDERS.items()}
QUICK = (
    "ARPA, a terabyte behind a good beginning",
    "ARPA, a gigabyte of line ends in a megabyte",
    "ARPA, a promise of 10**17 words",
    "ARPA, a name with escapes",
    "ARPA, a name with a line's end and TOML",
    "ARPA, back-off weights at the edge",
    "ARPA, a pickle for a tokenizer",
    "folder, code beside, which the settings name",
    "folder, pickled weights under the good name",
    "folder, tokenizer.json is a link to a secret",
    "folder, config.json is a pipe",
    "folder, a header that promises an exabyte",
    "folder, a surplus tensor of 32 gigabytes",
)


@pytest.mark.parametrize("name", QUICK)
def test_an_attack_comes_to_nothing(runner: Runner, secret: Path, tmp_path: Path, name: str) -> None:
    withstand(runner, secret, tmp_path / "here", name, ATTACKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in QUICK])
def test_every_attack_comes_to_nothing(runner: Runner, secret: Path, tmp_path: Path, name: str) -> None:
    withstand(runner, secret, tmp_path / "here", name, ATTACKS[name])


def test_what_is_attacked_is_good(runner: Runner, secret: Path, tmp_path: Path) -> None:
    """Without a change both are imported, and the measurement can be opened."""
    from security.imports import PLAIN, arpa, folder

    for number, attack in enumerate((arpa(PLAIN), folder(lambda *_: None))):
        imported, measured = attempts(runner, secret, tmp_path / str(number), attack)
        assert imported.accepted and measured.accepted, (imported, measured)
        assert imported.processor > 0 and imported.peak > 0


def withstand(runner: Runner, secret: Path, here: Path, name: str, attack: Import) -> None:
    """Nothing comes of an attack, neither when it is imported nor when the run is then measured."""
    for answer, verb in zip(attempts(runner, secret, here, attack), ("import", "evaluate"), strict=False):
        case = Case(name, ((verb,),))
        assert not (found := list(faults(case, [answer], {}, memory=MEMORY))), f"{verb}: {found}"
        assert answer.processor < SECONDS, f"{verb}: {answer.processor} s"
        assert "\x1b" not in answer.stdout + answer.stderr, repr(answer)
        if verb == "import":
            assert answer.code in attack.codes, answer
            if not answer.accepted:
                assert len(answer.stderr.splitlines()) == 1, answer.stderr
        elif not answer.accepted:
            assert answer.code == 2, answer


def attempts(runner: Runner, secret: Path, here: Path, attack: Import) -> Iterator[Answer]:
    """The answers of the import and, where it made a run, of `evaluate`; asserts that nothing else was touched."""
    here.mkdir()
    (here / "text.txt").write_text("the cat sat on the mat\n" * 3)
    (here / "elsewhere.json").write_text(json.dumps(CONFIG))
    (here / "secret").write_text(PIECES)
    save_file(tensors(), here / "outside.safetensors")
    attack.make(here, secret)
    more = elsewhere(here, secret)
    beside = [str(here / name) for name in ("elsewhere.json", "secret", "outside.safetensors")]
    told = here / "opened"
    more["FUZZ_WATCH"] = ":".join([str(secret.parent), *beside, str(told)])
    before, there = untouched(secret.parent), listed(here)
    made: set[str] = set()
    for command in (
        ("import", attack.path, "--out", "run", "--corpus", "text.txt", *attack.options),
        ("evaluate", "run", "--split", "text.txt"),
    ):
        [answer] = runner.run_in(here, Case("", (command,)), seconds=SECONDS, more=more)
        yield answer
        assert touched(secret.parent) == before, f"{command[0]} touched what is outside"
        assert not told.read_text(), f"{command[0]} opened what is outside: {told.read_text()}"
        made = made or ({"run"} if answer.accepted else set())
        assert listed(here) - there == made, f"{command[0]} left a file"
        if not answer.accepted:
            break
    shutil.rmtree(here)


def listed(here: Path) -> set[str]:
    """What lies in the working folder, the cache and the state apart."""
    return {path.name for path in here.iterdir()} - {"cache", "state", "opened"}
