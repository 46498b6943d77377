"""The template's rights are what the functions, or Lambda for them, do: each action, on what it is done to."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from tests.unit.template import ROOT, conditions_of, of_type, resolved, resource, statements_of, template, text

Right = tuple[str, str]
"""An action, and what it is done to."""

ROLES = {
    "ChangesRole": "consumers.aws_lambda.entry_changes",
    "RedriveRole": "consumers.aws_lambda.entry_redrive",
    "AuditRole": "consumers.aws_lambda.entry_audit",
}
SERVICES = ("s3", "sqs", "dynamodb", "dynamodbstreams", "kinesis", "sts")
NAMES = {"s3:ListObjectsV2": "s3:ListBucket", "s3:HeadBucket": "s3:ListBucket", "dynamodbstreams": "dynamodb"}

PLACES = {
    "cdc.archive": "archive",
    "cdc.sinks.archive_s3": "archive",
    "cdc.dead_letters.s3": "letters",
    "cdc.mappings.locations": "mappings",
    "consumers.failure_records": "failures",
    "sqs": "LetterQueue",
    "dynamodb": "table",
}
"""The subjects of a module's calls to S3, and of all calls to another service."""

REDRIVE_ALONE = {
    ("cdc.dead_letters.s3", "get_object"): "S3DeadLetters.read",
    ("cdc.dead_letters.s3", "delete_object"): "S3DeadLetters.delete",
    ("cdc.dead_letters.s3", "list_objects_v2"): "S3DeadLetters.keys",
}
"""Calls of modules of both, by methods that the function for changes has no use for."""
AUDIT_NEVER = {
    ("cdc.dead_letters.s3", "get_object"): "the names of letters are enough",
    ("cdc.dead_letters.s3", "delete_object"): "that is the redrive's",
    ("cdc.loads.jobs", "get_object"): "jobs are of loads and replays",
    ("cdc.loads.jobs", "put_object"): "jobs are of loads and replays",
    ("cdc.loads.jobs", "list_objects_v2"): "jobs are of loads and replays",
    ("cdc.sinks.opensearch.documents", "clear_scroll"): "an audit reads no index whole",
}
"""Calls of modules that the audit imports, by functions that it has no use for."""
NEVER = {
    "consumers.aws_lambda.stream_reader": "the template's OnFailure destination is S3, whose records hold the payload",
    "consumers.aws_lambda.redrive": "it is imported by the function for changes, and used by the other",
}

BY_LAMBDA: dict[str, set[Right]] = {
    "ChangesRole": {
        ("dynamodb:DescribeStream", "stream"),
        ("dynamodb:GetShardIterator", "stream"),
        ("dynamodb:GetRecords", "stream"),
        ("dynamodb:ListStreams", "*"),
        ("kinesis:DescribeStream", "stream"),
        ("kinesis:DescribeStreamSummary", "stream"),
        ("kinesis:GetShardIterator", "stream"),
        ("kinesis:GetRecords", "stream"),
        ("kinesis:ListShards", "stream"),
        ("kinesis:ListStreams", "*"),
        ("s3:PutObject", "failures"),
        ("s3:ListBucket", "letters' bucket"),
        ("logs:CreateLogStream", "ChangesLogs"),
        ("logs:PutLogEvents", "ChangesLogs"),
    },
    "RedriveRole": {
        *(
            (f"sqs:{action}", queue)
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
            for queue in ("LetterQueue", "FailureQueue")
        ),
        ("logs:CreateLogStream", "RedriveLogs"),
        ("logs:PutLogEvents", "RedriveLogs"),
    },
    "AuditRole": {("logs:CreateLogStream", "AuditLogs"), ("logs:PutLogEvents", "AuditLogs")},
}
"""AWS Lambda Developer Guide: "Creating an event source mapping to process records from a DynamoDB stream", "… from a
Kinesis stream", "… from an SQS queue", "Retain discarded batches", "Sending Lambda function logs to CloudWatch"."""
BY_LAMBDA_FOR_BOTH: set[Right] = {
    *((f"xray:{action}", "*") for action in ("PutTraceSegments", "PutTelemetryRecords")),
    *(
        (f"ec2:{action}", "*")
        for action in (
            "CreateNetworkInterface",
            "DescribeNetworkInterfaces",
            "DescribeSubnets",
            "DeleteNetworkInterface",
            "AssignPrivateIpAddresses",
            "UnassignPrivateIpAddresses",
        )
    ),
}
"""… "Giving Lambda functions access to resources in an Amazon VPC", "Visualize Lambda function invocations using AWS
X-Ray"."""

