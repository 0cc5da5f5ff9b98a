"""python -m tvhelpers"""

import signal
import sys


def start() -> None:
    """Run the command and exit; Ctrl-C never shows a traceback."""
    try:
        from tvhelpers.cli import main

        status = main()
    except KeyboardInterrupt:  # during start-up, or a second Ctrl-C during the first
        status = 130
    if status == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ignore a third one while Python ends
    sys.exit(status)


if __name__ == "__main__":
    start()
