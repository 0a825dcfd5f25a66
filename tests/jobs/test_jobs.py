"""Jobs that people come with succeed without a failed start, and show a figure; `python -m jobs.jobs` times them."""

import os
from pathlib import Path

import pytest
from jobs.jobs import JOBS, Job, run

DATA = os.environ.get("FORETELL_DATA")


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="needs $FORETELL_DATA")
@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.name}: {job.data}")
def test_job(job: Job, tmp_path: Path) -> None:
    if job.lacks:
        pytest.skip(f"needs {', '.join(job.lacks)}")
    report = run(job, tmp_path, Path(str(DATA)))
    assert not report.failed, "\n\n".join(report.failed)
    assert report.first is not None, f"no figure like {job.figure}"
