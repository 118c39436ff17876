"""The page of `predict`: what it gathers, in what order it shows it, and how large it may be."""

import random
import re
from html import unescape
from pathlib import Path
from typing import Any

from frames import make_frame
from PIL import Image

from animl_pipeline.prediction.cameras import CameraVerdict
from animl_pipeline.prediction.decisions import Frame
from animl_pipeline.report.overview import Overview
from animl_pipeline.report.overview_page import Context, render, write_overview

NAN = float("nan")


def gather(*frames: Frame) -> Overview:
    """Each image is its own sequence."""
    overview = Overview()
    for frame in frames:
        overview.add(frame)
        facts = frame.answer.facts
        overview.add_sequence(facts.location, facts.datetime, frame.decision)
    return overview


def draw(overview: Overview, images_dir: Path, **context: Any) -> str:
    whole = Context(images_dir=images_dir, run_name="tiny", made={"run": "runs/tiny"}, **context)
    return render(overview, whole, folder=images_dir)


def read_words(page: str) -> str:
    body = page.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_alarms_come_first_the_most_probable_of_them_then_the_least_sure() -> None:
    overview = gather(
        make_frame("1.jpg", ("fox", 0.5, "review"), location="A"),
        make_frame("2.jpg", ("rat", 0.3, "alarm"), location="B"),
        make_frame("3.jpg", ("fox", 0.4, "review"), location="C"),
        make_frame("4.jpg", ("rat", 0.8, "alarm"), location="D"),
        make_frame("5.jpg", ("fox", 0.9, "accept"), location="E"),
        make_frame("6.jpg", ("animal", NAN, "review"), location="F"),
    )
    names = [tile.file_name for tile in overview.review.choose()]
    assert names == ["4.jpg", "2.jpg", "3.jpg", "1.jpg", "6.jpg"]


def test_a_burst_does_not_fill_what_is_to_be_looked_at() -> None:
    burst = [make_frame(f"a/{i:03}.jpg", ("fox", 0.1, "review")) for i in range(100)]
    others = [
        make_frame(f"b/{i:03}.jpg", ("fox", 0.3, "review"), location=f"B{i}") for i in range(9)
    ]
    tiles = gather(*burst, *others).review.choose()
    assert len(tiles) == 24
    assert {tile.location for tile in tiles} == {"A", *(f"B{i}" for i in range(9))}


def test_the_page_is_the_same_whatever_order_the_images_come_in(tmp_path: Path) -> None:
    rng = random.Random(3)
    frames = [
        make_frame(
            f"{i:04}.jpg",
            (rng.choice(["fox", "bird"]), round(rng.random(), 3), rng.choice(["accept", "review"])),
            location=f"camera {rng.randrange(5)}",
            hour=rng.randrange(24),
        )
        for i in range(400)
    ]
    first = draw(gather(*frames), tmp_path)
    rng.shuffle(frames)
    assert draw(gather(*frames), tmp_path) == first


def test_what_was_seen_is_counted_by_location_and_decision(tmp_path: Path) -> None:
    page = draw(
        gather(
            make_frame("1.jpg", ("fox", 0.9, "accept"), location="pier"),
            make_frame("2.jpg", ("fox", 0.3, "review"), location="pier", hour=21),
            make_frame("3.jpg", location="cove"),
            make_frame("4.jpg", location="cove", failure="image is truncated"),
        ),
        tmp_path,
    )
    words = read_words(page)
    assert "4 images at 2 locations, 2026-05-02" in words
    for row in ("1 accepted 25 %", "1 for a person to review", "1 empty", "1 could not be read"):
        assert row in words
    assert "pier 1 +1 2 0 1" in words  # sequences of fox, images, empty, to review
    assert "cove 2 1 0" in words  # one of them could not be read
    assert "image is truncated 1 4.jpg" in words


def test_an_image_without_a_time_has_no_hour_and_is_counted(tmp_path: Path) -> None:
    overview = gather(make_frame("1.jpg", ("fox", 0.9, "accept"), hour=-1))
    words = read_words(draw(overview, tmp_path))
    assert "by hour of day" not in words
    assert "1 image had no time of day" in words


def test_names_of_others_are_text_and_no_markup(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    name = 'javascript:alert(1)/"><b>.jpg'
    page = draw(
        gather(
            make_frame(name, (hostile, 0.2, "review"), location=hostile),
            make_frame(f"{hostile}.jpg", failure=hostile),
        ),
        tmp_path,
        beware=[hostile],
        videos=[hostile],
        cameras=[CameraVerdict(hostile, 1, 1, 2.0, True, hostile)],
    )
    assert "<script" not in page
    assert "onerror=alert(1)>" not in page.replace("&gt;", "")
    links = {unescape(link) for link in re.findall(r'href="([^"#]*)"', page)}
    assert links == {"./javascript%3Aalert%281%29/%22%3E%3Cb%3E.jpg"}


def test_people_are_counted_and_not_shown(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "1.jpg")
    page = draw(gather(make_frame("1.jpg", ("person", 0.9, "accept"))), tmp_path)
    assert "<img" not in page
    assert "person" in read_words(page)


def test_only_what_is_above_the_threshold_is_shown_as_unlike_anything(tmp_path: Path) -> None:
    overview = gather(
        make_frame("known.jpg", ("fox", 0.9, "accept"), location="A"),
        make_frame("strange.jpg", ("fox", 0.2, "review"), location="B"),
    )
    page = draw(overview, tmp_path, unknown_threshold=0.5)
    unlike = page[page.index('<h2 id="unlike">') : page.index('<h2 id="galleries">')]
    assert "strange.jpg" in unlike
    assert "known.jpg" not in unlike


def test_a_picture_that_is_gone_leaves_a_page_that_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "here.jpg")
    overview = gather(
        make_frame("here.jpg", ("fox", 0.9, "accept"), location="A"),
        make_frame("gone.jpg", ("fox", 0.8, "accept"), location="B"),
        make_frame("../outside.jpg", ("fox", 0.8, "accept"), location="C"),
    )
    context = Context(images_dir=tmp_path, run_name="tiny", made={})
    write_overview(tmp_path / "overview.html", overview, context)
    page = (tmp_path / "overview.html").read_text(encoding="utf-8")
    assert page.count("<img") == 1
    assert page.count("not readable") == 2


def test_page_and_memory_stay_small_whatever_is_seen(tmp_path: Path) -> None:
    labels = [f"species {i}" for i in range(400)]
    overview = gather(
        *(
            make_frame(
                f"{i:06}.jpg",
                (labels[i % 400], (i % 97) / 97, "review"),
                location=f"camera {i % 1000}",
                failure=f"reason {i}" if i % 50 == 0 else "",
            )
            for i in range(20_000)
        )
    )
    page = draw(overview, tmp_path, videos=[f"{i}.avi" for i in range(1000)])
    assert len(page) < 2_000_000
    assert len(overview.failures) <= 51
    assert "500 locations with fewer images are not shown" in read_words(page)
    kept = [tile for tally in overview.labels.values() for tile in tally.tiles.choose()]
    assert len(kept) <= 400 * 12


def test_nothing_seen_is_a_page_too(tmp_path: Path) -> None:
    assert "0 images" in read_words(draw(Overview(), tmp_path))