MARKS = {
    "aws/lambda/*": "failures",
    "dead-letters/*": "letters",
    "DeadLetterBucket": "letters' bucket",
    "ArchivePrefix": "archive",
    "ArchiveBucket": "archive's bucket",
    "${Path}": "mappings",
    "${Bucket}": "mappings' bucket",
    "LetterQueue": "LetterQueue",
    "FailureQueue": "FailureQueue",
    "OpenSearchArn": "index",
    "KmsKeyArn": "key",
    "TableArns": "table",
    "/stream/": "table",
    "StreamArn": "stream",
    "ChangesLogs": "ChangesLogs",
    "RedriveLogs": "RedriveLogs",
    "AuditLogs": "AuditLogs",
}
"""The parts of a resource's ARN, the first mark deciding."""


def granted(role: str) -> set[Right]:
    return {
        (action, place)
        for statement in statements_of(role)
        for action in conditions_of(statement["Action"])
        for place in places(statement["Resource"])
    }


def places(value: Any) -> Iterator[str]:
    for one in conditions_of(value):
        yield "*" if one == "*" else next(place for mark, place in MARKS.items() if mark in text(one))


# What the code does


@cache
def tree(module: str) -> ast.Module:
    path = ROOT / module.replace(".", "/")
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return name.split(".")[0] in ("cdc", "consumers") and (path.with_suffix(".py").is_file() or path.is_dir())


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """A module's nodes without what stands there for a type checker alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from executed(child)


def imported(module: str) -> Iterator[str]:
    for node in executed(tree(module)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from filter(is_module, names)


def reached(start: str) -> set[str]:
    """The modules that a handler's module imports, wherever in them."""
    found, pending = {start}, [start]
    while pending:
        for name in imported(pending.pop()):
            if name not in found and (name not in NEVER or start == "consumers.aws_lambda.entry_redrive"):
                found.add(name)
                pending.append(name)
    return found - {"consumers.aws_lambda.stream_reader"}


@cache
def operations() -> dict[str, str]:
    """boto3's methods, each with the action that IAM asks for."""
    session = botocore.session.get_session()
    found: dict[str, str] = {}
    for service in SERVICES:
        for name in session.get_service_model(service).operation_names:
            action = f"{NAMES.get(service, service)}:{name}"
            found[xform_name(name)] = NAMES.get(action, action)
    return found


