"""project.toml: the options of every stage in one file, checked before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.running import project, stage
from animl_pipeline.running.options import list_knobs

Read = Callable[[str | bytes], list[tuple[str, Any]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads text as a project file."""

    def read(text: str | bytes) -> list[tuple[str, Any]]:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "project.toml").write_bytes(content)
        return project.read(tmp_path / "project.toml")

    return read


def test_stages_come_in_their_order_whatever_the_files_is(read: Read) -> None:
    found = read(
        '[predict]\n[evaluate]\n[crop]\n[detect]\n[download]\ncoco-file = "a.json"\n[split]\n'
        "[train]\n"
        '[convert]\ninput-file = "a.json"\noutput-file = "b.json"\n[check]\ncoco-file = "a.json"\n'
    )
    assert tuple(name for name, _ in found) == tuple(stage.list_stages())


def test_a_stage_that_is_not_named_is_not_run(read: Read) -> None:
    assert [name for name, _ in read("[split]\n")] == ["split"]


def test_an_empty_section_has_the_defaults(read: Read) -> None:
    [(_, options)] = read("[crop]\n")
    assert options == stage.load("crop").Options()


def test_values_become_the_options_with_their_types(read: Read) -> None:
    [(_, options)] = read(
        '[crop]\ncoco-file = "x/y.json"\nthreshold = 1\nsquare-crops = false\nworkers = 3\n'
    )
    assert options.coco_file == Path("x/y.json")
    assert (options.threshold, type(options.threshold)) == (1.0, float)
    assert (options.square_crops, options.workers) == (False, 3)


@pytest.mark.parametrize("key", ["square-crops", "square_crops"])
def test_dashes_and_underscores_are_the_same(read: Read, key: str) -> None:
    assert read(f"[crop]\n{key} = false\n")[0][1].square_crops is False


def test_an_option_in_both_spellings_is_refused(read: Read) -> None:
    with pytest.raises(InputInvalid, match=r"\[crop\].*square.crops"):
        read("[crop]\nsquare-crops = true\nsquare_crops = false\n")


@pytest.mark.parametrize("value", ["location", "sequence", "image"])
def test_a_choice_is_given_by_its_word(read: Read, value: str) -> None:
    assert read(f'[split]\ngroup-by = "{value}"\n')[0][1].group_by == value


def test_an_unknown_choice_is_refused_with_the_ones_there_are(read: Read) -> None:
    with pytest.raises(InputInvalid, match=r"group-by is 'site'.*location.*sequence.*image"):
        read('[split]\ngroup-by = "site"\n')


