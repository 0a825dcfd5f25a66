"""`python -m foretell`, and the `foretell` command."""

from __future__ import annotations

from foretell.allocator import keep_freed_memory


def main() -> None:
    """The command line."""
    keep_freed_memory()  # before anything loads torch
    from foretell.cli import run

    run()


if __name__ == "__main__":
    main()
