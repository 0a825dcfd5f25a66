"""`python -m foretell`, and the `foretell` command."""

from __future__ import annotations

from foretell.process import prepare_process


def main() -> None:
    """The command line."""
    prepare_process()
    from foretell.cli import run

    run()


if __name__ == "__main__":
    main()
