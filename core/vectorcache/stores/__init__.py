"""Storage of bytes: named files on a fast local medium, and blobs in an object store.

This package holds the two interfaces, ``FileStore`` and ``BlobStore``, their implementations, and the deadlines and
retries around them. It does not define the format of the bytes (codecs, chunks, manifests), choose the values to keep
(caches), or read the environment of the process.

``AzureBlobStore`` is in ``vectorcache.stores.azure``. Only that module needs the Azure SDK (``vectorcache[azure]``).
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
