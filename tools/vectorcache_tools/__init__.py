"""The ``vectorcache`` command, local clusters of processes on one machine, Azurite, and the demo.

This package needs the extra ``vectorcache[cli]``. Nodes and routers run as separate processes and are not imported
here.
"""
