"""The pages as a browser shows them: quiet, complete without a network, and no wider than it is."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from small_dataset import TINY, make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.running import perform
from animl_pipeline.stages import evaluate, split, train

LABELS = ("bird", "fox", "western spotted skunk or what a person who labels in a hurry took for it")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
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


@pytest.mark.parametrize("width", WIDTHS_PX)
@pytest.mark.parametrize("name", ["split", "evaluation"])
def test_a_page_is_quiet_whole_and_no_wider_than_the_window(
    browser: webdriver.Chrome, pages: dict[str, Path], name: str, width: str
) -> None:
    shown = show(browser, pages[name], WIDTHS_PX[width])
    assert shown.said == []
    outside = [url for url in shown.requests if not url.startswith("data:")]
    assert outside == [pages[name].as_uri()]
    assert shown.pictures_broken == 0
    assert 0 <= WIDTHS_PX[width] - shown.window_px < 20  # a scroll bar
    assert shown.page_px <= shown.window_px
