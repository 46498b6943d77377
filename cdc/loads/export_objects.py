"""Objects of an export, read from S3 with errors that say what to do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from typing import TYPE_CHECKING, Any

from cdc.aws_errors import code_of, translated
from cdc.errors import ConfigError, SinkUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["ObjectAbsent", "body_of", "new_sum", "opened", "sum_text"]

_ABSENT = ("NoSuchKey", "404")
_REFUSED = ("AccessDenied", "AllAccessDisabled", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_ELSEWHERE = ("NoSuchBucket", "PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidBucketName")


class ObjectAbsent(ConfigError):
    """There is no such object in the bucket."""


@contextmanager
def opened(s3: S3Client, bucket: str, key: str) -> Iterator[Any]:
    """The body of an object, as a stream to read within the block.

    Raises:
        ObjectAbsent: there is no such object.
        ConfigError: it may not be read, or there is no such bucket.
        SinkUnavailable: S3 is out of reach or busy, or the stream broke off; ask again.
    """
    where = f"s3://{bucket}/{key}"
    try:
        with translated("export", f"{where} can't be read"):
            yield s3.get_object(Bucket=bucket, Key=key)["Body"]
    except SinkUnavailable as error:
        code = code_of(error.__cause__)
        if code in _ABSENT:
            raise ObjectAbsent(f"{where} is not there", remedy=_ABSENT_REMEDY) from error
        if code in _REFUSED:
            raise ConfigError(f"{where} may not be read: {code}", remedy=_rights(bucket)) from error
        if code in _ELSEWHERE:
            remedy = "Check the bucket's name and AWS_REGION."
            raise ConfigError(f"{where} can't be read: {code}", remedy=remedy) from error
        raise


_ABSENT_REMEDY = "Check the location; if a lifecycle rule or a person took it away, ask for a new export."


def _rights(bucket: str) -> str:
    return (
        f"Allow s3:GetObject and s3:ListBucket on {bucket}, and kms:Decrypt where the export is encrypted by a KMS key."
    )


def body_of(s3: S3Client, bucket: str, key: str) -> bytes:
    """A small object as a whole; see `opened` for the errors."""
    with opened(s3, bucket, key) as body:
        return bytes(body.read())


def new_sum() -> Any:
    """An MD5 sum to be updated: exports carry no other."""
    return md5(usedforsecurity=False)


def sum_text(digest: Any) -> str:
    """The sum as the manifests write it: base64 text."""
    return b64encode(digest.digest()).decode()
