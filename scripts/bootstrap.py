#!/usr/bin/env python3
"""Make `.venv` and install foretell in it, with a build of torch that fits this machine.

    python3 scripts/bootstrap.py           # enough to use foretell
    python3 scripts/bootstrap.py --dev     # and to work on it: tests, linters, type checker
    python3 scripts/bootstrap.py --docs    # and to build its pages

On Linux the usual build of torch brings gigabytes of CUDA libraries, of no use without an NVIDIA
GPU. So pip is first asked what it would install, and the answer decides. Once all is done a stamp
in `.venv` makes every later call return at once that asks for no more.

Standard library only, for it runs before anything is installed.
"""

import sys

# An older Python must get as far as this line: below it, no syntax that 3.7 cannot parse.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "bootstrap: foretell needs Python 3.11 or newer and this is {}.{}: name a newer one, "
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
PIP = [str(PYTHON), "-m", "pip", "-qq"]  # of its output only the errors
STAMP = VENV / "foretell-bootstrap"
EXTRAS = ("dev", "docs")

CUDA_PACKAGES = ("nvidia-", "cuda-", "triton")


def main() -> None:
    """Set up what is missing, and only that."""
    options = parse_arguments()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = {name for name in EXTRAS if getattr(options, name)}
    if not options.cuda and is_set_up(pyproject, extras):
        return
    if not has_pip():
        make_venv()
    say("upgrading pip")  # older ones download a wheel merely to say what they would install
    pip("install", "--upgrade", "pip")
    install_torch(torch_requirement(pyproject), cuda=options.cuda)
    say("installing foretell and what else it needs")
    extras |= stamped()[1]  # what an earlier call brought stays, and is brought up to date with the rest
    pip("install", "--editable", f".[{','.join(sorted(extras))}]" if extras else ".")
    STAMP.write_text(" ".join([fingerprint(pyproject), *sorted(extras)]), encoding="utf-8")
    say("done")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dev", action="store_true", help="also install what tests and linters need")
    parser.add_argument("--docs", action="store_true", help="also install what builds the pages")
    parser.add_argument(
        "--cuda",
        action="store_true",
        help="take the usual build of torch, CUDA and all, even where no GPU is visible "
        "(a torch that is there already stays: to change it, delete .venv first)",
    )
    return parser.parse_args()


def fingerprint(pyproject: dict[str, Any]) -> str:
    """Name everything the installation follows from, so that a change of any of it shows."""
    wanted = {table: pyproject[table] for table in ("build-system", "project")}
    facts = [wanted, sys.version_info[:2], str(ROOT)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stamped() -> tuple[str, set[str]]:
    """Return what the last call that succeeded installed from, and which extras."""
    found, *extras = STAMP.read_text(encoding="utf-8").split() if STAMP.exists() else [""]
    return found, set(extras)


def is_set_up(pyproject: dict[str, Any], extras: set[str]) -> bool:
    """Tell whether earlier calls have done it all; more than enough is enough."""
    found, there = stamped()
    return PYTHON.exists() and found == fingerprint(pyproject) and extras <= there


def has_pip() -> bool:
    """Tell whether `.venv` is there and sound (it is not after a Ctrl-C or a Python upgrade)."""
    if not PYTHON.exists():
        return False
    return subprocess.run([*PIP, "--version"], capture_output=True).returncode == 0


def make_venv() -> None:
    """Make `.venv` with the Python that runs this; mend one that merely lacks pip."""
    if importlib.util.find_spec("ensurepip") is None:
        stop(
            "this Python lacks ensurepip, so it cannot make a virtual environment: "
            "install it (on Debian and Ubuntu: apt install python3-venv) and try again"
        )
    say(f"making {VENV}")
    start_afresh = [] if PYTHON.exists() else ["--clear"]
    command = [sys.executable, "-m", "venv", *start_afresh, str(VENV)]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        stop(f"could not make {VENV} (see above)")


def torch_requirement(pyproject: dict[str, Any]) -> str:
    """Find the line about torch among the project's dependencies."""
    dependencies: list[str] = pyproject["project"]["dependencies"]
    return next(line for line in dependencies if re.match(r"torch(?![\w.-])", line))


def install_torch(requirement: str, *, cuda: bool) -> None:
    """Install torch, where it is missing, from wherever `torch_source` says, or stop."""
    index = os.environ.get("FORETELL_TORCH_INDEX", "")
    cuda = cuda or gpu_is_visible()
    report = None if cuda else dry_run(requirement)
    if report is not None and not report["install"]:
        return
    source = torch_source(report, cuda=cuda, index=index)
    if source == "usual":
        size = ", CUDA included: some gigabytes, if it is not there yet" if cuda else ""
        say(f"installing {requirement}{size}")
        pip("install", requirement)
    elif source == "index":
        where = ["--index-url", index]
        report = dry_run(*where, requirement)  # other indexes pip knows may outbid this one
        if report is None or brings_cuda(report):
            stop(f"pip finds no CPU build of {requirement} by way of FORETELL_TORCH_INDEX")
        say(f"installing {requirement} from FORETELL_TORCH_INDEX")
        pip("install", *where, requirement)
    elif report is None:
        stop(f"pip finds no {requirement} for this Python and machine (see above)")
    else:
        stop(
            f"no NVIDIA GPU is visible, yet {requirement} would bring gigabytes of CUDA libraries: "
            "set FORETELL_TORCH_INDEX to the URL of a package index with CPU builds of torch, "
            "or accept the download with `python3 scripts/bootstrap.py --cuda`"
        )


def torch_source(report: dict[str, Any] | None, *, cuda: bool, index: str) -> Literal["usual", "index", "nowhere"]:
    """Decide where torch comes from: where pip usually looks, the index of CPU builds, or nowhere.

    `report` is pip's account of what it would install, None where it found nothing or was not
    asked; `cuda` says that CUDA libraries are welcome; `index` is a URL or empty.
    """
    if cuda or (report is not None and not brings_cuda(report)):
        return "usual"
    return "index" if index else "nowhere"


def brings_cuda(report: dict[str, Any]) -> bool:
    """Tell whether the packages of a pip report include CUDA; nothing to install means no."""
    names = [package["metadata"]["name"].lower() for package in report["install"]]
    return any(name.startswith(CUDA_PACKAGES) for name in names)


def gpu_is_visible() -> bool:
    """Ask the NVIDIA driver's own tool for a GPU."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and b"GPU" in found.stdout


def dry_run(*arguments: str) -> dict[str, Any] | None:
    """Return pip's report of what it would install: nothing, where a torch that fits is there."""
    say(f"asking pip what {arguments[-1]} would bring")
    command = [*PIP, "install", "--dry-run", "--report", "-", *arguments]
    answer = subprocess.run(command, stdout=subprocess.PIPE)
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def pip(*arguments: str) -> None:
    """Run the pip of `.venv`; stdout stays free for the program that is being set up."""
    if subprocess.run([*PIP, *arguments], cwd=ROOT, stdout=sys.stderr).returncode:
        stop(f"pip could not install {arguments[-1]} (see above)")


def say(line: str) -> None:
    """Tell the user what happens now."""
    print(f"bootstrap: {line}", file=sys.stderr, flush=True)


def stop(line: str) -> None:
    """Give up, saying why."""
    sys.exit(f"bootstrap: {line}")


if __name__ == "__main__":
    main()
