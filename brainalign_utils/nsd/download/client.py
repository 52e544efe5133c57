"""Anonymous access to a bucket; the one module that imports boto3."""

import time
from collections.abc import Iterator

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from .plan import DownloadError, Remote

CHUNK = 1 << 20
BROKEN = (
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    HTTPError,
    ConnectionError,
)
"""A connection that broke; asking again from where it stopped may help."""


class Client:
    """Anonymous reader of an S3 bucket.

    Parameters
    ----------
    endpoint_url : str or None
        Another server than Amazon's.
    n_connections : int
    """

    def __init__(self, endpoint_url: str | None = None, n_connections: int = 8):
        config = Config(
            signature_version=UNSIGNED,
            max_pool_connections=n_connections,
            retries={"max_attempts": 4, "mode": "standard"},
            connect_timeout=20,
            read_timeout=60,
            response_checksum_validation="when_required",  # files are verified whole, also resumed ones
        )
        self.endpoint_url = endpoint_url or "Amazon S3"
        self._s3 = boto3.client("s3", endpoint_url=endpoint_url, region_name="us-east-2", config=config)

    def head(self, bucket: str, key: str) -> Remote | None:
        """Size and checksum of a file; None if there is none of that name."""
        try:
            head = self._s3.head_object(Bucket=bucket, Key=key)
            etag, part_size = head["ETag"].strip('"'), 0
            if "-" in etag:
                part_size = self._s3.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
                return None
            raise DownloadError(f"{self.endpoint_url} refuses {bucket}/{key}: {error}") from error
        except BotoCoreError as error:
            raise DownloadError(
                f"{self.endpoint_url} cannot be reached ({error}); check the network and --endpoint-url"
            ) from error
        return Remote(key, head["ContentLength"], etag, part_size)

    def stream(self, bucket: str, remote: Remote, start: int) -> Iterator[bytes]:
        """Content from byte ``start``; fails if the file was replaced since :meth:`head`."""
        try:
            body = self._s3.get_object(
                Bucket=bucket, Key=remote.key, Range=f"bytes={start}-", IfMatch=f'"{remote.etag}"'
            )["Body"]
        except ClientError as error:
            raise DownloadError(
                f"{self.endpoint_url} refuses {bucket}/{remote.key}: {error}; run the download again"
            ) from error
        yield from body.iter_chunks(CHUNK)


def with_retries(action, position, attempts: int = 4, pause: float = 0.25):
    """Call ``action()`` until the connection holds.

    Parameters
    ----------
    action, position : callables
        ``position()`` says how far it got; failures are counted from the last progress.
    attempts : int
    pause : float
        Seconds before the second attempt; doubled each time.

    Raises
    ------
    Exception
        The last failure, of the kinds in :data:`BROKEN`.
    """
    failures = 0
    while True:
        before = position()
        try:
            return action()
        except BROKEN:
            failures = 1 if position() > before else failures + 1
            if failures == attempts:
                raise
            time.sleep(pause * 2 ** (failures - 1))
