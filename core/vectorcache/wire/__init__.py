"""Messages of both HTTP APIs.

``public`` is what clients and routers exchange, ``internal`` is what routers and nodes exchange, ``types`` is what both
are made of. Every message can be encoded as JSON or as msgpack. In msgpack, vectors and cells may be raw
little-endian float32 or int32 (in JSON, the same bytes in base64); both formats accept lists of numbers.
"""
