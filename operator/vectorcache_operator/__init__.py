"""The Kubernetes operator, which maintains the objects of every VectorCache resource.

This package watches the cluster (kopf), decides what to change (``decide``), applies the changes (``apply``), and
reports status and Events. It contains nothing on the path of a search: nodes and routers work without an operator.
"""
