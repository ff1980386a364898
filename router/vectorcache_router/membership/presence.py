"""The decision which pods are nodes on the ring, from observations and their times. It performs no I/O.

A ready node is on the ring. A node on the ring that stops being ready keeps its place for a grace period, because most
nodes come back with the same name, the same volume and the same slots. If the StatefulSet is scaled down, the surplus
nodes leave immediately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vectorcache_router.membership.base import Members


@dataclass(frozen=True, slots=True)
class Pod:
    """The state of a pod that is relevant for the ring.

    Attributes:
        name: name of the pod, and of the node on the ring.
        url: base URL of its server, or None while it has no address.
        ready: whether it should get searches: it has an address, is ready, and is not being deleted.
        left: when it stopped being ready, in seconds since the epoch by the cluster's clocks. None if it is ready, or
            never was.
    """

    name: str
    url: str | None
    ready: bool
    left: float | None = None


class ContactClock:
    """A clock for grace periods that counts the time during which the API was known to respond.

    The time between two contacts is added at the second one. The time between a failure and the next contact does not
    count.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self.seconds = 0.0

    def contact(self) -> None:
        """Record that the API responded."""
        now = self._clock()
        if self._last is not None:
            self.seconds += now - self._last
        self._last = now

    def lost(self) -> None:
        """Record that the API failed."""
        self._last = None

    @property
    def running(self) -> bool:
        """Whether the API has not failed since the last contact."""
        return self._last is not None

    def expected(self) -> float:
        """Return the value that ``seconds`` would have after a contact now."""
        return self.seconds + (self._clock() - self._last if self._last is not None else 0.0)


class Presence:
    """The nodes on the ring, and since when those that are not ready have been away.

    Args:
        statefulset: pods named ``{statefulset}-{ordinal}`` are nodes; others are ignored.
        grace: seconds for which a node that is not ready keeps its place on the ring.
    """

    def __init__(self, statefulset: str, grace: float) -> None:
        self._prefix = f"{statefulset}-"
        self._grace = grace
        self._urls: dict[str, str] = {}
        self._since: dict[str, float] = {}

    def restore(self, pods: Iterable[Pod], wall: float, now: float) -> None:
        """Restore nodes from the first list of pods: those that left recently and are still on other routers' rings.

        ``wall`` is the time of the list by the cluster's clocks, and ``now`` by the clock of ``decide``.
        """
        for pod in pods:
            if pod.left is not None and pod.url is not None:
                self._urls[pod.name] = pod.url
                self._since[pod.name] = now - max(0.0, wall - pod.left)

    def decide(self, pods: Iterable[Pod], replicas: int | None, now: float) -> Members:
        """Return the nodes on the ring.

        Args:
            pods: all current pods.
            replicas: desired number of pods: pods with this ordinal or a higher one are removed. None if unknown.
            now: monotonic seconds.
        """
        ready: dict[str, str] = {pod.name: pod.url for pod in pods if pod.ready and pod.url is not None}
        self._urls |= ready
        for name in tuple(self._urls):
            if not self._wanted(name, replicas):
                self._forget(name)
            elif name in ready:
                self._since.pop(name, None)
            elif now - self._since.setdefault(name, now) >= self._grace:
                self._forget(name)
        return Members(dict(self._urls), frozenset(self._since))

    def next_end(self) -> float | None:
        """Return when the next grace period ends, by the clock of ``decide``, or None if none is running."""
        return min(self._since.values()) + self._grace if self._since else None

    def _wanted(self, name: str, replicas: int | None) -> bool:
        ordinal = name.removeprefix(self._prefix)
        if not name.startswith(self._prefix) or not (ordinal.isascii() and ordinal.isdecimal()):
            return False
        return replicas is None or int(ordinal) < replicas

    def _forget(self, name: str) -> None:
        del self._urls[name]
        self._since.pop(name, None)
