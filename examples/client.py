"""Search the collection ``points`` through a router.

pip install 'vectorcache[cli]'
python examples/build_and_search.py ./blobs
vectorcache local --blobs ./blobs &
python examples/client.py http://127.0.0.1:8100
"""

from __future__ import annotations

import sys

from vectorcache_client import Client


def main(url: str) -> None:
    """Print the collections, and the neighbours of two stored vectors."""
    with Client(url) as client:
        for collection in client.collections():
            print(f"{collection.name}: {collection.vectors} vectors of {collection.dimension} components")

        stored = client.vectors("points", [17, 42]).vectors
        found = client.search("points", [item.vector for item in stored], k=3)
        for item, result in zip(stored, found.results, strict=True):
            print(f"{item.id}: {[hit.id for hit in result.hits]}")
        if found.partial:  # nodes failed, or the deadline expired
            print(f"only {found.searched:.0%} of the cells were searched", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100")
