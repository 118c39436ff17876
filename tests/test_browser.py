"""The pages as a browser shows them: quiet, complete without a network, and no wider than it is."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from frames import make_frame
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from small_dataset import TINY, make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.prediction.cameras import CameraVerdict
from animl_pipeline.report.overview import Overview
from animl_pipeline.report.overview_page import Context, write_overview
from animl_pipeline.running import perform
from animl_pipeline.stages import evaluate, split, train

LABELS = ("bird", "fox", "western spotted skunk or what a person who labels in a hurry took for it")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = (
    "<script>console.log(1)</script>",
    '"><img src=x onerror=console.log(2)>',
    "</style></title><svg onload=console.log(3)>",
)
WIDTHS_PX = {"desktop": 1280, "phone": 390}


@dataclass(frozen=True)
class Shown:
    """What a browser did with a page."""

    said: list[str]  # in its console
    requests: list[str]  # addresses
    page_px: int
    window_px: int
    pictures_broken: int


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("NO PAGE WAS OPENED IN A BROWSER: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a split and that of an evaluation, of a label with a long name too."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_dataset(folder, LABELS)
        table = table_io.read(tables.DATASET, Path("dataset/dataset.csv"))
        perform.perform("train", train.Options(**TINY | {"epochs": 1, "run_name": "tiny"}))
        perform.perform("evaluate", evaluate.Options(splits="test,val"))
        table_io.write(tables.CROPS, Path("crops/crops.csv"), table[list(tables.CROPS.names)])
        perform.perform("split", split.Options(output_dir=Path("again")))
    return {
        "split": folder / "again/split_report.html",
        "evaluation": folder / "runs/tiny/evaluation/report.html",
    }


@pytest.fixture(scope="module")
def overview(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of many labels and locations, some of whose names are long or look like markup."""
    folder = tmp_path_factory.mktemp("overview")
    gathered = Overview()
    names = [*LABELS, "x" * 90, *HOSTILE, *(f"species {number}" for number in range(12))]
    for number, name in enumerate(names * 8):
        decision = ("accept", "review", "alarm", "empty")[number % 4]
        boxes = [] if decision == "empty" else [(name, number % 10 / 10, decision)]
        failure = name if number % 9 == 8 else ""
        file_name = f"{number}.jpg"
        Image.new("RGB", (64, 48), (number, 90, 40)).save(folder / file_name)
        frame = make_frame(file_name, *boxes, location=f"{name} {number % 50}", failure=failure)
        gathered.add(frame)
        gathered.add_sequence(frame.answer.facts.location, "2026-05-02T23:10:00", frame.decision)
    gathered.add(make_frame(f"{HOSTILE[0]}.jpg", ("fox", 0.2, "review")))
    context = Context(
        images_dir=folder,
        run_name=HOSTILE[0],
        made=dict.fromkeys(HOSTILE, "y" * 200),
        beware=HOSTILE,
        cameras=[CameraVerdict(name, 1, 30, 2.0, True, name) for name in names],
        videos=[f"{name}.avi" for name in names],
        unknown_threshold=0.5,
    )
    write_overview(folder / "overview.html", gathered, context)
    return folder / "overview.html"


def show(browser: webdriver.Chrome, page: Path, width_px: int) -> Shown:
    metrics = {"width": width_px, "height": 800, "deviceScaleFactor": 1, "mobile": width_px < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(page.as_uri())
    measure: Any = browser.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth,"
        " [...document.images].filter(image => !image.naturalWidth).length];"
    )
    messages = [json.loads(row["message"])["message"] for row in browser.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    said = [row["message"] for row in browser.get_log("browser")]
    return Shown(said, requests, *measure)


def check(browser: webdriver.Chrome, page: Path, width: str) -> None:
    shown = show(browser, page, WIDTHS_PX[width])
    assert shown.said == []
    outside = [url for url in shown.requests if not url.startswith("data:")]
    assert outside == [page.as_uri()]
    assert shown.pictures_broken == 0
    assert 0 <= WIDTHS_PX[width] - shown.window_px < 20  # a scroll bar
    assert shown.page_px <= shown.window_px


@pytest.mark.parametrize("width", WIDTHS_PX)
@pytest.mark.parametrize("name", ["split", "evaluation"])
def test_a_page_is_quiet_whole_and_no_wider_than_the_window(
    browser: webdriver.Chrome, pages: dict[str, Path], name: str, width: str
) -> None:
    check(browser, pages[name], width)


@pytest.mark.parametrize("width", WIDTHS_PX)
def test_the_page_of_predict_is_too_whatever_names_its_images_and_labels_have(
    browser: webdriver.Chrome, overview: Path, width: str
) -> None:
    check(browser, overview, width)
    assert browser.execute_script("return document.scripts.length") == 0
    read: Any = browser.execute_script("return document.body.innerText")
    assert all(name in read for name in HOSTILE)
