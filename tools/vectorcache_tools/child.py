"""Run a program that ends when its parent does: ``python child.py PARENT-PID PROGRAM ARGUMENT...``.

Linux sends the program SIGTERM at its parent's death, however that came about (``prctl``, PR_SET_PDEATHSIG). Other
systems have nothing of the kind: there a parent that is killed leaves its children running. Run as a file, so that
nothing is imported on the way; ``exec`` keeps the setting and the process id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, *command: str) -> None:
    """Tie this process to its parent and become the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != int(parent):  # it died before we asked to be told
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - to become the program that the caller names is the purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
