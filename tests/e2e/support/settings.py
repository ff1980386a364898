"""What the end-to-end tests are told by their environment; scripts/e2e.sh describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import vectorcache


@dataclass(frozen=True)
class Settings:
    """Each field but the first ones is an environment variable, E2E_PREFIX for ``prefix``.

    Attributes:
        prefix: of the names of all namespaces. With one, the operator watches only these namespaces, and everything
            that belongs to the whole cluster stays as it is: so the tests can share a cluster.
        azurite_image: image of the blob store.
        next_tag: another tag of the node's image, to roll to.
        cut: command that takes a Kubernetes node off the network; its name is appended. Empty: that test is skipped.
        heal: command that puts it back.
        results: folder for figures and diagnostics.
        idle_seconds: how long an idle operator is watched.
    """

    prefix: str = ""
    azurite_image: str = "localhost/azurite:3"
    next_tag: str = "next"
    cut: str = ""
    heal: str = ""
    results: Path = Path("build/e2e")
    idle_seconds: float = 60.0

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """From the environment; what is not there keeps its default."""
        return cls(
            prefix=environ.get("E2E_PREFIX", cls.prefix),
            azurite_image=environ.get("E2E_AZURITE_IMAGE", cls.azurite_image),
            next_tag=environ.get("E2E_NEXT_TAG", cls.next_tag),
            cut=environ.get("E2E_CUT", cls.cut),
            heal=environ.get("E2E_HEAL", cls.heal),
            results=Path(environ.get("E2E_RESULTS", cls.results)),
            idle_seconds=float(environ.get("E2E_IDLE_SECONDS", cls.idle_seconds)),
        )

    @property
    def system(self) -> str:
        """The operator's namespace."""
        return f"{self.prefix}vectorcache-system"

    @property
    def words(self) -> str:
        """The namespace of the quick start, whose cache most tests share."""
        return f"{self.prefix}words"

    @property
    def other(self) -> str:
        """The namespace of a second cache."""
        return f"{self.prefix}other"

    @property
    def many(self) -> str:
        """The namespace of many small resources."""
        return f"{self.prefix}many"

    @property
    def shared(self) -> bool:
        """Whether others use the cluster too."""
        return bool(self.prefix)

    def image(self, name: str, tag: str = vectorcache.__version__) -> str:
        """An image of ours."""
        return f"vectorcache/{name}:{tag}"
