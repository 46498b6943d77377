"""Faults of mapping files: all of them in one run, in our own words, each with its line and what is allowed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from cdc.errors import MappingError
from cdc.mappings.files import parse_mapping
from cdc.mappings.preview import findings_of


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
        "m.yml:4: documents[0].where.name[0]: unknown test 'prefx'; there are prefix, suffix, anything-but, "
        "equals-ignore-case, numeric, exists",
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
        ("on_remove: no", "on_remove: false is none of delete, keep, tombstone"),
        ("on_expiry: drop", "on_expiry: 'drop' is none of delete, keep, tombstone"),
        ("where: [a]", "where: is a map of names, not a list"),
        ("where: {on: [a]}", "where.True: the name is true; put it in quotes"),
        ("where: {a: {on: [a]}}", "where.a.True: the name true is no text; put it in quotes"),
        ("where: {a: [2026-01-01]}", "where.a[0]: is a text, a number, true, false, null, or a test"),
        ("where: {a: [{prefix: 1}]}", "where.a[0].prefix: is a text"),
        ("where: {a: [{exists: 1}]}", "where.a[0].exists: is true or false"),
        ("where: {a: [{anything-but: []}]}", "where.a[0].anything-but: the list is empty"),
        ("where: {a: []}", "where.a: the list of values is empty"),
        ("where: {a: [{prefix: b, suffix: c}]}", "where.a[0]: one test at a time"),
        ("where: {$or: {}}", "where.$or: is a list of patterns"),
        ("where: {$or: [{a: b}]}", "where.$or[0].a: is a list of values to match"),
        ("where: {a: [{numeric: ['~', 5]}]}", "where.a[0].numeric[0]: unknown comparison '~'; there are = < <= > >="),
        ("fields: [a]", "fields: is a map of include, exclude and rename, not a list"),
        ("fields: {rename: {a: 5}}", "fields.rename.a: is a text, not the number 5; put it in quotes"),
        ("fields: {exlude: [a]}", "fields.exlude: unknown field; did you mean exclude?"),
        ("body: {mappings: {properties: {on: {type: text}}}}", "body.mappings.properties.True: the name true is no"),
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
