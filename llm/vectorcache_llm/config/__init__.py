"""Configuration in layers: defaults, a YAML file, the environment, and code.

``settings`` defines every setting with its default and constraints, ``kinds`` describes them for users, ``layers``
reads the layers, ``secrets`` masks secrets, and ``build`` constructs the caches.
"""

from vectorcache_llm.config.build import open_caches
from vectorcache_llm.config.layers import Configuration, load
from vectorcache_llm.config.settings import Settings

__all__ = ["Configuration", "Settings", "load", "open_caches"]
