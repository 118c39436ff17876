"""What `download` can be told of the source: where the images are, how they are reached."""

from typing import Annotated, ClassVar

from animl_pipeline.catalogue.animl import SERVING_BUCKET
from animl_pipeline.running.options import option, settings


@settings
class ImageSource:
    """Where the images are, and under which key each of them."""

    panel: ClassVar[str] = "Where the images are"
    bucket: Annotated[str, option("S3 bucket of the images.")] = SERVING_BUCKET
    source: Annotated[
        str | None, option("In the place of a bucket: an http(s):// address, or a folder.")
    ] = None
    key_field: Annotated[
        str | None, option("Field of an image record with its key in the bucket; chosen by itself.")
    ] = None
    key_prefix: Annotated[str, option("Text before every key, such as a folder in the bucket.")] = (
        ""
    )


@settings
class BucketAccess:
    """How a bucket is reached, and who pays."""

    panel: ClassVar[str] = "Access to the bucket"
    endpoint_url: Annotated[str | None, option("Address of an S3-compatible server not AWS's.")] = (
        None
    )
    profile: Annotated[str | None, option("AWS profile with the credentials.")] = None
    region: Annotated[str | None, option("AWS region; that of the bucket by default.")] = None
    no_sign_request: Annotated[bool, option("For a public bucket: use no credentials.")] = False
    requester_pays: Annotated[bool, option("Agree to pay for the transfer.")] = False


@settings
class Connections:
    """How many images are fetched at a time, and how long an answer is waited for."""

    panel: ClassVar[str] = "Speed"
    workers: Annotated[int, option("Images fetched at a time.", ge=1, le=512)] = 16
    timeout: Annotated[
        float, option("Seconds of silence after which a request is made again.", ge=0.1, le=3600)
    ] = 30.0


@settings
class SourceSettings(ImageSource, BucketAccess, Connections):
    """All that decides how a source is opened."""
