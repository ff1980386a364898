import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from tests.support.tools import fake_server
from tests.support.waiting import until

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_tools.local import MAX_NODES, Commands, LocalCluster, LocalSettings, Patience, read_wanted
from vectorcache_tools.process import Restarts

FAKE = [sys.executable, "-P", fake_server.__file__]
PATIENCE = Patience(start=10, leave=0.01, stop=10, poll=0.01)
RESTARTS = Restarts(first_wait=0.01, max_wait=0.05)


class FakeCommands(Commands):
    """Servers that only listen. Those named in ``broken`` end at once; ``ports`` are what routers were given."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.ports: list[int] = []
        self.router_arguments: list[str] = []

    def node(self, settings: LocalSettings, name: str) -> Sequence[str]:
        if name in self.broken:
            return [sys.executable, "-c", "import sys; sys.exit('no luck')"]
        return FAKE

    def router(self, settings: LocalSettings, nodes_file: Path, port: int) -> Sequence[str]:
        self.ports.append(port)
        return [*FAKE, *self.router_arguments]


@pytest.fixture
def commands() -> FakeCommands:
    return FakeCommands()


def cluster(folder: Path, commands: Commands, nodes: int = 2, patience: Patience = PATIENCE) -> LocalCluster:
    settings = LocalSettings("memory://", folder, nodes=nodes)
    return LocalCluster(settings, os.environ, commands=commands, patience=patience, restarts=RESTARTS)


def told(folder: Path) -> dict[str, str]:
    return json.loads((folder / "nodes.json").read_bytes())["nodes"]


def wish(folder: Path, text: str) -> None:
    (folder / "wanted.json").write_text(text)


async def test_nodes_and_a_router_run_for_as_long_as_it_lasts(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands) as running:
        pids = running.pids
        assert sorted(pids) == ["node-0", "node-1", "router"]
        assert all(psutil.pid_exists(pid) for pid in pids.values())
        assert told(tmp_path) == running.nodes
        assert sorted(running.nodes) == ["node-0", "node-1"]
        assert running.router_url.startswith("http://127.0.0.1:")
        assert json.loads((tmp_path / "wanted.json").read_bytes()) == {"count": 2}
    assert running.exit_codes == {"node-0": 0, "node-1": 0, "router": 0}
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


async def test_scale_up_adds_the_new_nodes_to_the_router(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=1) as running:
        before = running.nodes
        await running.scale(3)
        assert told(tmp_path) == running.nodes
        assert list(running.nodes) == ["node-0", "node-1", "node-2"]
        assert running.nodes["node-0"] == before["node-0"]


async def test_scale_down_ends_the_last_nodes(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=3) as running:
        pids = running.pids
        await running.scale(1)
        assert list(told(tmp_path)) == list(running.nodes) == ["node-0"]
        assert not psutil.pid_exists(pids["node-1"])
        assert not psutil.pid_exists(pids["node-2"])
        assert running.exit_codes == {"node-1": 0, "node-2": 0}
        assert running.pids["node-0"] == pids["node-0"]


async def test_a_wish_beside_the_nodes_file_is_granted(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=2) as running:
        for count in (3, 1):
            wish(tmp_path, json.dumps({"count": count}))
            await until(lambda count=count: len(told(tmp_path)) == count)
            assert len(running.nodes) == count


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ('{"count": 3}', 3),
        ('{"count": -3}', 1),
        ('{"count": 5000}', MAX_NODES),
        ("", None),
        ("{", None),
        ("[]", None),
        ("{}", None),
        ('{"count": "3"}', None),
        ('{"count": 2.5}', None),
    ],
)
def test_the_wanted_count_is_limited_to_the_allowed_range(
    tmp_path: Path, text: str, wish: int | None
) -> None:
    (tmp_path / "wanted.json").write_text(text)
    assert read_wanted(tmp_path / "wanted.json") == wish
    assert read_wanted(tmp_path / "nowhere.json") is None


async def test_an_invalid_wanted_file_does_not_stop_the_cluster(
    tmp_path: Path, commands: FakeCommands
) -> None:
    async with cluster(tmp_path, commands, nodes=1) as running:
        wish(tmp_path, "{")
        running.kill("node-0")
        await until(lambda: running.restarted["node-0"] == 1)
        wish(tmp_path, '{"count": 2}')
        await until(lambda: len(running.nodes) == 2)


async def test_a_wish_for_less_than_one_node_leaves_one(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=2) as running:
        wish(tmp_path, '{"count": -3}')
        await until(lambda: len(running.nodes) == 1)


async def test_a_node_that_dies_comes_back_under_its_name(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands) as running:
        before, pid = running.nodes, running.pids["node-1"]
        running.kill("node-1")
        await until(lambda: running.restarted["node-1"] == 1)
        assert running.pids["node-1"] != pid
        assert told(tmp_path) == running.nodes
        assert running.nodes["node-0"] == before["node-0"]


async def test_a_router_that_dies_comes_back_at_its_port(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=1) as running:
        port = int(running.router_url.rpartition(":")[2])
        running.kill("router")
        await until(lambda: running.restarted["router"] == 1)
        assert commands.ports == [0, port]


async def test_a_node_that_does_not_start_leaves_nothing_running(
    tmp_path: Path, commands: FakeCommands
) -> None:
    commands.broken.add("node-1")
    running = cluster(tmp_path, commands)
    with pytest.raises(Unavailable, match="node-1 ended with exit code 1: no luck"):
        await running.start()
    assert running.pids == {}
    assert running.exit_codes == {"node-0": 0}


async def test_a_resize_that_fails_keeps_the_nodes_and_can_be_tried_again(
    tmp_path: Path, commands: FakeCommands
) -> None:
    async with cluster(tmp_path, commands, nodes=1) as running:
        commands.broken.add("node-2")
        with pytest.raises(Unavailable, match="no luck"):
            await running.scale(3)
        assert list(told(tmp_path)) == ["node-0"]
        commands.broken.clear()
        await until(lambda: len(told(tmp_path)) == 3)  # the wish still stands


async def test_start_waits_until_the_router_is_ready(tmp_path: Path, commands: FakeCommands) -> None:
    commands.router_arguments = [str(tmp_path)]
    impatient = Patience(start=0.7, leave=0.01, stop=10, poll=0.01)
    with pytest.raises(DeadlineExceeded, match=r"router was not ready within 0\.7 s"):
        await cluster(tmp_path, commands, nodes=1, patience=impatient).start()
    (tmp_path / "ready").touch()
    async with cluster(tmp_path, commands, nodes=1):
        pass


async def test_two_clusters_do_not_share_a_folder(tmp_path: Path, commands: FakeCommands) -> None:
    async with cluster(tmp_path, commands, nodes=1):
        with pytest.raises(Conflict, match="another cluster"):
            await cluster(tmp_path, commands, nodes=1).start()
    async with cluster(tmp_path, commands, nodes=1):
        pass


@pytest.mark.parametrize("count", [-1, 0, MAX_NODES + 1])
async def test_a_number_of_nodes_that_is_not_allowed(
    tmp_path: Path, commands: FakeCommands, count: int
) -> None:
    with pytest.raises(InvalidInput, match=f"1 to {MAX_NODES}"):
        LocalSettings("memory://", tmp_path, nodes=count)
    with pytest.raises(InvalidInput, match=f"1 to {MAX_NODES}"):
        await cluster(tmp_path, commands).scale(count)


def test_the_commands_of_the_real_servers(tmp_path: Path) -> None:
    settings = LocalSettings("file:///blobs", tmp_path, memory="64Mi", disk="1Gi", replication=2, shard="8Mi")
    node = Commands().node(settings, "node-3")
    router = Commands().router(settings, tmp_path / "nodes.json", 8100)
    assert node[:3] == [sys.executable, "-m", "vectorcache_node"]
    assert _flags(node)["--name"] == "node-3"
    assert _flags(node)["--data"] == str(tmp_path / "node-3")
    assert (_flags(node)["--memory"], _flags(node)["--disk"]) == ("64Mi", "1Gi")
    assert router[:3] == [sys.executable, "-m", "vectorcache_router"]
    assert _flags(router)["--listen"] == "127.0.0.1:8100"
    assert (_flags(router)["--replication"], _flags(router)["--shard-bytes"]) == ("2", "8Mi")


def _flags(command: Sequence[str]) -> dict[str, str]:
    return dict(zip(command[3::2], command[4::2], strict=True))
