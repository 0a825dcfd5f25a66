"""What the system refuses is told as such, and leaves no half a checkpoint."""

import errno
import signal
from pathlib import Path

import pytest
import torch

from foretell.run import Run
from foretell.training import checkpoint

resource = pytest.importorskip("resource")


@pytest.fixture
def at_most_a_kilobyte(monkeypatch: pytest.MonkeyPatch) -> object:
    """No file may grow beyond that: the nearest thing to a full disk that needs no disk of one's own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_no_more(tmp_path: Path, at_most_a_kilobyte: object) -> None:
    run = Run.create(tmp_path / "run", recipe="", resume=False)
    small = checkpoint.save(run, 1, {"model": {"w": torch.zeros(8)}}, {"position": {}})
    with pytest.raises(OSError) as told:
        checkpoint.save(run, 2, {"model": {"w": torch.zeros(4096)}}, {})
    assert told.value.errno == errno.EFBIG
    assert "model.safetensors" in str(told.value.filename)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"]
    assert small.intact()


def test_nothing_is_pruned_beside_a_damaged_record(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe="", resume=False)
    names = [checkpoint.keep_frozen(run, {"w": torch.full((8,), float(k))}) for k in range(3)]
    for step, name in enumerate(names):
        checkpoint.save(run, step, {"model": {"v": torch.zeros(8)}}, {"frozen": name, "position": {}})
    (run.checkpoints / "step-00000001" / "record.json").write_text("damaged")
    checkpoint.prune(run, keep=2)
    left = {path.name for path in run.checkpoints.iterdir()}
    assert left == {"step-00000000", "step-00000001", "step-00000002", *names}  # a damaged record may need any of them


def test_the_files_of_a_run_are_those_of_its_last_and_best_checkpoint_and_their_frozen_weights(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe="", resume=False)
    frozen = [checkpoint.keep_frozen(run, {"w": torch.full((8,), float(k))}) for k in range(3)]
    for step, name in enumerate(frozen):
        pointers = {which: {"step": step, "weights": "raw"} for which in ("last", *(["best"] if step == 0 else []))}
        record = {"frozen": name, "pointers": pointers, "position": vars(checkpoint.TrainState(step=step))}
        checkpoint.save(run, step, {"model": {"v": torch.zeros(8)}}, record)
    files = checkpoint.files_of(run)
    assert {Path(name).parts[1] for name in files if name.startswith("checkpoints/")} == {
        *("step-00000000", "step-00000002"),
        *(str(frozen[0]), str(frozen[2])),
    }
    assert files.keys() >= {"recipe.toml", "checksums.json", "checkpoints/step-00000002/model.safetensors"}
