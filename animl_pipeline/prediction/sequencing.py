"""Name the sequence of every image in a store."""

from collections.abc import Iterator
from itertools import chain

from animl_pipeline.catalogue.sequences import Moment, find_camera, name_bursts, parse_datetime
from animl_pipeline.prediction.store import Store


def name_sequences(answers: Store, gap_seconds: float) -> None:
    """Set the sequence of every image: its source's own, else the first image of its burst.

    An image without a datetime is a sequence by itself.
    """
    bursts = name_bursts(_list_moments(answers), gap_seconds)
    answers.set_sequences(chain(bursts, _list_others(answers)))


def _list_moments(answers: Store) -> Iterator[Moment]:
    for name, facts in answers.list_shots():
        time = None if facts.sequence else parse_datetime(facts.datetime)
        if time:
            yield Moment(find_camera(facts.location, name), time, name)


def _list_others(answers: Store) -> Iterator[tuple[str, str]]:
    for name, facts in answers.list_shots():
        if facts.sequence or not parse_datetime(facts.datetime):
            yield name, facts.sequence or name
