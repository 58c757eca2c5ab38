"""`python -m farm_merge` is the command `farm-merge`, and both start here."""

from __future__ import annotations

import signal

__all__ = ["run"]


def run() -> None:
    """Run the command line; interrupted while it is loaded, it ends without a word."""
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loading:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from farm_merge.cli import main

    if loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":  # and not where MPI's workers import it
    run()
