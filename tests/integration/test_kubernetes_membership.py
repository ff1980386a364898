"""Membership against a real Kubernetes: pods come, go and die, and the API goes away.

Takes a KUBECONFIG, ``kubectl``, and an image that does nothing (``PAUSE_IMAGE``) on the cluster's nodes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import yaml
from aiohttp import ClientSession
from tests.support.servers import Words, server
from tests.support.servers import until as until_async
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import until
from yarl import URL

from vectorcache.errors import Conflict, InvalidInput, NotFound
from vectorcache.routing.ring import HashRing
from vectorcache_router.membership import api
from vectorcache_router.membership.api import Connect, connector
from vectorcache_router.membership.base import Members
from vectorcache_router.membership.kubernetes import KubernetesMembership

pytestmark = pytest.mark.cluster

IMAGE = os.environ.get("PAUSE_IMAGE", "localhost/pause:1")
GATE = "vectorcache.io/test"
LONG, SHORT = 300.0, 2.0
CRD = Path(__file__).parents[2] / "manifests/crd/vectorcaches.yaml"


async def kubectl(*arguments: str, told: Any = None) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl", *arguments, "--request-timeout=30s", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    given = None if told is None else msgspec.json.encode(told)
    out, errors = await asyncio.wait_for(process.communicate(given), 60)
    if process.returncode:
        raise NotFound("kubectl", errors.decode())
    return out.decode()


@dataclass
class Pods:
    """A StatefulSet of stand-ins for nodes. They are ready when the test says so."""

    namespace: str
    up: set[int] = field(default_factory=set)

    async def create(self, replicas: int) -> None:
        labels = {f"app.kubernetes.io/{k}": v for k, v in LABELS.items()}
        container = {"name": "node", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
        pod = {
            "terminationGracePeriodSeconds": 1,
            "readinessGates": [{"conditionType": GATE}],
            "containers": [container],
        }
        spec = {
            "serviceName": "words-node",
            "podManagementPolicy": "Parallel",
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        await self.apply(
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "words-node"}, "spec": spec}
        )

    async def apply(self, told: dict[str, Any]) -> None:
        await kubectl("apply", "--namespace", self.namespace, "-f", "-", told=told)

    async def do(self, *arguments: str) -> str:
        return await kubectl("--namespace", self.namespace, *arguments)

    async def scale(self, replicas: int) -> None:
        await self.do("scale", "statefulset/words-node", f"--replicas={replicas}")

    async def ready(self, *ordinals: int, yes: bool = True) -> None:
        """Open or close the gates of pods, as soon as they are there and run."""
        await asyncio.gather(*(self._ready(ordinal, yes) for ordinal in ordinals))

    async def _ready(self, ordinal: int, yes: bool) -> None:
        name = f"words-node-{ordinal}"
        conditions = [{"type": GATE, "status": str(yes)}]
        patch = msgspec.json.encode({"status": {"conditions": conditions}}).decode()
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.do(
                        "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Running", "--timeout=20s"
                    )
                    await self.do("patch", f"pod/{name}", "--subresource=status", "-p", patch)
                    return
                except NotFound:  # not there yet
                    await asyncio.sleep(0.1)

    async def age(self, ordinal: int, seconds: float) -> None:
        """Wait until a pod has run for so long."""
        started = await self.do("get", "pod", f"words-node-{ordinal}", "-o", "jsonpath={.status.startTime}")
        began = msgspec.convert(started, datetime).timestamp()
        await until(lambda: time.time() - began > seconds)

    async def addresses(self) -> dict[str, str]:
        found = msgspec.json.decode(await self.do("get", "pods", "-o", "json"))
        return {
            pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:8080"
            for pod in found["items"]
            if "podIP" in pod["status"]
        }


LABELS = {"name": "vectorcache", "instance": "words", "component": "node"}


class Router:
    """What a router would know, in this process."""

    def __init__(self, connect: Connect, namespace: str, grace: float) -> None:
        self.membership = KubernetesMembership(connect, f"{namespace}/words", grace)
        self.members = Members({})
        self.history: list[Members] = []
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with aclosing(self.membership.changes()) as changes:
            async for members in changes:
                self.members = members
                self.history.append(members)

    @property
    def ordinals(self) -> set[int]:
        return {int(name.rpartition("-")[2]) for name in self.members.urls}

    @property
    def away(self) -> set[int]:
        return {int(name.rpartition("-")[2]) for name in self.members.away}

    @property
    def version(self) -> str:
        return HashRing(self.members.urls).version

    async def sees(self, *ordinals: int, away: tuple[int, ...] = (), seconds: float = 30.0) -> None:
        try:
            await until(lambda: self.ordinals == {*ordinals} and self.away == {*away}, seconds)
        except TimeoutError:
            pytest.fail(f"wanted {ordinals}, away {away}; is {self.ordinals}, away {self.away}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Site:
    """A namespace with stand-ins, and routers behind a cable each."""

    def __init__(self, pods: Pods, folder: Path, stack: AsyncExitStack) -> None:
        self.pods = pods
        self._folder = folder
        self._stack = stack

    async def cable(self) -> tuple[TcpProxy, Connect]:
        config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        cluster = config["clusters"][0]["cluster"]
        url = URL(cluster["server"])
        proxy = await self._stack.enter_async_context(tcp_proxy(url.host or "", url.port or 443))
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        path = self._folder / f"kubeconfig-{proxy.port}"
        path.write_text(yaml.safe_dump(config))
        return proxy, connector({"KUBECONFIG": str(path)})

    async def router(self, grace: float = LONG) -> tuple[Router, TcpProxy]:
        proxy, connect = await self.cable()
        return self.run(connect, grace), proxy

    def run(self, connect: Connect, grace: float = LONG) -> Router:
        router = Router(connect, self.pods.namespace, grace)
        self._stack.push_async_callback(router.close)
        return router


@asynccontextmanager
async def site_in(namespace: str, folder: Path) -> AsyncIterator[Site]:
    await kubectl("create", "namespace", namespace)
    try:
        async with AsyncExitStack() as stack:
            yield Site(Pods(namespace), folder, stack)
    finally:
        await kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs a cluster: set KUBECONFIG")
    async with site_in(f"b-membership-{uuid4().hex[:8]}", tmp_path) as site:
        yield site


async def test_routers_follow_scaling_restarts_and_deaths_alike(site: Site) -> None:
    pods = site.pods
    (one, _), (two, _) = [await site.router() for _ in range(2)]
    await pods.create(3)
    await pods.ready(0, 1)
    for router in (one, two):
        await router.sees(0, 1)
    await pods.ready(2)
    for router in (one, two):
        await router.sees(0, 1, 2)
        assert dict(router.members.urls) == await pods.addresses()

    await pods.scale(4)  # the new one enters when it is ready, not before
    await pods.ready(3, yes=False)
    assert one.ordinals == {0, 1, 2}
    await pods.ready(3)
    for router in (one, two):
        await router.sees(0, 1, 2, 3)

    version, last = one.version, one.members.urls["words-node-1"]
    began = time.monotonic()
    await pods.do("delete", "pod", "words-node-1", "--force", "--grace-period=0", "--wait=false")
    for router in (one, two):
        await router.sees(0, 1, 2, 3, away=(1,))
        assert router.members.urls["words-node-1"] == last
        assert router.version == version, "its slots stay its own"
    assert time.monotonic() - began < 5
    late, _ = await site.router()
    await pods.ready(1)
    for router in (one, two, late):
        await router.sees(0, 1, 2, 3)
        assert dict(router.members.urls) == await pods.addresses()
        assert router.version == version

    await pods.do("delete", "pod", "words-node-2", "--wait=false")  # in peace
    for router in (one, two):
        await router.sees(0, 1, 2, 3, away=(2,))
    await pods.scale(2)
    for router in (one, two, late):
        await router.sees(0, 1)
    assert all(router.version == one.version for router in (two, late))
    await pods.scale(0)
    for router in (one, two):
        await router.sees()
    assert one.history[-1] == two.history[-1] == Members({})


async def test_a_router_that_starts_while_a_node_is_not_ready_has_the_ring_of_the_others(site: Site) -> None:
    pods = site.pods
    one, _ = await site.router()
    await pods.create(3)
    await pods.ready(0, 1, 2)
    await one.sees(0, 1, 2)
    await pods.age(1, 4.0)  # whole seconds are all that the API tells apart
    await pods.ready(1, yes=False)
    await one.sees(0, 1, 2, away=(1,))
    late, _ = await site.router()
    await late.sees(0, 1, 2, away=(1,))
    assert late.history[0] == one.members, "from its first look on"
    await pods.scale(4)
    await pods.ready(3, yes=False)
    later, _ = await site.router()
    await later.sees(0, 1, 2, away=(1,))
    assert later.members == one.members, "one that was never ready is not there"


async def test_a_place_is_kept_for_the_grace_period_and_no_longer(site: Site) -> None:
    pods = site.pods
    (one, _), (two, _) = [await site.router(SHORT) for _ in range(2)]
    await pods.create(2)
    await pods.ready(0, 1)
    for router in (one, two):
        await router.sees(0, 1)
    await pods.ready(1, yes=False)
    await one.sees(0, 1, away=(1,))
    began = time.monotonic()
    for router in (one, two):
        await router.sees(0)
    assert SHORT - 0.5 < time.monotonic() - began < SHORT + 2
    await pods.ready(1)
    for router in (one, two):
        await router.sees(0, 1)


async def test_without_the_api_a_router_goes_on_with_what_it_knows(site: Site) -> None:
    pods = site.pods
    (cut, cable), (whole, _) = [await site.router(SHORT) for _ in range(2)]
    await pods.create(2)
    await pods.ready(0, 1)
    await cut.sees(0, 1)
    await pods.ready(1, yes=False)
    await cut.sees(0, 1, away=(1,))
    await cable.refuse()
    await until(lambda: bool(cut.membership.warnings()))
    await whole.sees(0)
    assert cut.ordinals == {0, 1}, "the grace period waits"
    await pods.ready(1)
    await whole.sees(0, 1)
    await pods.scale(1)
    await whole.sees(0)
    assert cut.ordinals == {0, 1}
    await cable.connect()
    await cut.sees(0)
    await until(lambda: not cut.membership.warnings())
    assert cut.members == whole.members


async def test_an_api_that_is_silent_is_noticed_before_a_place_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUEST_SECONDS", 1.0)
    pods = site.pods
    router, cable = await site.router(SHORT)
    await pods.create(2)
    await pods.ready(0, 1)
    await router.sees(0, 1)
    await pods.ready(1, yes=False)
    await router.sees(0, 1, away=(1,))
    cable.swallow()
    await pods.ready(1)
    await until(lambda: bool(router.membership.warnings()))
    assert router.ordinals == {0, 1}
    await cable.connect()
    await router.sees(0, 1)
    assert {frozenset(members.urls) for members in router.history[-2:]} == {
        frozenset({"words-node-0", "words-node-1"})
    }


RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": ["apps"],
        "resources": ["statefulsets"],
        "resourceNames": ["words-node"],
        "verbs": ["get", "list", "watch"],
    },
    {
        "apiGroups": ["vectorcache.io"],
        "resources": ["vectorcaches/scale"],
        "resourceNames": ["words"],
        "verbs": ["get", "patch", "update"],
    },
]


async def service_account(pods: Pods, folder: Path, rules: list[dict[str, Any]]) -> dict[str, str]:
    """A router's account, as a pod finds it below ``folder``; the environment of the pod."""
    subject = {"kind": "ServiceAccount", "name": "words-router", "namespace": pods.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "words-router"}
    rbac = "rbac.authorization.k8s.io/v1"
    for told in (
        {"apiVersion": "v1", "kind": "ServiceAccount"},
        {"apiVersion": rbac, "kind": "Role", "rules": rules},
        {"apiVersion": rbac, "kind": "RoleBinding", "subjects": [subject], "roleRef": role},
    ):
        await pods.apply(told | {"metadata": {"name": "words-router"}})
    cluster = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]
    url = URL(cluster["server"])
    folder.mkdir()
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    certificates = context.get_ca_certs(binary_form=True)
    (folder / "ca.crt").write_text("".join(map(ssl.DER_cert_to_PEM_cert, certificates)))
    return {"KUBERNETES_SERVICE_HOST": url.host or "", "KUBERNETES_SERVICE_PORT": str(url.port)}