@pytest.mark.parametrize("name", stage.list_stages())
def test_every_default_of_a_stage_can_be_written_down(read: Read, name: str) -> None:
    lines = []
    for field in list_knobs(stage.load(name).Options):
        value = field.default
        if value is None:
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int | float):
            text = repr(value)
        elif isinstance(value, tuple):
            text = repr(list(value))
        else:
            text = f'"{value}"'
        text = '"export.json"' if field.is_required else text
        lines.append(f"{field.name.replace('_', '-')} = {text}")
    [(found, options)] = read(f"[{name}]\n" + "\n".join(lines))
    assert found == name
    for field in list_knobs(type(options)):
        if not field.is_required:
            assert getattr(options, field.name) == field.default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trian]\n", "there is no stage 'trian'. Did you mean train?"),
        ("[nonsense]\n", "there is no stage 'nonsense'."),
        ("epochs = 3\n", "there is no stage 'epochs'."),
        ("[crop]\ntreshold = 0.3\n", "[crop] has no option 'treshold'. Did you mean threshold?"),
        ("[crop]\nsquare-crop = true\n", "Did you mean square-crops?"),
        ("[crop]\nzzzz = 1\n", "[crop] has no option 'zzzz'."),
        ('[crop]\nthreshold = "high"\n', "[crop] threshold is 'high'; it is a number."),
        ('[train]\nepochs = "3"\n', "Write 3, without quotes."),
        ("[crop]\nthreshold = true\n", "[crop] threshold is True; it is a number."),
        ("[crop]\nworkers = 2.0\n", "[crop] workers is 2.0; it is a whole number."),
        ("[crop]\nworkers = true\n", "[crop] workers is True; it is a whole number."),
        ("[crop]\nsquare-crops = 1\n", "[crop] square-crops is 1; it is true or false."),
        ("[crop]\ncoco-file = 5\n", "[crop] coco-file is 5; it is a path."),
        ("[crop]\ndataset = ['a']\n", "[crop] dataset is ['a']; it is text."),
        ("[crop]\ndataset = 2020-01-01\n", "[crop] dataset is "),
        ("[crop.threshold]\nx = 1\n", "[crop] threshold is {'x': 1}; it is a number."),
        ("[crop]\nthreshold = 1.5\n", "[crop] threshold is 1.5; it lies between 0 and 1."),
        ("[crop]\nthreshold = -0.1\n", "[crop] threshold is -0.1; it lies between"),
        ("[crop]\nthreshold = nan\n", "[crop] threshold is nan"),
        ("[train]\nlr = inf\n", "[train] lr is inf"),
        ("[train]\nlr = nan\n", "[train] lr is nan"),
        ("[crop]\nworkers = 0\n", "[crop] workers is 0; it lies between 1 and 256"),
        ("[train]\nepochs = 0\n", "[train] epochs is 0; it is 1 or more."),
        ("[crop]\nthreshold = 1" + "0" * 400 + "\n", "[crop] threshold is"),
        ("[download]\n", "[download] coco-file is needed: "),
        ("[split]\nfolds = 3\n[train]\n", "[train] reads dataset. Write dataset-dir = "),
        ("download = 3\n", "[download] is to be a section, not a value"),
        ("[[crop]]\n", "[crop] is to be a section, not a value"),
        ("", "has no section; `pipeline run --help` shows one"),
        ("# nothing\n", "has no section"),
        ("[crop\n", "is not a TOML file"),
        ("[crop]\nthreshold = 0.3\nthreshold = 0.4\n", "is not a TOML file"),
        ("[crop]\nthreshold = " + "[" * 5000 + "]" * 5000 + "\n", "is not a TOML file"),
        ("[crop]\nthreshold = " + "9" * 5000 + "\n", "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        (b"\0\0", "is not a TOML file"),
    ],
)
def test_what_is_wrong_is_said_with_its_file_section_and_key(
    read: Read, text: str | bytes, message: str
) -> None:
    with pytest.raises(InputInvalid, match=r"project\.toml") as caught:
        read(text)
    assert message in str(caught.value)


def test_a_missing_file_says_where_to_see_one(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"gone\.toml is not there; `pipeline run --help`"):
        project.read(tmp_path / "gone.toml")


def test_a_folder_is_no_project_file(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="is not a TOML file"):
        project.read(tmp_path)


def test_a_byte_order_mark_is_no_matter(read: Read) -> None:
    assert [name for name, _ in read("[split]\n".encode("utf-8-sig"))] == ["split"]


@pytest.fixture
def require(read: Read, here: Path) -> Callable[[str], None]:
    """Refuses a project file that names what is not there."""
    return lambda text: project.require_files(Path("project.toml"), read(text))


def test_a_named_file_that_is_not_there_is_said_before_any_work(
    require: Callable[[str], None], here: Path
) -> None:
    with pytest.raises(InputMissing, match=r"\[split\] label-spec is my.jsn, which is not there"):
        require('[crop]\n[split]\nlabel-spec = "my.jsn"\n')
    (here / "my.jsn").touch()
    require('[crop]\n[split]\nlabel-spec = "my.jsn"\n')


def test_a_named_file_that_a_stage_before_makes_need_not_be_there(
    require: Callable[[str], None],
) -> None:
    require('[detect]\noutput-file = "md.json"\n[crop]\ndetections = "md.json"\n')
    require('[split]\noutput-dir = "data"\n[train]\ndataset-dir = "data"\n')
    with pytest.raises(InputMissing, match=r"detections is md\.json"):
        require('[crop]\ndetections = "md.json"\n')
