"""Messages of both HTTP APIs.

``public`` has the messages between clients and routers, ``internal`` those between routers and nodes, and ``types``
their common parts. Every message can be encoded as JSON or as msgpack. In msgpack, vectors and cells may be raw
little-endian float32 or int32 (in JSON, the same bytes in base64). Both formats accept lists of numbers.
"""
