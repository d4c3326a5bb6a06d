"""The command `almr` as a process, which can be interrupted before anything heavy is imported."""

from __future__ import annotations

from sweep.store import interruption


def main() -> None:
    """Run the command."""
    interruption.end_at_once()
    from sweep import cli

    cli.main()


if __name__ == "__main__":
    main()
