"""The label spec: which categories make up each label, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.splitting.labels import spec as labels
from animl_pipeline.splitting.labels import taxonomy as taxonomy_module
from animl_pipeline.splitting.labels.spec import LabelSpec
from animl_pipeline.splitting.labels.taxonomy import Taxonomy

SPECS = sorted((Path(__file__).parents[1] / "label_specs").glob("*.json"))
Read = Callable[[Any], LabelSpec]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads content as a label spec: an object, text or bytes."""

    def read(content: Any) -> LabelSpec:
        path = tmp_path / "spec.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return labels.read_spec(path)

    return read


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_of_ours_loads_and_no_category_is_in_two_labels(path: Path) -> None:
    spec = labels.read_spec(path)
    assert len(spec.rules) >= 2
    for label, rule in spec.rules.items():
        assert rule.include.named
        assert all(spec.find_label("any", category) == label for _, category in rule.include.named)


def test_there_are_specs() -> None:
    assert {path.stem for path in SPECS} >= {"santa_cruz_island", "missouri"}


def test_the_example_of_the_readme_loads_and_means_what_it_says(read: Read) -> None:
    text = (SPECS[0].parent / "README.md").read_text(encoding="utf-8")
    short, long = (part.split("```")[0] for part in text.split("```json")[1:3])
    assert read(short).find_label("x", "vole") == "rodent"
    spec = read(long)
    assert spec.find_label("sci_biosecurity", "island fox") == "fox"
    assert spec.find_label("anywhere", "urocyon littoralis") == "fox"
    assert spec.find_label("mainland", "fox") is None
    assert spec.rules["fox"].max_count == 5000


def test_the_short_form_holds_in_every_dataset(read: Read) -> None:
    spec = read({"fox": ["fox", "island fox"], "bird": ["bird"]})
    assert [spec.find_label(of, "island fox") for of in ("a", "b")] == ["fox", "fox"]
    assert spec.find_label("a", "skunk") is None
    assert list(spec.rules) == ["fox", "bird"]


def test_the_long_form_holds_in_its_dataset_alone(read: Read) -> None:
    spec = read({"fox": {"dataset_labels": {"a": ["zorro"]}}})
    assert (spec.find_label("a", "zorro"), spec.find_label("b", "zorro")) == ("fox", None)


def test_a_star_holds_in_every_dataset(read: Read) -> None:
    spec = read({"fox": {"dataset_labels": {"*": ["fox"], "a": ["zorro"]}}})
    assert [spec.find_label("a", "fox"), spec.find_label("b", "fox")] == ["fox", "fox"]


def test_what_is_excluded_is_taken_away_from_a_star(read: Read) -> None:
    exclude = {"dataset_labels": {"mainland": ["fox"]}}
    spec = read({"fox": {"dataset_labels": {"*": ["fox"]}, "exclude": exclude}})
    assert (spec.find_label("island", "fox"), spec.find_label("mainland", "fox")) == ("fox", None)


def test_a_star_excludes_everywhere(read: Read) -> None:
    content = {"dataset_labels": {"a": ["fox"]}, "exclude": {"dataset_labels": {"*": ["fox"]}}}
    assert read({"fox": content}).find_label("a", "fox") is None


def test_names_are_compared_as_they_are_written(read: Read) -> None:
    spec = read({"fox": ["fox"]})
    assert [spec.find_label("a", name) for name in ("Fox", "fox ", "")] == [None] * 3


def test_a_category_in_two_labels_is_refused_when_it_is_met(read: Read) -> None:
    spec = read({"fox": ["fox"], "canid": {"dataset_labels": {"a": ["fox", "dog"]}}})
    assert spec.find_label("b", "fox") == "fox"
    assert spec.find_label("a", "dog") == "canid"
    with pytest.raises(InputInvalid, match=r"'fox' of dataset 'a'.*both 'fox' and 'canid'"):
        spec.find_label("a", "fox")


