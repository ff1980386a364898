"""``vectorcache local``: run a cluster of cache nodes and a router on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vectorcache_tools.cli.options import Blobs, print_facts
from vectorcache_tools.local import LocalCluster, LocalSettings

EXAMPLE = "Example: vectorcache local --blobs ./blobs --nodes 3 --memory 256Mi"


def local(
    blobs: Blobs,
    nodes: Annotated[int, typer.Option(help="Number of cache nodes.")] = 3,
    memory: Annotated[str, typer.Option(help="Capacity of the memory layer of each node.")] = "256Mi",
    disk: Annotated[str, typer.Option(help="Capacity of the disk layer of each node.")] = "2560Mi",
    port: Annotated[int, typer.Option(help="Port of the router. 0 picks a free port.")] = 8100,
    data: Annotated[Path, typer.Option(help="Directory for disk layers and logs.")] = Path("build/local"),
    replication: Annotated[int, typer.Option(help="Number of nodes that own each slot of the ring.")] = 1,
    shard: Annotated[
        str,
        typer.Option(
            help="Size of a shard, a group of chunks placed on the same node. Half of --memory works best."
        ),
    ] = "128Mi",
) -> None:
    """Run cache nodes and a router on the loopback interface until Ctrl-C or SIGTERM."""
    settings = LocalSettings(
        blobs=blobs,
        data=data,
        nodes=nodes,
        memory=memory,
        disk=disk,
        port=port,
        replication=replication,
        shard=shard,
    )
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(LocalCluster(settings, os.environ)))


async def _run(cluster: LocalCluster) -> None:
    _cancel_on_signal()
    async with cluster:
        _print(cluster)
        await asyncio.Event().wait()


def _cancel_on_signal() -> None:
    """Cancel the current task on the first signal. A second signal has its default effect."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def _print(cluster: LocalCluster) -> None:
    nodes = [(name, f"{url}  (process {cluster.pids[name]})") for name, url in cluster.nodes.items()]
    print_facts([("router", cluster.router_url), *nodes])
    typer.echo(
        f"Try: vectorcache search COLLECTION --id ID --router {cluster.router_url}\nPress Ctrl-C to stop the cluster."
    )
