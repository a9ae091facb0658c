"""The command ``flatter``, also as ``python -m flatter_lib``: what holds before its own modules are loaded."""

from __future__ import annotations

import io
import logging
import signal
import sys
from typing import NoReturn

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command line; interrupted or incompletely installed, it says so in a line from its first moment on."""
    try:
        for number in _INTERRUPTS:
            signal.signal(number, _ended)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names of files, in any locale
        from flatter_lib.publish import cli

        cli.main()
    except ModuleNotFoundError as error:
        name = str(error.name)
        if name.startswith("flatter_lib"):
            raise
        print(
            f"flatter: {name} is not installed, which this command needs: `make book` in the checkout sets everything "
            "up, or `python -m pip install --constraint constraints.txt --editable '.[test]'`",
            file=sys.stderr,
        )
        sys.exit(2)
    except SystemExit as ended:
        if ended.code in [128 + number for number in _INTERRUPTS]:
            print("flatter: interrupted; nothing half-written is left", file=sys.stderr)
        raise


def _ended(signal_number: int, frame: object) -> NoReturn:
    for number in _INTERRUPTS:  # tidying up is not interrupted again
        signal.signal(number, signal.SIG_IGN)
    # What was interrupted need not complain, neither in a log nor when it is thrown away.
    logging.disable()
    sys.unraisablehook = lambda _: None
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    main()
