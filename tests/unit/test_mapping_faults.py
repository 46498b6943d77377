"""Faults of mapping files: all of them in one run, in our own words, each with its line and what is allowed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from textwrap import dedent

import pytest

from cdc.errors import MappingError
from cdc.mappings.files import parse_mapping, parse_mappings
from cdc.mappings.preview import findings_of
from cdc.mappings.text import MappingText


def problems(text: str) -> list[str]:
    with pytest.raises(MappingError) as caught:
        parse_mapping(dedent(text).lstrip(), source="m.yml")
    return list(caught.value.problems)


def test_one_run_names_every_fault_of_a_file() -> None:
    found = problems("""
        table: users
        documents:
          - index: people
            where: {name: [{prefx: A}], age: [{numeric: [">", "0"]}]}
          - index: persons
            where: {kind: person}
            on_remove: remove
    """)
    assert found == [
        "m.yml:4: documents[0].where.name[0]: unknown test 'prefx'; there are prefix, suffix, "
        "equals-ignore-case, wildcard, cidr, numeric, anything-but, exists",
        "m.yml:4: documents[0].where.age[0].numeric[1]: '0' is no number; write it without quotes",
        "m.yml:6: documents[1].where.kind: is a list of values to match, or a nested pattern; write ['person']",
        "m.yml:7: documents[1].on_remove: 'remove' is none of delete, keep, tombstone",
    ]


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("id: pk", "id: is a list, not the text 'pk'; write [pk]"),
        ("id: [pk, 5]", "id[1]: is a text, not the number 5; put it in quotes"),
        ("id: {a: b}", "id: is a list, not a map"),
        ("routing: [pk]", "routing: is a text, not a list"),
        ("on_remove: no", "on_remove: 'no' is none of delete, keep, tombstone"),
        ("on_expiry: drop", "on_expiry: 'drop' is none of delete, keep, tombstone"),
        ("where: [a]", "where: is a map of names, not a list"),
        ("where: {true: [a]}", "where.True: the name is true; put it in quotes"),
        ("where: {a: {true: [a]}}", "where.a.True: the name true is no text; put it in quotes"),
        ("where: {a: [[2026-01-01]]}", "where.a[0]: is a text, a number, true, false, null, or a test"),
        ("where: {a: [{prefix: 1}]}", "where.a[0].prefix: is a text"),
        ("where: {a: [{exists: 1}]}", "where.a[0].exists: is true or false"),
        ("where: {a: [{anything-but: []}]}", "where.a[0].anything-but: the list is empty"),
        (
            "where: {a: [{anything-but: {exists: true}}]}",
            "where.a[0].anything-but: exists can't stand in anything-but; th",
        ),
        ("where: {a: [{anything-but: {anything-but: b}}]}", "where.a[0].anything-but: anything-but can't stand in"),
        ("where: {a: [{anything-but: {prefx: b}}]}", "where.a[0].anything-but: unknown test 'prefx'; there are prefix"),
        (
            "where: {a: [{anything-but: {prefix: ['']}}]}",
            "where.a[0].anything-but.prefix: is empty, and every text has",
        ),
        ("where: {a: [{anything-but: {suffix: []}}]}", "where.a[0].anything-but.suffix: the list is empty"),
        ("where: {a: [{anything-but: {wildcard: [b, 5]}}]}", "where.a[0].anything-but.wildcard[1]: is a text, not 5"),
        (
            "where: {a: [{prefix: [b, c]}]}",
            "where.a[0].prefix: is a text, not ['b', 'c']; write a test for each: [{pref",
        ),
        ("where: {a: [{prefix: {ignore-case: b}}]}", "where.a[0].prefix: is a text, or {equals-ignore-case: text}"),
        ("where: {a: [{wildcard: 'b**'}]}", "where.a[0].wildcard: 'b**' is no wildcard: one * at a time"),
        ("where: {a: [{wildcard: 'b\\c'}]}", r"where.a[0].wildcard: 'b\\c' is no wildcard"),
        ("where: {a: [{cidr: 10.0.0.0/33}]}", "where.a[0].cidr: '10.0.0.0/33' is no range of addresses"),
        ("where: {a..b: [c]}", r"where.a..b: a step of the path has no name; a dot of a name itself is written \."),
        ("where: {a.$or: [{b: [c]}]}", "where.a.$or: $or is no step of a path; write {attribute: {$or: […]}}"),
        ("where: {a: []}", "where.a: the list of values is empty"),
        ("where: {a: [{prefix: b, suffix: c}]}", "where.a[0]: one test at a time"),
        ("where: {$or: {}}", "where.$or: is a list of patterns"),
        ("where: {$or: [{a: b}]}", "where.$or[0].a: is a list of values to match"),
        ("where: {a: [{numeric: ['~', 5]}]}", "where.a[0].numeric[0]: unknown comparison '~'; there are = < <= > >="),
        ("fields: [a]", "fields: is a map of include, exclude and rename, not a list"),
        ("fields: {rename: {a: 5}}", "fields.rename.a: is a text, not the number 5; put it in quotes"),
        *(
            (f"fields: {{rename: {{a: '{name}'}}}}", f"fields.rename.a: '{name}' is no name of a field that OpenSearch")
            for name in ("_id", "_version", "", ".a", "a..b")
        ),
        ("fields: {exlude: [a]}", "fields.exlude: unknown field; did you mean exclude?"),
        ("body: {mappings: {properties: {true: {type: text}}}}", "body.mappings.properties.True: the name true is no"),
    ],
)
def test_a_fault_is_told_in_our_own_words(field: str, fault: str) -> None:
    (found,) = problems(f"table: t\ndocuments:\n  - index: i\n    {field}\n")
    assert found.startswith(f"m.yml:4: documents[0].{fault}")
    assert "`" not in found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "table: t\narchive: maybe",
            "m.yml:2: archive: is true, false or {exclude: [attribute]}, not the text 'maybe'",
        ),
        ("table: t\narchive: {exclude: a}", "m.yml:2: archive.exclude: is a list, not the text 'a'; write [a]"),
        ("table: t\ndocuments: {index: a}", "m.yml:2: documents: is a list, not a map"),
        ("table: t\ndocuments:\n  - 5", "m.yml:3: documents[0]: is a map of index, where, fields …, not the number 5"),
        ("", "m.yml: the file: is a map of table, documents and archive, not nothing"),
        ("table: t\nsource: x", "m.yml:2: source: unknown field; there are table, documents, archive"),
        ("table: _t\ndocuments: [{index: '{table}'}]", "m.yml:2: documents[0].index: '{table}' is no name that"),
        ("table: t\ndocuments: [{index: Ä}]", "m.yml:2: documents[0].index: 'Ä' is no name that OpenSearch takes"),
        ("table: _t*\ndocuments: [{index: '{table}-a'}]", "documents[0].index: '{table}-a' is no name that OpenSearch"),
        ("table: t\ndocuments: [{index: '{tabel}-a'}]", "documents[0].index: '{tabel}-a': {table} alone may stand in"),
        (f"table: t\ndocuments: [{{index: {'a' * 253}}}]", "is longer than OpenSearch takes: 252 bytes"),
    ],
)
def test_a_fault_of_the_file_is_told_in_our_own_words(text: str, fault: str) -> None:
    (found,) = problems(text)
    assert fault in found


def test_a_key_that_is_there_twice_is_named_wherever_it_is() -> None:
    assert problems("table: a\ntable: b\ndocuments:\n  - index: a\n    index: b\n") == [
        "m.yml:2: the key 'table' is there twice",
        "m.yml:5: the key 'index' is there twice",
    ]


def test_a_fault_makes_no_second_one() -> None:
    """A part at fault is left out: documents that share an index are not said to differ by it."""
    assert len(problems("table: t\ndocuments: [{index: a, on_remove: x}, {index: a, on_remove: keep}]")) == 1
    assert len(problems("tabel: t\ndocuments: [{index: '{table}-a'}]")) == 2  # unknown, and missing


def test_a_name_inside_a_map_may_be_one_of_opensearchs_own() -> None:
    assert parse_mapping("table: t\ndocuments: [{index: i, fields: {rename: {a.b: _id}}}]", source="m.yml")


def test_an_index_cannot_have_the_name_of_one_behind_an_alias() -> None:
    text = "table: t\ndocuments:\n- index: orders\n- index: orders-v1\n"
    assert parse_mappings([("m.yml", text)])[1] == [
        "m.yml:4: documents[1].index: 'orders-v1' is the index behind the alias 'orders', which is written too; "
        "rename one"
    ]


def test_a_line_is_that_of_the_field(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("# users\n\ntable: t\ndocuments:\n  - index: same\n    transform: shop:order\n")
    (tmp_path / "b.yml").write_text("table: t\ndocuments:\n  - fields: {}\n    index: same\n")
    found = findings_of([tmp_path]).problems
    assert found == [
        f"{tmp_path}/b.yml:1: table: 't' has a mapping in {tmp_path}/a.yml already; join the two files",
        f"{tmp_path}/b.yml:4: documents[0].index: {tmp_path}/a.yml writes to 'same' too; "
        'put the table in the index or in the id (id: ["{table}", …])',
        f"{tmp_path}/a.yml:6: documents[0].transform: there is no {tmp_path}/shop.py → Put the module beside the "
        "mapping file.",
    ]


@pytest.mark.parametrize(
    ("body", "doubt"),
    [
        (
            "{mappings: {properties: {n: {type: integr}}}}",
            "properties.n.type: 'integr' is no field type that OpenSearch",
        ),
        ("{mappings: {properties: {n: {type: dat}}}}", "did you mean date?"),
        (
            "{mappings: {properties: {o: {properties: {n: {type: txt}}}}}}",
            "properties.o.properties.n.type: 'txt' is no",
        ),
        ("{mappings: {properties: {n: {type: text, fields: {k: {type: keywrd}}}}}}", "n.fields.k.type: 'keywrd' is no"),
        ("{mappings: {properties: {n: date}}}", "properties.n: is a map such as {type: keyword}; write {type: date}"),
        ("{mappings: {properties: {n: {}}}}", "properties.n: has no type"),
        ("{mappings: {properties: {_id: {type: keyword}}}}", "properties._id: '_id' is no name of a field"),
        ("{mappings: {properties: {a..b: {type: keyword}}}}", "properties.a..b: 'a..b' is no name of a field"),
        ("{mappings: {properties: {n: {type: text, properties: {}}}}}", "a field of type text has no properties"),
        ("{mappings: {properties: [n]}}", "mappings.properties: is a map of fields"),
        (
            "{mappings: {dynamic_templates: [{a: {mapping: {type: txt}}}]}}",
            "dynamic_templates[0].a.mapping.type: 'txt'",
        ),
        ("{properties: {}}", "body.properties: OpenSearch knows no such part; there are settings, mappings, aliases"),
    ],
)
def test_what_opensearch_would_probably_refuse_is_a_warning(tmp_path: Path, body: str, doubt: str) -> None:
    (tmp_path / "a.yml").write_text(f"table: t\ndocuments:\n  - index: a\n    body: {body}\n")
    found = findings_of([tmp_path])
    assert found.problems == []
    (warning,) = found.warnings
    assert warning.startswith(f"{tmp_path}/a.yml:4: documents[0].body")
    assert doubt in warning


def test_types_of_fields_that_opensearch_has_are_no_doubt(tmp_path: Path) -> None:
    fields = "a: {type: flat_object}, b: {type: nested, properties: {c: {type: knn_vector, dimension: 3}}}"
    template = "{any: {match_mapping_type: '*', mapping: {type: '{dynamic_type}'}}}"
    body = f"{{settings: {{}}, mappings: {{properties: {{{fields}}}, dynamic_templates: [{template}]}}}}"
    (tmp_path / "a.yml").write_text(f"table: t\ndocuments:\n  - index: a\n    body: {body}\n")
    assert findings_of([tmp_path]).warnings == []


# YAML 1.2


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *((word, word) for word in ("NO", "no", "yes", "Yes", "on", "off", "y", "12:30", "2026-01-01", "1_000", "=")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, None) for word in ("null", "~", "")),
        ("1e5", Decimal("1e5")),
        ("3.018e2", Decimal("301.8")),
        (".5", Decimal("0.5")),
        ("+7", 7),
        ("0", 0),
        ("0.5", Decimal("0.5")),
        ("0o17", 15),
        ("0x1F", 31),
        ("12345678901234567890123456789012345678", 12345678901234567890123456789012345678),
        ('"01234"', "01234"),
    ],
)
def test_a_mapping_file_is_yaml_1_2(written: str, read: object) -> None:
    value = MappingText(f"a:\n- {written}\n", "m.yml").tree["a"][0]
    assert (value, type(value)) == (read, type(read))


def test_names_are_texts_as_yaml_1_2_has_them() -> None:
    mapping = parse_mapping("table: t\ndocuments: [{index: i, where: {light: {on: [NO]}, y: [yes]}}]", source="m.yml")
    assert mapping.documents[0].where == {"light": {"on": ["NO"]}, "y": ["yes"]}


@pytest.mark.parametrize("number", ["01234", "-01", "00", "007.5", "01e2"])
def test_a_number_with_a_zero_before_it_is_refused_with_the_remedy(number: str) -> None:
    assert problems(f"table: t\ndocuments:\n- index: i\n  where: {{zip: [{number}]}}\n") == [
        f"m.yml:4: {number} may be a text or a number: put the text in quotes ({number!r}), or write the number "
        "without zeros before it"
    ]
    assert len(problems(f"table: t\ndocuments:\n- index: i\n  where: {{{number}: [a]}}\n")) == 1


@pytest.mark.parametrize("value", ["!!bool maybe", "!!int many", "!!float x"])
def test_a_tag_before_what_is_not_of_its_type_is_a_fault(value: str) -> None:
    assert "a tag (!!) stands before" in problems(f"table: {value}\n")[0]


def test_faults_keep_their_lines() -> None:
    assert problems("table: t\ndocuments:\n- index: i\n  where:\n    a: [NO]\n    b: no\n") == [
        "m.yml:6: documents[0].where.b: is a list of values to match, or a nested pattern; write ['no']"
    ]