def test_an_exclusion_settles_which_label_a_category_is(read: Read) -> None:
    exclude = {"dataset_labels": {"a": ["fox"]}}
    fox = {"dataset_labels": {"*": ["fox"]}, "exclude": exclude}
    spec = read({"fox": fox, "canid": {"dataset_labels": {"a": ["fox"]}}})
    assert (spec.find_label("a", "fox"), spec.find_label("b", "fox")) == ("canid", "fox")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fox": {"taxa": [{"level": "genus", "name": "vulpes"}]}}, "--taxonomy"),
        ({"fox": {"taxa": {"level": "genus"}}}, "taxa is to be a list"),
        (
            {"fox": {"dataset_labels": {"*": ["fox"]}, "prioritize": [["a"]]}},
            "prioritize goes with max_count",
        ),
        ({"fox": {"dataset_labels": {}, "max_count": 3, "prioritize": ["a"]}}, "list of lists"),
        ({"fox": {"dataset_labels": {}, "parent": "dog"}}, "parent 'dog' is no label here"),
        ({"fox": {"dataset_labels": {}, "parent": 3}}, "parent is to be a label"),
        ({"fox": {"dataset_labels": {}, "parent": "fox"}}, "is its own parent"),
        (
            {"a": {"taxa": [], "parent": "b"}, "b": {"taxa": [], "parent": "a"}},
            "is its own parent",
        ),
        ({"fox": [".*fox"]}, "looks like a pattern"),
        ({"fox": ["^fox"]}, "looks like a pattern"),
        ({"fox": ["fox|zorro"]}, "looks like a pattern"),
        ({"fox": ["fox *"]}, "a * stands only for datasets"),
        ({"fox": {"dataset_label": {"*": ["fox"]}}}, "unknown key 'dataset_label'"),
        ({"fox": {}}, "'fox' has no dataset_labels and no taxa"),
        ({"fox": {"max_count": 5}}, "has no dataset_labels"),
        ({"fox": "fox"}, "'fox' is to be a list of categories, or an object"),
        ({"fox": None}, "is to be a list of categories"),
        ({"fox": ["fox", 5]}, "is to be a list of category names"),
        ({"fox": [""]}, "is to be a list of category names"),
        ({"fox": {"dataset_labels": ["fox"]}}, "dataset_labels is to be an object"),
        ({"fox": {"dataset_labels": {"*": "fox"}}}, "'*' is to be a list of category names"),
        ({"fox": {"dataset_labels": {"*": ["fox"]}, "exclude": ["x"]}}, "exclude is to be an obj"),
        (
            {"fox": {"dataset_labels": {"*": ["fox"]}, "exclude": {"max_count": 3}}},
            "exclude: unknown key 'max_count'",
        ),
        ({"": ["fox"]}, "a label has no name"),
        ({"  ": ["fox"]}, "a label has no name"),
        ({}, "is to be an object of labels"),
        ([], "is to be an object of labels"),
        ("5", "is to be an object of labels"),
        ('{"fox": ["fox"], "fox": ["zorro"]}', "'fox' is there twice"),
        ('{"fox": {"dataset_labels": {"a": ["x"], "a": ["y"]}}}', "'a' is there twice"),
        ("", "is not a label spec"),
        ("{", "is not a label spec"),
        (b"\xff\xfe", "is not a label spec"),
        ("[" * 100_000, "is not a label spec"),
    ],
)
def test_a_spec_that_is_none_is_refused_with_what_is_wrong(
    read: Read, content: Any, message: str
) -> None:
    with pytest.raises(InputInvalid, match=r"spec\.json") as caught:
        read(content)
    assert message in str(caught.value)


@pytest.mark.parametrize("count", [0, -1, 1.5, "5", True, [5]])
def test_a_max_count_that_is_no_whole_number_from_1_is_refused(read: Read, count: Any) -> None:
    with pytest.raises(InputInvalid, match="max_count is to be a whole number from 1"):
        read({"fox": {"dataset_labels": {"*": ["fox"]}, "max_count": count}})


def test_a_max_count_of_null_is_none(read: Read) -> None:
    spec = read({"fox": {"dataset_labels": {"*": ["fox"]}, "max_count": None}})
    assert spec.rules["fox"].max_count is None


def test_a_label_that_no_file_can_hold_is_refused(read: Read) -> None:
    with pytest.raises(InputInvalid, match=r"spec\.json"):
        read('{"fox \\ud800": ["fox"]}')


