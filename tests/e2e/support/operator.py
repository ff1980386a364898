"""The operator's pod and its metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.support.kubectl import Kubectl

LABEL = "app.kubernetes.io/name=vectorcache-operator"
DEPLOYMENT = "deployment/vectorcache-operator"
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Operator:
    """The operator of a namespace."""

    kubectl: Kubectl

    def kill(self) -> None:
        """Without a chance to finish anything."""
        self.kubectl("delete", "pod", f"--selector={LABEL}", "--grace-period=0", "--force")

    def wait_ready(self) -> None:
        """Until a pod of it is."""
        self.kubectl("rollout", "status", DEPLOYMENT, "--timeout=60s", seconds=90)

    def scale(self, replicas: int) -> None:
        """0 stops it."""
        self.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}")
        if replicas:
            self.wait_ready()
        else:
            self.kubectl("wait", "pod", f"--selector={LABEL}", "--for=delete", "--timeout=60s", seconds=90)

    @contextmanager
    def looking_often(self, seconds: float) -> Iterator[None]:
        """Have it look at Secrets, which it does not watch, every so many seconds while the block runs."""
        self.kubectl("set", "env", DEPLOYMENT, f"VECTORCACHE_RESYNC={seconds:g}s")
        self.wait_ready()
        try:
            yield
        finally:
            self.kubectl("set", "env", DEPLOYMENT, "VECTORCACHE_RESYNC-")
            self.wait_ready()

    def metrics(self) -> Metrics:
        """As it tells them now."""
        program = (
            "import urllib.request;"
            "print(urllib.request.urlopen('http://127.0.0.1:8080/metrics', timeout=10).read().decode())"
        )
        text = self.kubectl("exec", DEPLOYMENT, "--", "python", "-c", program)
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return Metrics(samples)


@dataclass(frozen=True)
class Metrics:
    """Samples by name and labels."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def sum(self, name: str) -> float:
        """Of all samples of a name."""
        return sum(value for (sample, _), value in self.samples.items() if sample == name)

    def requests(self) -> float:
        """To the Kubernetes API, watches aside."""
        return self.sum("vectorcache_operator_api_requests_total")

    def writes(self) -> float:
        """The requests that change something."""
        return sum(
            value
            for (sample, labels), value in self.samples.items()
            if sample == "vectorcache_operator_api_requests_total"
            and dict(labels)["method"].upper() in WRITES
        )

    def cpu_seconds(self) -> float:
        """Since it started."""
        return self.sum("process_cpu_seconds_total")

    def resident_bytes(self) -> float:
        """Memory of the process."""
        return self.sum("process_resident_memory_bytes")
