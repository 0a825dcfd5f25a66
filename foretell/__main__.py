"""`python -m foretell`, and the `foretell` command."""

from __future__ import annotations

import os

from foretell.allocator import keep_freed_memory


def main() -> None:
    """The command line."""
    prepare_process()
    from foretell.cli import run

    run()


def prepare_process() -> None:
    """What has to be set before anything loads torch; a user's own settings stay."""
    keep_freed_memory()
    # note: idle OpenMP threads spin for long by default; beside any other busy process the spinning takes the core that
    # the slowest thread needs, and training becomes several times slower (docs/results.md). Here they soon go to sleep.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


if __name__ == "__main__":
    main()
