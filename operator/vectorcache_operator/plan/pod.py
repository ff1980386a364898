"""Common parts of the pods of nodes and routers: security context, probes, environment, scheduling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vectorcache_operator import names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import selecting, without_empty
from vectorcache_operator.plan.facts import Facts
from vectorcache_operator.spec import Resource, Workload

USER = 10001
DRAIN_DELAY = "5s"
"""Time between becoming unready and refusing connections, in which routers and endpoints are updated."""
SHUTDOWN_TIMEOUT = "20s"
TERMINATION_SECONDS = 60
START_SECONDS = 300
"""Time that a pod may take to start before it is restarted; reading a large disk takes a while."""


def template(
    resource: Resource, facts: Facts, component: str, workload: Workload, container: Object, **spec: Any
) -> Object:
    """Return a pod template with one container."""
    identity = resource.spec.blob.workload_identity is not None
    own_labels = names.labels(resource.name, component)
    if identity:
        own_labels[names.LABEL_WORKLOAD_IDENTITY] = "true"
    own_annotations = without_empty(
        {
            names.ANNOTATION_CREDENTIALS: facts.credentials,
            names.ANNOTATION_ACCOUNT: facts.router_account if component == names.ROUTER else None,
        }
    )
    metadata = {
        "labels": workload.pod_labels | own_labels,
        "annotations": workload.pod_annotations | own_annotations,
    }
    return {
        "metadata": without_empty(metadata),
        "spec": {
            "containers": [container],
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": TERMINATION_SECONDS,
            **_scheduling(resource, component, workload),
            **without_empty(
                {"imagePullSecrets": [{"name": one.name} for one in resource.spec.image_pull_secrets]}
            ),
            **spec,
        },
    }


def container(
    resource: Resource,
    name: str,
    image: str,
    workload: Workload,
    environment: Mapping[str, str | Object],
    resources: Object,
    mounts: list[Object],
) -> Object:
    """Return a container that serves HTTP. A value of the environment is a text or a ``valueFrom`` source."""
    secret = resource.spec.blob.credentials_secret
    return {
        "name": name,
        "image": workload.image or image,
        "ports": [{"name": names.HTTP, "containerPort": names.PORT, "protocol": "TCP"}],
        "env": [_variable(f"VECTORCACHE_{key}", value) for key, value in environment.items()],
        "resources": workload.resources or resources,
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/healthz", period=1, failures=START_SECONDS),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        **without_empty(
            {
                "imagePullPolicy": workload.image_pull_policy,
                "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
            }
        ),
    }


def temporary() -> Object:
    """Return the volume for temporary files. Except for it and a node's disk, file systems are read-only."""
    return {"name": "tmp", "emptyDir": {}}


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": names.HTTP},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 3,
    }


def _variable(name: str, value: str | Object) -> Object:
    return {"name": name, "value": value} if isinstance(value, str) else {"name": name, "valueFrom": value}


def _scheduling(resource: Resource, component: str, workload: Workload) -> Object:
    scheduling = workload.scheduling
    spread = scheduling.topology_spread_constraints
    if spread is None:
        spread = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selecting(resource, component),
            }
        ]
    return without_empty(
        {
            "nodeSelector": scheduling.node_selector,
            "tolerations": scheduling.tolerations,
            "affinity": scheduling.affinity,
            "topologySpreadConstraints": spread,
            "priorityClassName": scheduling.priority_class_name,
        }
    )