def calls(module: str) -> Iterator[str]:
    """The methods of clients that a module names, and the operations that it asks for by pages."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and "client" in ast.unparse(node.value):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_paginator":
            yield str(ast.literal_eval(node.args[0]))


def called(role: str) -> set[Right]:
    rights: set[Right] = set()
    needless = {"ChangesRole": REDRIVE_ALONE, "AuditRole": AUDIT_NEVER}.get(role, {})
    for module in reached(ROLES[role]):
        for method in calls(module):
            if method in operations() and (module, method) not in needless:
                rights.update(rights_of(operations()[method], module))
    return rights | {(f"es:ESHttp{verb.capitalize()}", "index") for verb in verbs(reached(ROLES[role]), needless)}


def rights_of(action: str, module: str) -> Iterator[Right]:
    place = PLACES.get(action.partition(":")[0]) or PLACES[module]
    match action:
        case "s3:ListBucket":
            yield action, bucket_of(place)
        case "s3:GetObject":  # without the right to list, S3 says of what is missing that it is forbidden
            yield from ((action, place), ("s3:ListBucket", bucket_of(place)))
            if place != "mappings":
                yield "kms:Decrypt", "key"
        case "s3:PutObject":
            yield from ((action, place), ("kms:GenerateDataKey", "key"))
        case _:
            yield action, place


def bucket_of(place: str) -> str:
    return {"archive": "archive's bucket", "mappings": "mappings' bucket"}.get(place, "letters' bucket")


def verbs(modules: set[str], needless: Mapping[Right, str]) -> set[str]:
    """The HTTP methods of the calls to OpenSearch that are made, as its client's own code has them."""
    from opensearchpy import OpenSearch
    from opensearchpy.client.indices import IndicesClient

    found: set[str] = set()
    for module in modules:
        for node in ast.walk(tree(module)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner, method = ast.unparse(node.func.value), node.func.attr
            kind = IndicesClient if owner.endswith("indices") else OpenSearch if owner.endswith("client") else None
            is_needless = (module, method) in needless
            if kind is not None and hasattr(kind, method) and module.startswith("cdc.sinks.") and not is_needless:
                source = inspect.getsource(getattr(kind, method))
                found |= set(re.findall(r"perform_request\(\s*\"([A-Z]+)\"", source))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_function_calls_and_what_lambda_does_for_it_and_nothing_else(role: str) -> None:
    needed = called(role) | BY_LAMBDA[role] | BY_LAMBDA_FOR_BOTH | {("aoss:APIAccessAll", "index")}
    assert granted(role) - needed == set(), "may be taken away"
    assert needed - granted(role) == set(), "is missing"


def test_the_comparison_sees_the_calls() -> None:
    assert ("s3:PutObject", "archive") in called("ChangesRole")
    assert ("sqs:SendMessage", "LetterQueue") in called("ChangesRole")
    assert ("dynamodb:BatchGetItem", "table") in called("ChangesRole")
    assert ("s3:DeleteObject", "letters") in called("RedriveRole") - called("ChangesRole")
    assert ("dynamodb:DescribeTable", "table") in called("RedriveRole") - called("ChangesRole")
    assert {("es:ESHttpHead", "index"), ("es:ESHttpPut", "index")} < called("ChangesRole")


def test_the_redrive_deletes_and_the_function_for_changes_does_not() -> None:
    assert not [action for action, _ in granted("ChangesRole") if "Delete" in action and not action.startswith("ec2:")]


def test_calls_of_the_redrive_alone_are_there() -> None:
    assert all(method in calls(module) for module, method in REDRIVE_ALONE)


def test_calls_that_the_audit_never_makes_are_there() -> None:
    assert all(method in calls(module) for module, method in AUDIT_NEVER)


def test_the_audit_reads_its_tables_and_writes_to_none() -> None:
    assert {action for action, place in granted("AuditRole") if place == "table"} == {
        "dynamodb:BatchGetItem",
        "dynamodb:DescribeTable",
        "dynamodb:Scan",
    }


@pytest.mark.parametrize("role", ROLES)
def test_only_what_has_no_resources_is_allowed_on_all(role: str) -> None:
    everywhere = {action for action, place in granted(role) if place == "*"}
    assert everywhere <= {action for action, _ in BY_LAMBDA_FOR_BOTH} | {"dynamodb:ListStreams", "kinesis:ListStreams"}


def test_no_policy_has_a_joker_for_actions_but_those_that_deny() -> None:
    for name, one in template()["Resources"].items():
        for document in documents(one):
            for statement in conditions_of(document["Statement"]):
                joker = [action for action in conditions_of(statement["Action"]) if "*" in action]
                assert not joker or statement["Effect"] == "Deny", name


def documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "Statement" in value:
            yield value
        for inner in value.values():
            yield from documents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from documents(inner)


def test_only_lambda_may_act_as_the_roles() -> None:
    for name in of_type("AWS::IAM::Role"):
        (statement,) = resource(name)["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


# The resources, as they are made


STREAM = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123"
KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"
DOMAIN = "arn:aws:es:eu-west-1:111122223333:domain/example"


def allowed(role: str, **parameters: Any) -> dict[str, Any]:
    """The subject of each statement of a role, by its `Sid`."""
    made = resolved(**parameters)
    documents = [policy["PolicyDocument"] for policy in made[role]["Policies"]]
    documents.append(made["CommonPolicy"]["PolicyDocument"])
    return {one["Sid"]: one["Resource"] for document in documents for one in document["Statement"]}


def test_with_a_table_s_stream_the_table_is_known_and_nothing_is_allowed_that_is_not_there() -> None:
    assert allowed("ChangesRole", StreamArn=STREAM) == {
        "Logs": "ChangesLogs.Arn",
        "Stream": STREAM,
        "Streams": "*",
        "OnFailure": "DeadLetterBucket.Arn/aws/lambda/*",
        "OnFailureBucket": "DeadLetterBucket.Arn",
        "DeadLetters": "DeadLetterBucket.Arn/dead-letters/*",
        "DeadLettersAnnounced": "LetterQueue.Arn",
        "Table": "arn:aws:dynamodb:eu-west-1:111122223333:table/shop",
    }


def test_each_answer_adds_what_it_is_about() -> None:
    before = allowed("RedriveRole", StreamArn=STREAM)
    after = allowed(
        "RedriveRole",
        StreamArn=STREAM,
        OpenSearchEndpoint="https://search.example.com",
        OpenSearchArn=DOMAIN,
        ArchiveBucket="lake",
        MappingsUrl="s3://maps/shop/",
        KmsKeyArn="arn:aws:kms:eu-west-1:111122223333:key/1",
        Tracing="Active",
        SubnetIds="subnet-1",
        SecurityGroupIds="sg-1",
    )
    assert {sid: after[sid] for sid in after.keys() - before.keys()} == {
        "Domain": f"{DOMAIN}/*",
        "Archive": "arn:aws:s3:::lake/cdc/*",
        "ArchiveSaysWhatIsMissing": "arn:aws:s3:::lake",
        "Mappings": "arn:aws:s3:::maps/shop/*",
        "MappingsBelowAPrefix": "arn:aws:s3:::maps",
        "Key": "arn:aws:kms:eu-west-1:111122223333:key/1",
        "Traces": "*",
        "Vpc": "*",
    }


def test_a_collection_is_written_to_as_a_whole() -> None:
    arn = "arn:aws:aoss:eu-west-1:111122223333:collection/abc"
    found = allowed("ChangesRole", StreamArn=STREAM, OpenSearchKind="serverless", OpenSearchArn=arn)
    assert found["Collection"] == arn
    assert "Domain" not in found


def test_with_kinesis_the_tables_are_those_that_are_named() -> None:
    tables = "arn:aws:dynamodb:eu-west-1:111122223333:table/a,arn:aws:dynamodb:eu-west-1:111122223333:table/b"
    found = allowed("RedriveRole", StreamArn=KINESIS, TableArns=tables)
    assert found["Table"] == found["WhichTable"] == tables.split(",")
    assert "Table" not in allowed("ChangesRole", StreamArn=KINESIS)
    assert allowed("ChangesRole", StreamArn=KINESIS)["Stream"] == KINESIS


def test_the_notifications_of_the_bucket_may_be_sent_and_of_no_other() -> None:
    made = resolved(StreamArn=STREAM)
    name = made["DeadLetterBucket"]["BucketName"]
    assert len(name) <= 63
    (allows, _) = made["FailureQueuePolicy"]["PolicyDocument"]["Statement"]
    assert allows["Condition"]["ArnEquals"]["aws:SourceArn"] == f"arn:aws:s3:::{name}"
