"""What `helm test` runs: waits until every URL answers 200, and fails at the deadline with what was answered last.

python ready.py SECONDS URL...
"""

import sys
import time
import urllib.error
import urllib.request

REQUEST_SECONDS = 5.0
PAUSE_SECONDS = 1.0

# Not through a proxy: these are addresses inside the cluster.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> tuple[bool, str]:
    """Whether the URL answers 200, and what it says."""
    try:
        with opener.open(url, timeout=REQUEST_SECONDS) as response:
            return True, response.read(2000).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return False, f"{error.code} {error.read(2000).decode(errors='replace')}"
    except OSError as error:
        return False, str(error)


def main(seconds: float, urls: list[str]) -> int:
    """Ask one URL after the other; return the process's exit status."""
    deadline = time.monotonic() + seconds
    for url in urls:
        ready, said = ask(url)
        while not ready and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            ready, said = ask(url)
        sys.stdout.write(f"{url} {'is ready' if ready else 'is not ready'}: {said}\n")
        if not ready:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