def test_a_missing_spec_says_that_it_may_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(
        InputMissing, match=r"gone\.json is not there\. Give a label spec, or leave"
    ):
        labels.read_spec(tmp_path / "gone.json")


def test_a_byte_order_mark_is_no_matter(read: Read) -> None:
    assert read('{"fox": ["fox"]}'.encode("utf-8-sig")).find_label("a", "fox") == "fox"


def test_a_misspelt_category_is_said_with_the_nearest_there_is(read: Read) -> None:
    spec = read({"fox": ["fox", "island fx"], "skunk": ["skunk"]})
    found = spec.describe_unmatched([("a", "fox"), ("a", "island fox"), ("a", "skunk")])
    assert found == ["fox: no crop has the category 'island fx' (did you mean 'island fox'?)"]


def test_a_label_that_matches_nothing_is_said(read: Read) -> None:
    found = read({"fox": ["fox"], "bird": ["bird"]}).describe_unmatched([("a", "fox")])
    assert "label 'bird' matches no category of the crops" in found


def test_a_category_of_another_dataset_is_said_with_its_dataset(read: Read) -> None:
    spec = read({"fox": {"dataset_labels": {"b": ["fox"], "a": ["fox"]}}})
    assert spec.describe_unmatched([("a", "fox")]) == [
        "fox: no crop has the category 'fox' of dataset 'b' (the datasets of the crops are 'a')"
    ]


@pytest.mark.parametrize("name", ["Red_Deer", "RED_DEER", "red deer"])
def test_a_name_in_other_letters_is_suggested_as_it_is_written(read: Read, name: str) -> None:
    (_, sentence) = read({"deer": [name]}).describe_unmatched([("cct", "red_deer")])
    assert "did you mean 'red_deer'?" in sentence


def test_a_comma_before_the_end_is_named(read: Read) -> None:
    with pytest.raises(InputInvalid, match="comma before a ]"):
        read(b'{"fox": ["fox",]}')


def test_where_every_name_matches_nothing_is_said(read: Read) -> None:
    assert read({"fox": ["fox"]}).describe_unmatched([("a", "fox"), ("a", "skunk")]) == []


def test_without_a_spec_every_category_but_animal_and_unknown_is_a_label() -> None:
    present = [("a", "fox"), ("b", "bird"), ("a", "unknown"), ("b", "animal")]
    spec = labels.make_spec_of_categories(present)
    assert list(spec.rules) == ["bird", "fox"]
    assert [spec.find_label(*pair) for pair in present] == ["fox", "bird", None, None]
    assert spec.describe_unmatched(present) == []


NAMES = st.sampled_from(["fox", "Fox", "bird", "scrub jay", "skunk"])
PAIRS = st.dictionaries(st.sampled_from(["*", "a", "b"]), st.lists(NAMES, max_size=3), max_size=3)


@settings(deadline=None, max_examples=100)
@given(PAIRS, PAIRS)
def test_a_label_is_what_is_included_less_what_is_excluded(
    include: dict[str, list[str]], exclude: dict[str, list[str]]
) -> None:
    def pairs(named: dict[str, list[str]]) -> labels.Terms:
        return labels.Terms(frozenset((of, name) for of, names in named.items() for name in names))

    rule = labels.LabelRule(pairs(include), pairs(exclude))
    for dataset in ("a", "b", "c"):
        for category in ("fox", "Fox", "bird"):
            inside = category in include.get(dataset, []) + include.get("*", [])
            outside = category in exclude.get(dataset, []) + exclude.get("*", [])
            assert rule.matches(dataset, category) == (inside and not outside)


def test_a_star_in_the_name_of_a_dataset_stands_for_anything(read: Read) -> None:
    spec = read({"fox": {"dataset_labels": {"sci_*": ["fox"], "a*z": ["zorro"]}}})
    assert [spec.find_label(of, "fox") for of in ("sci_2024", "sci_", "xsci_1")] == [
        "fox",
        "fox",
        None,
    ]
    assert [spec.find_label(of, "zorro") for of in ("a.z", "az", "a.zy")] == ["fox", "fox", None]


