"""Open the source that the options name: a bucket, a web address or a folder."""

from pathlib import Path

from animl_pipeline.catalogue.animl import ARCHIVE_BUCKET, SERVING_BUCKET
from animl_pipeline.errors import OptionError
from animl_pipeline.running.options import dash_name, list_knobs
from animl_pipeline.sources.bucket import Bucket
from animl_pipeline.sources.folder import Folder
from animl_pipeline.sources.settings import BucketAccess, SourceSettings
from animl_pipeline.sources.source import Source
from animl_pipeline.sources.web import Web


def open_source(options: SourceSettings, key_field: str) -> Source:
    """Return the source; `key_field` is the field of the COCO file that has the keys.

    Raises:
        OptionError: the options contradict each other, or name no source.
    """
    if options.source is not None:
        _refuse_options_of_bucket(options)
        if not options.source.strip():
            raise OptionError("--source is empty: give an http(s):// address or a folder.")
        if "://" in options.source:
            return Web(options.source, connections=options.workers, timeout_s=options.timeout)
        return Folder(Path(options.source))
    return Bucket(
        _choose_bucket(options, key_field),
        endpoint_url=options.endpoint_url,
        profile=options.profile,
        region=options.region,
        sign=not options.no_sign_request,
        requester_pays=options.requester_pays,
        connections=options.workers,
        timeout_s=options.timeout,
    )


def _choose_bucket(options: SourceSettings, key_field: str) -> str:
    """Return the bucket, which of Animl's follows from the field of the keys."""
    if options.bucket != SERVING_BUCKET or options.endpoint_url is not None:
        return options.bucket
    if key_field == "original_relative_path":
        return ARCHIVE_BUCKET
    if key_field == "file_name":
        raise OptionError(
            "The COCO file has no serving_bucket_key, so it does not come from Animl as it is "
            "today: name its bucket with --bucket, or its address or folder with --source."
        )
    return options.bucket


def _refuse_options_of_bucket(options: SourceSettings) -> None:
    names = {"bucket", *(knob.name for knob in list_knobs(BucketAccess))}
    for knob in list_knobs(SourceSettings):
        if knob.name in names and getattr(options, knob.name) != knob.default:
            raise OptionError(
                f"{dash_name(knob.name)} is of S3, and --source is no bucket: leave one out."
            )
