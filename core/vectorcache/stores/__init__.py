"""Where bytes are kept: named files on a fast local medium, and blobs in an object store.

Here live the two interfaces, ``FileStore`` and ``BlobStore``, their implementations, and the deadlines and
retries around them. What never lives here: what the bytes mean (codecs, chunks, manifests), which of them to
keep (caches), and any reading of the process's environment.

``AzureBlobStore`` is in ``vectorcache.stores.azure``, which alone needs the Azure SDK
(``vectorcache[azure]``).
"""

from vectorcache.stores.base import Blob, BlobInfo, BlobStore, FileInfo, FileStore
from vectorcache.stores.disk import DiskFileStore
from vectorcache.stores.folder import FolderBlobStore
from vectorcache.stores.memory import MemoryBlobStore, MemoryFileStore
from vectorcache.stores.retrying import RetryCounts, RetryingBlobStore, RetryPolicy
from vectorcache.stores.url import open_blob_store

__all__ = [
    "Blob",
    "BlobInfo",
    "BlobStore",
    "DiskFileStore",
    "FileInfo",
    "FileStore",
    "FolderBlobStore",
    "MemoryBlobStore",
    "MemoryFileStore",
    "RetryCounts",
    "RetryPolicy",
    "RetryingBlobStore",
    "open_blob_store",
]