@pytest.mark.parametrize(
    "name", ["scrub jay", "(bird)", "a.b", "cat (feral)", "50% fox", "a-b", "?"]
)
def test_a_name_that_is_no_pattern_is_taken_as_it_is(read: Read, name: str) -> None:
    assert read({"label": [name]}).find_label("any", name) == "label"


def test_a_label_may_have_a_parent(read: Read) -> None:
    spec = read({"mouse": {"dataset_labels": {"*": ["mouse"]}, "parent": "rodent"},
                 "rodent": ["vole"]})  # fmt: skip
    assert (spec.rules["mouse"].parent, spec.rules["rodent"].parent) == ("rodent", None)


HEADER = "dataset_name,query,source,taxonomy_level,scientific_name,taxonomy_string\n"
VULPES = "[(1, 'species', 'vulpes vulpes', ['red fox']), (2, 'genus', 'vulpes', []), "
VULPES += "(3, 'family', 'canidae', ['dogs'])]"
CANIS = VULPES.replace("vulpes vulpes", "canis lupus").replace("'vulpes'", "'canis'")


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    path = tmp_path / "taxonomy.csv"
    rows = [("a", "fox", VULPES), ("b", "Red Fox", VULPES), ("a", "wolf", CANIS), ("a", "odd", "")]
    text = "".join(f'{of},{query},gbif,species,x,"{lineage}"\n' for of, query, lineage in rows)
    path.write_text(HEADER + text, encoding="utf-8")
    return taxonomy_module.read_taxonomy(path)


def with_taxa(tmp_path: Path, rule: Any, taxonomy: Taxonomy) -> LabelSpec:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"label": rule}), encoding="utf-8")
    return labels.read_spec(path, taxonomy)


def test_a_taxon_holds_all_below_it_whatever_their_case(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rule = {"taxa": [{"level": "Family", "name": "Canidae"}]}
    spec = with_taxa(tmp_path, rule, taxonomy)
    assert [spec.find_label(*pair) for pair in (("a", "fox"), ("b", "red fox"), ("a", "Wolf"))] == [
        "label", "label", "label",
    ]  # fmt: skip
    assert spec.find_label("b", "wolf") is None
    assert spec.find_label("a", "odd") is None


def test_a_taxon_may_be_of_some_datasets_and_be_excluded(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    rule = {"taxa": [{"level": "family", "name": "canidae", "datasets": ["a"]}],
            "exclude": {"taxa": [{"level": "genus", "name": "canis"}]}}  # fmt: skip
    spec = with_taxa(tmp_path, rule, taxonomy)
    assert [spec.find_label(*pair) for pair in (("a", "fox"), ("b", "red fox"), ("a", "wolf"))] == [
        "label", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("taxon", "message"),
    [
        ({"level": "genus", "name": "vulpex"}, "did you mean 'vulpes'"),
        ({"level": "class", "name": "vulpes"}, "is it of another level"),
        ({"level": "genus"}, "a taxon is to be"),
        ({"level": "genus", "name": "vulpes", "dataset": "a"}, "a taxon is to be"),
        ({"level": "genus", "name": "vulpes", "datasets": "a"}, "a taxon is to be"),
        ("vulpes", "a taxon is to be"),
    ],
)
def test_a_taxon_that_is_none_is_refused(
    tmp_path: Path, taxonomy: Taxonomy, taxon: Any, message: str
) -> None:
    with pytest.raises(InputInvalid, match=message):
        with_taxa(tmp_path, {"taxa": [taxon]}, taxonomy)


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", HEADER + "a,fox,g,s,x,__import__('os').getcwd()\n",
     HEADER + "a,fox,g,s,x,\"[(1, 2)]\"\n", HEADER + "a,fox,g,s,x,[5]\n",
     HEADER + f"a,fox,g,s,x,{'(' * 50_000}\n", HEADER + f"a,fox,g,s,x,{'x' * 2_000_000}\n"],
)  # fmt: skip
def test_a_taxonomy_that_is_none_is_refused_and_nothing_in_it_is_run(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputInvalid, match=r"taxonomy\.csv"):
        taxonomy_module.read_taxonomy(path)


def test_a_taxonomy_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"gone\.csv is not there"):
        taxonomy_module.read_taxonomy(tmp_path / "gone.csv")
