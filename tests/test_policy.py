import json
import logging
from pathlib import Path
from typing import Any

import pytest

from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files.whole import digest
from animl_pipeline.runs.policy import (
    Cameras,
    CameraSummary,
    MeasuredOn,
    Policy,
    Temperature,
    Thresholds,
    Unknown,
    read_policy,
    read_temperature,
    write_policy,
)

CARD = Card("efficientnet-b0", ["bird", "fox"], 64, {}, {}, {}, "", 0)
ON = MeasuredOn(split="val", dataset_fingerprint="0" * 64, n=171, locations=16)
CAMERA = CameraSummary(
    dataset="isle",
    location="a",
    boxes=3,
    probability=(0, 3),
    labels=(1, 2),
    area=(3, 0),
    grey=1,
    traits=(0.1, -2.5e-7),
    squares=(0.2, 4.0),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, as far as a policy is of it."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model.json").write_text("{}")
    return tmp_path


def make_policy(run: Path) -> Policy:
    thresholds = Thresholds(wanted=0.9, per_label={"bird": 0.812, "fox": None}, measured_on=ON)
    return Policy(
        weights=digest(run / "model.safetensors", "sha256"),
        temperature=Temperature(value=2.29, measured_on=ON),
        thresholds={"precision": thresholds, "recall": thresholds},
        alarms={"fox": 0.02},
        empty_label="bird",
        reference="1" * 64,
        unknown=Unknown(score="a", threshold=-1.5, wanted=0.01, share=0.008, measured_on=ON),
        cameras=Cameras(
            threshold=2.0,
            wanted=0.05,
            boxes_min=20,
            scales={"labels": 0.1},
            measured_on=ON,
            known=(CAMERA,),
        ),
    )


def change(run: Path, **fields: Any) -> Path:
    """A written policy, some of whose fields are then changed by hand."""
    write_policy(run, make_policy(run))
    path = run / "policy.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))
    return path


def test_a_policy_is_read_as_it_was_written(run: Path) -> None:
    write_policy(run, make_policy(run))
    assert read_policy(run, CARD) == make_policy(run)


def test_lists_of_numbers_stand_on_one_line(run: Path) -> None:
    write_policy(run, make_policy(run))
    lines = [line.strip() for line in (run / "policy.json").read_text().splitlines()]
    assert '"traits": [0.1,-2.5e-07],' in lines
    assert '"bird": 0.812,' in lines


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temperature": {"value": 0, "measured_on": None}}, "temperature.value"),
        ({"temperature": {"value": "2", "measured_on": None}}, "temperature.value"),
        ({"alarms": {"fox": 1.5}}, "alarms.fox"),
        ({"alarms": {"wolf": 0.5}}, "alarms: 'wolf'"),
        ({"empty_label": "blank"}, "empty_label: 'blank'"),
        ({"alarm": {}}, "alarm"),
        ({"thresholds": {"f1": {}}}, "thresholds.f1"),
        ({"unknown": {"threshold": 1}}, "unknown.score"),
        ({"cameras": []}, "cameras"),
        ({"weights": None}, "weights"),
    ],
)
def test_a_broken_policy_names_the_file_the_field_and_the_remedy(
    run: Path, fields: dict[str, Any], named: str
) -> None:
    path = change(run, **fields)
    with pytest.raises(InputInvalid) as raised:
        read_policy(run, CARD)
    assert str(path) in str(raised.value)
    assert named in str(raised.value)
    assert "pipeline evaluate" in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"format_version": "3"}', "no json", "1"])
def test_what_is_no_policy_is_a_message(run: Path, content: str) -> None:
    (run / "policy.json").write_text(content)
    with pytest.raises(InputInvalid, match=r"policy\.json"):
        read_policy(run, CARD)


def test_of_an_older_policy_the_temperature_holds_and_the_thresholds_do_not(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on = ON.model_dump()
    older = {
        "format_version": "1",
        "weights": digest(run / "model.safetensors", "sha256"),
        "temperature": {"value": 1.7, "measured_on": on},
        "thresholds": {"precision": {"wanted": 0.9, "per_label": {"fox": 0.5}, "measured_on": on}},
    }
    (run / "policy.json").write_text(json.dumps(older))
    with caplog.at_level(logging.WARNING):
        policy = read_policy(run, CARD)
    assert policy is not None
    assert (policy.temperature.value, policy.thresholds) == (1.7, {})
    assert "pipeline evaluate" in caplog.text


def test_the_policy_of_other_weights_is_not_the_run_s(run: Path) -> None:
    write_policy(run, make_policy(run))
    (run / "model.safetensors").write_bytes(b"trained on")
    assert read_policy(run, CARD) is None


def test_a_run_that_was_not_evaluated_has_no_policy_but_maybe_a_temperature(run: Path) -> None:
    assert read_policy(run, CARD) is None
    of_older_version = Card("efficientnet-b0", ["bird"], 64, {}, {}, {}, "", 0, temperature=1.4)
    policy = read_policy(run, of_older_version)
    assert policy is not None
    assert policy.temperature == Temperature(value=1.4, measured_on=None)
    assert read_temperature(run, of_older_version) == 1.4
