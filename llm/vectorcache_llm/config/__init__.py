"""Configuration: defaults, then a YAML file, then the environment, then code.

``settings`` has every setting with its default and what is allowed, ``kinds`` puts that into words, ``layers`` reads
the layers, ``secrets`` hides what must not be seen, ``build`` makes the caches.
"""

from vectorcache_llm.config.build import open_caches
from vectorcache_llm.config.layers import Configuration, load
from vectorcache_llm.config.settings import Settings

__all__ = ["Configuration", "Settings", "load", "open_caches"]
