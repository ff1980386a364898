"""Which pods are nodes of the ring: a decision from what was seen and when, without any I/O.

A node that is ready is on the ring. One that was on the ring and is not ready now keeps its place for a grace
period, because most of them come back: the same name, the same volume, the same slots. One that is not wanted any
more, because the StatefulSet is to have fewer pods, leaves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vectorcache_router.membership.base import Members


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as far as the ring is concerned.

    Attributes:
        name: of the pod, which is the node's on the ring.
        url: base URL of its server, or None while it has no address.
        ready: it should get searches: it has an address, says that it is ready, and is not being deleted.
        left: when it stopped being ready, in seconds since the epoch by the cluster's clocks; None while it is
            ready, and where it never was.
    """

    name: str
    url: str | None
    ready: bool
    left: float | None = None


class ContactClock:
    """Seconds during which the API was known to answer: grace periods run by it.

    Time counts when the next sign of life confirms it; between a failure and the next sign it does not.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self.seconds = 0.0

    def contact(self) -> None:
        """The API gave a sign of life."""
        now = self._clock()
        if self._last is not None:
            self.seconds += now - self._last
        self._last = now

    def lost(self) -> None:
        """The API failed."""
        self._last = None

    @property
    def running(self) -> bool:
        """Whether the last that was heard of the API was a sign of life."""
        return self._last is not None

    def expected(self) -> float:
        """What ``seconds`` would be after a sign of life now."""
        return self.seconds + (self._clock() - self._last if self._last is not None else 0.0)


class Presence:
    """Remembers which nodes are on the ring, and since when some of them are away.

    Args:
        statefulset: the pods' names are ``{statefulset}-{ordinal}``; others are no nodes.
        grace: seconds for which a node that is away keeps its place.
    """

    def __init__(self, statefulset: str, grace: float) -> None:
        self._prefix = f"{statefulset}-"
        self._grace = grace
        self._urls: dict[str, str] = {}
        self._since: dict[str, float] = {}

    def recall(self, pods: Iterable[Pod], wall: float, now: float) -> None:
        """Learn from a first look which nodes other routers still have on the ring: those that left lately.

        ``wall`` is the time of the look by the cluster's clocks, ``now`` by the one of ``decide``.
        """
        for pod in pods:
            if pod.left is not None and pod.url is not None:
                self._urls[pod.name] = pod.url
                self._since[pod.name] = now - max(0.0, wall - pod.left)

    def decide(self, pods: Iterable[Pod], replicas: int | None, now: float) -> Members:
        """The nodes on the ring.

        Args:
            pods: all that there are.
            replicas: how many there should be: those from this ordinal on are out. None where nobody knows.
            now: seconds; never less than in an earlier call.
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
        """When the next grace period ends, by the clock of ``decide``; None while none runs."""
        return min(self._since.values()) + self._grace if self._since else None

    def _wanted(self, name: str, replicas: int | None) -> bool:
        ordinal = name.removeprefix(self._prefix)
        if not name.startswith(self._prefix) or not (ordinal.isascii() and ordinal.isdecimal()):
            return False
        return replicas is None or int(ordinal) < replicas

    def _forget(self, name: str) -> None:
        del self._urls[name]
        self._since.pop(name, None)
