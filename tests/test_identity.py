"""A run is what decides what is learned, and the data; nothing else makes it another run."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import pytest

from animl_pipeline.boxes import CROP_RULE_VERSION
from animl_pipeline.running.options import option, settings
from animl_pipeline.runs import identity
from animl_pipeline.training.settings import (
    Course,
    Folders,
    Machine,
    Recipe,
    Schedule,
    TrainOptions,
    list_decisive_values,
)

# What version 0.1.0 computes of its defaults, of a dataset.csv of "data" and a label_index.json of
# "{}", and of the same with another schedule and batch size: old runs go on, under their names.
DATA = "b455afd26bea89b3a1500fca6edb27209faa23262bedfec16ca2c88454a556ce"
DEFAULTS = "3aa98b64bfbc9c43bd63b999ce9ff83b1a56360354fba44475840953a1da577d"
COSINE_AUTO = "23956ef4741725c8aa69b277dddc27e6b3666a50388bcdce8772df8f6c0ef9ec"


def identity_of(options: Recipe, epochs: int = 50) -> str:
    decisive = list_decisive_values(options, epochs=epochs)
    rule = {"version": CROP_RULE_VERSION}
    return identity.identify(decisive, data_fingerprint=DATA, crop_rule=rule)


def test_runs_of_an_earlier_version_keep_their_identity(tmp_path: Path) -> None:
    files = {"dataset.csv": "data\n", "label_index.json": "{}\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode())
    assert identity.fingerprint_data(tmp_path / name for name in files) == DATA
    assert identity_of(TrainOptions()) == DEFAULTS
    assert identity.name_run("efficientnet-b3", DEFAULTS) == "efficientnet-b3-3aa98b64"
    cosine = TrainOptions(lr_schedule=Schedule.COSINE, batch_size="auto")
    assert identity_of(cosine) == COSINE_AUTO


def test_a_new_field_of_the_recipe_changes_the_identity_without_any_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @settings
    class Longer(Recipe):
        another: Annotated[int, option("Something else that decides.")] = 0

    monkeypatch.setattr("animl_pipeline.training.settings.Recipe", Longer)
    identities = {identity_of(Longer(another=value)) for value in (0, 1)}
    assert len(identities | {DEFAULTS}) == 3


def test_nothing_beside_the_recipe_changes_the_identity() -> None:
    elsewhere = TrainOptions(
        dataset_dir=Path("d"),
        crops_dir=Path("c"),
        logdir=Path("l"),
        run_name="r",
        epochs=3,
        patience=1,
        resume=False,
        save_minutes=0.0,
        log_extreme_examples=0,
        num_workers=1,
        cache_gb=0.0,
    )
    assert identity_of(elsewhere) == DEFAULTS
    beside = {field.name for group in (Folders, Course, Machine) for field in fields(group)}
    assert all(getattr(elsewhere, name) != getattr(TrainOptions(), name) for name in beside)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"device": "cpu"}, {"lr": 1e-4}, {"image_size": 64}], ids=str
)
def test_every_field_of_the_recipe_changes_the_identity(changes: dict[str, Any]) -> None:
    assert identity_of(TrainOptions(**changes)) != DEFAULTS


def test_weights_to_start_from_count_by_their_content() -> None:
    assert identity_of(TrainOptions(weights=Path("somewhere"))) == DEFAULTS


def test_epochs_count_where_the_schedule_ends_with_them() -> None:
    cosine = TrainOptions(lr_schedule=Schedule.COSINE)
    assert identity_of(cosine, epochs=2) != identity_of(cosine, epochs=3)
    assert identity_of(TrainOptions(), epochs=2) == identity_of(TrainOptions(), epochs=3)
