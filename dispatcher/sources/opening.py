"""Which client speaks to a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dispatcher.core.settings import StoreApi
from dispatcher.sources.oss import OssBucket
from dispatcher.sources.s3 import S3Bucket
from dispatcher.sources.store import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.core.settings import BucketSettings, Credentials
    from dispatcher.sources.store import StoreBucket


def open_bucket(bucket: BucketSettings, keys: Callable[[], Credentials], *, attempts: int = ATTEMPTS) -> StoreBucket:
    """Return a bucket that speaks as its settings say. Nothing is requested yet."""
    match bucket.api:
        case StoreApi.S3:
            return S3Bucket(bucket, keys, attempts)
        case StoreApi.OSS:
            return OssBucket(bucket, keys, attempts)
        case _:
            assert_never(bucket.api)
