"""The chunk index: how a collection is laid out, built, published, opened and searched.

What lives here: manifests and versions, the build, centroids, and the search of cells over a cache of chunks. What
never does: which node does it (``vectorcache.routing``), or how chunks are cached (``vectorcache.layers``).

    sources -> cluster, pack (layout) -> build -> catalog          a build, top to bottom
    catalog -> coarse -> searcher -> chunk_index                   a search
"""
