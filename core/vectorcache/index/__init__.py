"""The chunk index: how a collection is laid out, built, published, opened and searched.

This package holds manifests and versions, the build, centroids, and the search of cells over a cache of chunks. It
does not choose the node that searches (``vectorcache.routing``) or cache chunks (``vectorcache.layers``).

    sources -> cluster, pack (layout) -> build -> catalog          a build, top to bottom
    catalog -> coarse -> node -> chunk_index                       a search
"""
