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
    # note: idle OpenMP threads spin by default; beside any other busy process the spinning takes the core that the
    # slowest thread needs, and training becomes several times slower (docs/results.md)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


if __name__ == "__main__":
    main()
