"""The common parts of all HTTP servers of VectorCache: routes, bodies, problems, probes, logs, settings, lifecycle.

Search is not implemented here: a server defines its routes and passes them to ``make_app`` and ``serve``.
"""

from vectorcache_service.app import Limits, make_app
from vectorcache_service.lifecycle import run, run_main, serve
from vectorcache_service.probes import READINESS, REGISTRY, Readiness
from vectorcache_service.problem import Problem
from vectorcache_service.routes import Route

__all__ = [
    "READINESS",
    "REGISTRY",
    "Limits",
    "Problem",
    "Readiness",
    "Route",
    "make_app",
    "run",
    "run_main",
    "serve",
]
