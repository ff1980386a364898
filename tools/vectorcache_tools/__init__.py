"""The ``vectorcache`` command, a cluster of processes on one machine (``local``), Azurite, and the demo.

They need the extra ``vectorcache[cli]``. Nodes and routers run as processes of their own and are not imported here.
"""
