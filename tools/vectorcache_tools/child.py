"""Run a program that ends when its parent does: ``python child.py PARENT-PID PROGRAM ARGUMENT...``.

On Linux, the kernel sends the program SIGTERM when its parent ends for any reason (``prctl``, PR_SET_PDEATHSIG). On
other systems, a parent that is killed leaves its children running. This module is run as a file, so that no package is
imported, and ``exec`` preserves the setting and the process id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, *command: str) -> None:
    """Bind the lifetime of this process to its parent and execute the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != int(parent):  # the parent ended before the setting took effect
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - executing the given program is the purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
