"""`python -m farm_merge` is the command `farm-merge`, and both start here."""

from __future__ import annotations

import atexit
import gc
import io
import signal
import sys

__all__ = ["run"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


def run() -> None:
    """Run the command line; interrupted while it is loaded, it ends without a word."""
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loading:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from farm_merge.cli import main
    from farm_merge.cli.interrupt import interrupted, on_signal
    from farm_merge.cli.show import exit_on_error

    for stream in (sys.stdout, sys.stderr):  # of an old locale, that does not know all characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with exit_on_error():
        on_signal(_ENDING, interrupted)
        # Everything goes at the end: to look for garbage in it takes a tenth of a small merge.
        atexit.register(gc.freeze)
        main()


if __name__ == "__main__":  # and not where MPI's workers import it
    run()