async def new_token(pods: Pods, secret: str) -> str:
    """A token that is good for as long as a Secret is there."""
    await pods.do("create", "secret", "generic", secret)
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={secret}")
    return (await pods.do("create", "token", "words-router", *bound)).strip()


async def test_in_a_pod_the_least_rights_do_and_tokens_may_change(site: Site, tmp_path: Path) -> None:
    pods, folder = site.pods, tmp_path / "account"
    environment = await service_account(pods, folder, RULES)
    (folder / "token").write_text(await new_token(pods, "first"))
    router = site.run(connector(environment, folder))
    await pods.create(2)
    await pods.ready(0)
    await router.sees(0)

    first = (folder / "token").read_text()
    (folder / "token").write_text(await new_token(pods, "second"))
    await pods.do("delete", "secret", "first")
    async with asyncio.timeout(60):  # the API remembers it for a while
        while await is_accepted(pods, first):
            pass
    assert router.membership.warnings() == [], "a watch that runs goes on"
    router.membership._pods.look_again()
    await pods.ready(1)
    await router.sees(0, 1)


async def is_accepted(pods: Pods, token: str) -> bool:
    try:
        await pods.do("get", "pods", f"--token={token}")
    except NotFound:
        return False
    return True


async def test_what_the_role_forbids_is_told(site: Site, tmp_path: Path) -> None:
    environment = await service_account(site.pods, tmp_path / "account", [])
    (tmp_path / "account" / "token").write_text(await new_token(site.pods, "first"))
    router = site.run(connector(environment, tmp_path / "account"))
    await until(lambda: "403" in "".join(router.membership.warnings()))
    with pytest.raises(Conflict, match="403"):
        await router.membership.resize(3)
    assert await router.membership.desired() is None


