"""The Kubernetes operator: keeps what a VectorCache resource asks for.

What lives here: watching (kopf), the plan of what a resource owns, applying it, telling how it goes. What never does:
searching, or anything on the path of a search: nodes and routers go on without an operator.
"""
