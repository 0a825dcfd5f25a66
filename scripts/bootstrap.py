#!/usr/bin/env python3
"""Make `.venv` and install foretell in it, with a build of torch that fits this machine.

    python3 scripts/bootstrap.py           # enough to use foretell
    python3 scripts/bootstrap.py --dev     # also to work on it: tests, linters, type checker
    python3 scripts/bootstrap.py --docs    # also to build its pages

On Linux the usual build of torch brings gigabytes of CUDA libraries, useless without an NVIDIA GPU. So a dry run of pip
decides what to install. A stamp in `.venv` makes later calls with the same options return at once.

Standard library only: it runs before anything is installed.
"""

import sys

# Older Pythons must get this far: no syntax that 3.7 cannot parse.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "bootstrap: foretell needs Python 3.11 or newer, this is {}.{}: set PYTHON, "
        "as in PYTHON=python3.12 scripts/demo".format(*sys.version_info)
    )

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PIP = [str(PYTHON), "-m", "pip", "-qq"]  # print errors only
STAMP = VENV / "foretell-bootstrap"
EXTRAS = ("dev", "docs")

CUDA_PACKAGES = ("nvidia-", "cuda-", "triton")


def main() -> None:
    """Install what is missing."""
    options = parse_arguments()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = {name for name in EXTRAS if getattr(options, name)}
    if not options.cuda and is_set_up(pyproject, extras):
        return
    if not has_pip():
        make_venv()
    say("upgrading pip")  # older versions download wheels even in a dry run
    pip("install", "--upgrade", "pip")
    install_torch(torch_requirement(pyproject), cuda=options.cuda)
    say("installing foretell and its other dependencies")
    extras |= stamped()[1]  # extras of earlier calls stay and are updated, too
    pip("install", "--editable", f".[{','.join(sorted(extras))}]" if extras else ".")
    STAMP.write_text(" ".join([fingerprint(pyproject), *sorted(extras)]), encoding="utf-8")
    say("done")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dev", action="store_true", help="also install tests and linters")
    parser.add_argument("--docs", action="store_true", help="also install the builder of the pages")
    parser.add_argument(
        "--cuda",
        action="store_true",
        help="install the usual build of torch with CUDA, even if no GPU is visible "
        "(an installed torch stays: to change it, delete .venv first)",
    )
    return parser.parse_args()


def fingerprint(pyproject: dict[str, Any]) -> str:
    """Hash of everything that determines the installation."""
    tables = {table: pyproject[table] for table in ("build-system", "project")}
    facts = [tables, sys.version_info[:2], str(ROOT)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stamped() -> tuple[str, set[str]]:
    """Fingerprint and extras of the last successful call."""
    fingerprint, *extras = STAMP.read_text(encoding="utf-8").split() if STAMP.exists() else [""]
    return fingerprint, set(extras)


def is_set_up(pyproject: dict[str, Any], extras: set[str]) -> bool:
    """Whether earlier calls installed all of this."""
    stamp, installed = stamped()
    return PYTHON.exists() and stamp == fingerprint(pyproject) and extras <= installed


def has_pip() -> bool:
    """Whether `.venv` exists and works (it may not after Ctrl-C or a Python upgrade)."""
    if not PYTHON.exists():
        return False
    return subprocess.run([*PIP, "--version"], capture_output=True).returncode == 0


def make_venv() -> None:
    """Make `.venv` with the Python that runs this; repair one that lacks pip only."""
    if importlib.util.find_spec("ensurepip") is None:
        stop(
            "this Python lacks ensurepip, so it cannot make a virtual environment: "
            "install it (on Debian and Ubuntu: apt install python3-venv) and try again"
        )
    say(f"making {VENV}")
    clear = [] if PYTHON.exists() else ["--clear"]
    command = [sys.executable, "-m", "venv", *clear, str(VENV)]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        stop(f"could not make {VENV} (see above)")


def torch_requirement(pyproject: dict[str, Any]) -> str:
    """The requirement of torch among the project's dependencies."""
    dependencies: list[str] = pyproject["project"]["dependencies"]
    return next(line for line in dependencies if re.match(r"torch(?![\w.-])", line))


def install_torch(requirement: str, *, cuda: bool) -> None:
    """Install torch, if missing, from the source that `torch_source` chooses, or stop."""
    index = os.environ.get("FORETELL_TORCH_INDEX", "")
    cuda = cuda or gpu_is_visible()
    report = None if cuda else dry_run(requirement)
    if report is not None and not report["install"]:
        return
    source = torch_source(report, cuda=cuda, index=index)
    if source == "usual":
        size = ", CUDA included: some gigabytes unless cached" if cuda else ""
        say(f"installing {requirement}{size}")
        pip("install", requirement)
    elif source == "index":
        where = ["--index-url", index]
        report = dry_run(*where, requirement)  # other configured indexes may take precedence
        if report is None or brings_cuda(report):
            stop(f"pip finds no CPU build of {requirement} in FORETELL_TORCH_INDEX")
        say(f"installing {requirement} from FORETELL_TORCH_INDEX")
        pip("install", *where, requirement)
    elif report is None:
        stop(f"pip finds no {requirement} for this Python and machine (see above)")
    else:
        stop(
            f"no NVIDIA GPU is visible, but {requirement} would install gigabytes of CUDA libraries: "
            "set FORETELL_TORCH_INDEX to the URL of a package index with CPU builds of torch, "
            "or accept the download with `python3 scripts/bootstrap.py --cuda`"
        )


def torch_source(report: dict[str, Any] | None, *, cuda: bool, index: str) -> Literal["usual", "index", "nowhere"]:
    """Source of torch: pip's usual index, the index of CPU builds, or none.

    report: pip's report of a dry run, None if it found nothing or did not run. cuda: CUDA libraries are wanted. index:
    URL or empty.
    """
    if cuda or (report is not None and not brings_cuda(report)):
        return "usual"
    return "index" if index else "nowhere"


def brings_cuda(report: dict[str, Any]) -> bool:
    """Whether the packages of a pip report include CUDA."""
    names = [package["metadata"]["name"].lower() for package in report["install"]]
    return any(name.startswith(CUDA_PACKAGES) for name in names)


def gpu_is_visible() -> bool:
    """Whether nvidia-smi lists a GPU."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and b"GPU" in listed.stdout


def dry_run(*arguments: str) -> dict[str, Any] | None:
    """pip's report of what it would install; empty if a matching version is installed; None if it fails."""
    say(f"dry run of pip for {arguments[-1]}")
    command = [*PIP, "install", "--dry-run", "--report", "-", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    return json.loads(done.stdout) if done.returncode == 0 else None


def pip(*arguments: str) -> None:
    """Run the pip of `.venv` with its output on stderr."""
    if subprocess.run([*PIP, *arguments], cwd=ROOT, stdout=sys.stderr).returncode:
        stop(f"pip could not install {arguments[-1]} (see above)")


def say(line: str) -> None:
    """Print progress."""
    print(f"bootstrap: {line}", file=sys.stderr, flush=True)


def stop(line: str) -> None:
    """Exit with an error."""
    sys.exit(f"bootstrap: {line}")


if __name__ == "__main__":
    main()