async def test_the_number_of_nodes_is_changed_through_the_resource(site: Site) -> None:
    _, connect = await site.cable()
    membership = KubernetesMembership(connect, f"{site.pods.namespace}/words", LONG)
    with pytest.raises(Conflict, match="404"):
        await membership.resize(3)
    await custom_resource(site.pods)
    assert await membership.desired() == 3
    await membership.resize(5)
    assert await wanted(site.pods) == 5
    assert await membership.desired() == 5
    for count in (1, 1001):
        with pytest.raises(InvalidInput, match="replica") as refused:
            await membership.resize(count)
        assert refused.value.field == "count"
    assert await wanted(site.pods) == 5


async def test_a_router_process_tells_and_changes_the_number_of_nodes(
    site: Site, words: Words, tmp_path: Path
) -> None:
    pods = site.pods
    await custom_resource(pods)
    await pods.create(3)
    await pods.ready(0, 2)
    flags = ("--blob-url", words.url, "--kubernetes-resource", f"{pods.namespace}/words")
    async with (
        server("vectorcache_router", tmp_path / "router.log", *flags) as router,
        ClientSession() as session,
    ):

        async def has_nodes() -> bool:
            async with session.get(f"{router.url}/v1/nodes/count") as response:
                return bool(await response.json() == {"desired": 3, "ready": 2})

        await until_async(has_nodes)
        async with session.get(f"{router.url}/v1/ring") as response:
            nodes = (await response.json())["nodes"]
        addresses = await pods.addresses()
        expected = {name: addresses[name] for name in ("words-node-0", "words-node-2")}
        assert {node["name"]: node["address"] for node in nodes} == expected
        async with session.get(f"{router.url}/readyz") as response:
            assert await response.json() == {"ready": True, "reasons": [], "warnings": []}
        for count, status in ((5, 202), (1, 400)):
            async with session.post(f"{router.url}/v1/nodes/count", json={"count": count}) as response:
                assert response.status == status
        assert await wanted(pods) == 5
        await pods.do("delete", "vectorcache", "words")
        async with session.post(f"{router.url}/v1/nodes/count", json={"count": 4}) as response:
            assert response.status == 409
        router.process.terminate()
        assert await router.ended() == 0


async def custom_resource(pods: Pods) -> None:
    """A VectorCache of three nodes, of a kind that the cluster knows."""
    kind = "vectorcaches.vectorcache.io"
    try:
        await kubectl("get", "customresourcedefinition", kind)
    except NotFound:
        await kubectl("apply", "--server-side", "-f", str(CRD))
        await kubectl("wait", "--for=condition=Established", f"crd/{kind}", "--timeout=20s")
    spec = {
        "blob": {"url": "azure://account/container"},
        "nodes": {"replicas": 3},
        "ring": {"replication": 2},
    }
    resource = {"apiVersion": "vectorcache.io/v1alpha1", "kind": "VectorCache"}
    await pods.apply(resource | {"metadata": {"name": "words"}, "spec": spec})


async def wanted(pods: Pods) -> int:
    told = await pods.do("get", "vectorcache", "words", "-o", "jsonpath={.spec.nodes.replicas}")
    return int(told)
