"""python -m tvhelpers"""

import signal
import sys


def start() -> None:
    """Run the command of this process, and end it; Ctrl-C, at any moment, shows no traceback."""
    try:
        from tvhelpers.cli import main

        status = main()
    except KeyboardInterrupt:  # while Python started, or a second one while the first was answered
        status = 130
    if status == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nor does a third one while Python ends
    sys.exit(status)


if __name__ == "__main__":
    start()
