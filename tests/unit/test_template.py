"""`deploy/lambda/template.yaml` is accepted by CloudFormation's schemas, and fits the product."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.aws_lambda.audit import AuditRequest
from consumers.aws_lambda.embedded_metrics import SINK_METRICS, TABLE_METRICS
from consumers.aws_lambda.event_filters import MAX_FILTERS, MAX_PATTERN_LETTERS
from consumers.settings import PREFIX, Settings, describe, load_settings
from local.lambda_binaries import Target
from local.lambda_package import Package
from tests.unit.template import PATH, ROOT, default, functions, made, of_type, resolved, resource, template, text

DAY_SECONDS = 24 * 3600
"""A DynamoDB stream forgets records after it."""
GUIDE = ROOT / "docs" / "lambda.md"


def lint(source: str) -> list[str]:
    from cfnlint.api import lint_all

    return [f"{match.rule.id} {match.message}" for match in lint_all(source) if match.rule.id[0] in "EW"]


# The schemas


def test_cloudformation_takes_the_template() -> None:
    assert lint(PATH.read_text(encoding="utf-8")) == []


def test_the_check_sees_a_wrong_value_and_a_misspelt_name() -> None:
    """In the stream's mapping alone: the whole template takes seconds."""
    _, _, mapping = PATH.read_text(encoding="utf-8").partition("\n  Stream:\n")
    source = "Resources:\n  DeadLetterBucket: {Type: AWS::S3::Bucket}\n  Stream:\n" + mapping.partition("\n\n")[0]
    for right, wrong in {
        "ParallelizationFactor: !Ref ParallelizationFactor": "ParallelizationFactor: 40",
        "BisectBatchOnFunctionError: true": "BisectBatchOnFunctionErrors: true",
        "Destination: !GetAtt DeadLetterBucket.Arn": "Destination: !GetAtt DeadLetterBucket.Arm",
    }.items():
        assert right in source
        source = source.replace(right, wrong)
    assert {fault.split()[0] for fault in lint(source)} >= {"E3034", "E3002", "E1010"}


def test_every_parameter_is_used_and_explained_where_it_is_and_in_the_guide() -> None:
    source, guide = PATH.read_text(encoding="utf-8"), GUIDE.read_text(encoding="utf-8")
    body = source.partition("\nRules:\n")[2]
    grouped = text(template()["Metadata"])
    for name, parameter in template()["Parameters"].items():
        assert re.search(rf"!Ref {name}\b|\${{{name}}}", body), name
        assert parameter["Description"], name
        assert f'"{name}"' in grouped, name
        assert re.sub(r"\d$", "", name) in guide, name


def test_aliases_are_not_used_since_cloudformation_does_not_read_them() -> None:
    assert not re.findall(r"(?::|-) [&*][A-Za-z]", PATH.read_text(encoding="utf-8"))


# The five answers


def answers() -> dict[str, Any]:
    config = yaml.safe_load((PATH.parent / "samconfig.yaml").read_text(encoding="utf-8"))
    return dict(config["default"]["deploy"]["parameters"])


def test_the_five_answers_are_parameters_and_the_only_ones_that_have_to_be_given() -> None:
    (given,) = answers()["parameter_overrides"]
    parameters = template()["Parameters"]
    assert given.keys() <= parameters.keys()
    assert {name for name, one in parameters.items() if "Default" not in one} <= given.keys()


def test_the_five_answers_are_of_the_form_that_is_asked_for() -> None:
    (given,) = answers()["parameter_overrides"]
    for name, value in given.items():
        parameter = template()["Parameters"][name]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value), name
        assert value in parameter.get("AllowedValues", [value]), name


def test_the_stack_and_what_is_in_it_has_tags() -> None:
    assert answers()["tags"]
    for name, one in functions().items():
        assert "Tags" not in one, name
    assert template()["Globals"]["Function"]["Tags"]
    for kind in ("AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::Lambda::EventSourceMapping"):
        assert all(one["Tags"] for one in of_type(kind).values()), kind


# The functions


def environment(**parameters: str) -> dict[str, str]:
    """The settings that the functions are given."""
    variables = made(template()["Globals"]["Function"]["Environment"]["Variables"], **parameters)
    return {name: value for name, value in variables.items() if name.startswith(PREFIX)}


def test_the_environment_is_accepted_as_settings() -> None:
    settings = load_settings(environment())
    assert settings.dead_letter_bucket == "DeadLetterBucket"
    assert settings.dead_letter_queue_url == "LetterQueue"
    assert settings.opensearch_auth == "none"
    assert settings.mappings == Settings().mappings
    assert load_settings(environment(MappingsUrl="s3://maps/")).mappings == "s3://maps/"
    assert load_settings(environment(MappingsUrl="none")).mappings == "none"
    assert load_settings(environment(TracingLayerArn="arn:…")).tracing is True


@pytest.mark.parametrize(("kind", "auth"), [("domain", "es"), ("serverless", "aoss")])
def test_requests_are_signed_for_the_kind_of_opensearch(kind: str, auth: str) -> None:
    given = {"OpenSearchEndpoint": "https://search.example.com", "OpenSearchArn": "arn:…", "OpenSearchKind": kind}
    assert load_settings(environment(**given)).opensearch_auth == auth


def test_the_redrive_is_told_what_the_function_for_changes_is_told() -> None:
    assert all("Environment" not in one for one in functions().values())


def test_what_lambda_loads_is_there_and_is_what_make_lambda_builds() -> None:
    for name in ("Handler", "RedriveHandler"):
        module, _, function = str(default(name)).rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))
    module, _, function = resource("AuditFunction")["Handler"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))
    target = Target(architecture=default("Architecture"))
    assert template()["Globals"]["Function"]["Runtime"] == f"python{target.python}"
    for one in functions().values():
        assert Path(one["CodeUri"]).name == Package(target=target).filename
        assert (PATH.parent / one["CodeUri"]).resolve().parent == ROOT / "build" / "lambda"


def test_the_functions_have_a_processor_s_share_and_time_within_lambda_s_limits() -> None:
    memory, timeout = template()["Parameters"]["MemorySize"], template()["Parameters"]["TimeoutSeconds"]
    assert 128 <= memory["MinValue"] <= memory["Default"] <= memory["MaxValue"] == 10240
    assert timeout["MaxValue"] == 15 * 60
    assert timeout["MinValue"] > 2 * Settings().deadline_margin_seconds + Settings().opensearch_timeout_seconds
    assert resource("RedriveFunction")["Timeout"] <= 15 * 60


def test_each_function_has_a_log_group_of_its_own_whose_lines_are_deleted_one_day() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert {one["LoggingConfig"]["LogGroup"]["Ref"] for one in functions().values()} == groups.keys()
    assert all(one["RetentionInDays"] == {"Ref": "LogRetentionDays"} for one in groups.values())


# The event source mappings


def test_what_is_not_settled_comes_again_and_nothing_before_it() -> None:
    for name, one in of_type("AWS::Lambda::EventSourceMapping").items():
        assert one["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


def test_a_poison_record_is_cut_out_of_its_batch_and_kept_whole_before_the_stream_forgets_it() -> None:
    stream, parameters = resource("Stream"), template()["Parameters"]
    assert stream["BisectBatchOnFunctionError"] is True
    assert stream["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["DeadLetterBucket", "Arn"]}
    assert stream["MaximumRecordAgeInSeconds"] == {"Ref": "MaximumRecordAgeSeconds"}
    assert parameters["MaximumRecordAgeSeconds"]["Default"] == 22 * 3600
    assert parameters["MaximumRecordAgeSeconds"]["MaxValue"] < DAY_SECONDS
    assert stream["MaximumRetryAttempts"] == {"Ref": "MaximumRetryAttempts"}
    assert parameters["MaximumRetryAttempts"]["MinValue"] > 0


def test_the_tries_of_a_batch_outlast_a_long_outage_and_not_the_age_limit() -> None:
    """While a sink is down an invocation waits until its timeout; one that a record ends is over at once."""
    patience = default("MaximumRetryAttempts") * default("TimeoutSeconds")
    assert 18 * 3600 <= patience <= default("MaximumRecordAgeSeconds")


def test_batches_are_between_a_hundred_and_a_thousand_records() -> None:
    batch = template()["Parameters"]["BatchSize"]
    assert (batch["MinValue"], batch["MaxValue"]) == (100, 1000)


def test_without_a_pattern_there_are_no_filter_criteria_at_all() -> None:
    assert all(default(f"FilterPattern{number}") == "" for number in range(1, MAX_FILTERS + 1))
    stream = resource("Stream")
    assert "FilterCriteria" not in made(stream)
    given = {f"FilterPattern{number}": f"pattern {number}" for number in range(1, MAX_FILTERS + 1)}
    assert made(stream, **given)["FilterCriteria"] == {"Filters": [{"Pattern": one} for one in given.values()]}
    assert made(stream, FilterPattern1="one")["FilterCriteria"] == {"Filters": [{"Pattern": "one"}]}
    assert template()["Parameters"]["FilterPattern1"]["MaxLength"] == MAX_PATTERN_LETTERS


# Dead letters


def test_failed_batches_are_redriven_by_themselves_and_letters_when_somebody_says_so() -> None:
    failures, letters = resource("Failures"), resource("Letters")
    assert failures["EventSourceArn"] == {"Fn::GetAtt": ["FailureQueue", "Arn"]}
    assert "Enabled" not in failures
    assert letters["EventSourceArn"] == {"Fn::GetAtt": ["LetterQueue", "Arn"]}
    assert letters["Enabled"] == {"Ref": "RedriveLetters"}
    assert default("RedriveLetters") == "false"


def test_failed_batches_are_announced_as_they_are_put() -> None:
    (notice,) = resource("DeadLetterBucket")["NotificationConfiguration"]["QueueConfigurations"]
    assert notice["Queue"] == {"Fn::GetAtt": ["FailureQueue", "Arn"]}
    assert notice["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "aws/lambda/"}]


def test_a_message_is_hidden_for_six_times_as_long_as_it_may_be_worked_on() -> None:
    for name in ("FailureQueue", "LetterQueue"):
        assert resource(name)["VisibilityTimeout"] == 6 * resource("RedriveFunction")["Timeout"]


def test_a_message_that_cannot_be_settled_is_tried_for_a_day_and_then_put_aside() -> None:
    for name in ("FailureQueue", "LetterQueue"):
        queue = resource(name)
        assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["UnsettledQueue", "Arn"]}
        tried = queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"]
        assert DAY_SECONDS <= tried < queue["MessageRetentionPeriod"]


def test_what_nobody_else_has_outlives_the_stack_and_expires_one_day() -> None:
    assert template()["Resources"]["DeadLetterBucket"]["DeletionPolicy"] == "Retain"
    (rule,) = resource("DeadLetterBucket")["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == {"Ref": "DeadLetterDays"}


def test_buckets_and_queues_are_encrypted_closed_and_spoken_to_in_secret() -> None:
    bucket = resource("DeadLetterBucket")
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert all(queue["SqsManagedSseEnabled"] is True for queue in of_type("AWS::SQS::Queue").values())
    policies = {
        **of_type("AWS::SQS::QueuePolicy"),
        **of_type("AWS::S3::BucketPolicy"),
        **of_type("AWS::SNS::TopicPolicy"),
    }
    denied = [
        statement
        for policy in policies.values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(denied) == len(policies) == len(of_type("AWS::SQS::Queue")) + 2


# The audit


DOMAIN = {
    "OpenSearchEndpoint": "https://search.example.com",
    "OpenSearchArn": "arn:aws:es:eu-west-1:111122223333:domain/example",
}
STREAM = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123"


def test_there_is_no_audit_unless_somebody_says_so_and_there_is_an_index() -> None:
    for parameters in ({}, DOMAIN, {"AuditItems": 500}):
        assert not [name for name in resolved(StreamArn=STREAM, **parameters) if name.startswith("Audit")]
    assert {"AuditFunction", "AuditRole", "AuditLogs", "AuditRule", "AuditPermission"} <= resolved(
        StreamArn=STREAM, AuditItems=500, **DOMAIN
    ).keys()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"StreamArn": STREAM},
            AuditRequest(("arn:aws:dynamodb:eu-west-1:111122223333:table/shop",), 500, True),
        ),
        (
            {"StreamArn": "arn:aws:kinesis:eu-west-1:111122223333:stream/changes", "TableArns": "arn:a,arn:b"},
            AuditRequest(("arn:a", "arn:b"), 500, True, "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"),
        ),
    ],
    ids=["stream", "kinesis"],
)
def test_the_schedule_names_the_tables_to_the_function(source: dict[str, str], expected: AuditRequest) -> None:
    rule = resolved(AuditItems=500, AuditRepair="true", **source, **DOMAIN)["AuditRule"]
    (target,) = rule["Targets"]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    assert AuditRequest.of(json.loads(target["Input"])) == expected


def test_the_rule_alone_may_invoke_the_audit_and_a_failed_run_is_not_tried_again() -> None:
    permission = resource("AuditPermission")
    assert (permission["Principal"], permission["SourceArn"]) == (
        "events.amazonaws.com",
        {"Fn::GetAtt": ["AuditRule", "Arn"]},
    )
    assert resource("AuditInvocations")["MaximumRetryAttempts"] == 0


@pytest.mark.parametrize(
    ("schedule", "taken"),
    [("rate(1 hour)", True), ("cron(0 3 * * ? *)", True), ("hourly", False), ("rate(0 hours)", False)],
)
def test_a_schedule_is_of_eventbridge_s_form(schedule: str, taken: bool) -> None:
    pattern = template()["Parameters"]["AuditSchedule"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, schedule)) is taken


# Alarms and the dashboard


def alarms() -> dict[str, dict[str, Any]]:
    return of_type("AWS::CloudWatch::Alarm")


@pytest.mark.parametrize(
    ("alarm", "metric", "threshold"),
    [
        ("BehindAlarm", "IteratorAge", 5 * 60 * 1000),
        ("FarBehindAlarm", "IteratorAge", 12 * 3600 * 1000),
        ("ErrorsAlarm", "Errors", 0),
        ("ThrottlesAlarm", "Throttles", 0),
        ("DeadLettersAlarm", "NumberOfMessagesSent", 0),
        ("FailedBatchesAlarm", "OnFailureDestinationDeliveredEventCount", 0),
        ("LostBatchesAlarm", "DestinationDeliveryFailures", 0),
        ("UnsettledAlarm", "ApproximateNumberOfMessagesVisible", 0),
        ("RedriveErrorsAlarm", "Errors", 0),
    ],
)
def test_an_alarm_is_raised_above(alarm: str, metric: str, threshold: int) -> None:
    one = alarms()[alarm]
    assert (one["MetricName"], one["Threshold"]) == (metric, threshold)
    assert one["ComparisonOperator"] == "GreaterThanThreshold"


def test_an_alarm_is_raised_before_the_timeout_whatever_that_is() -> None:
    one = alarms()["DurationAlarm"]
    (share,) = [metric for metric in one["Metrics"] if "Expression" in metric]
    assert share["Expression"] == {"Fn::Sub": "100 * duration / (1000 * ${TimeoutSeconds})"}
    assert 80 <= one["Threshold"] < 100


def test_every_alarm_is_told_says_what_to_do_and_stands_on_the_dashboard() -> None:
    topic = [{"Fn::If": ["MakesTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}]
    for name, one in alarms().items():
        assert one["AlarmActions"] == one["OKActions"] == topic, name
        assert one["TreatMissingData"] == "notBreaching", name
        assert len(one["AlarmDescription"]) > 40, name
        assert f"${{{name}.Arn}}" in text(resource("Dashboard")), name


def test_the_dashboard_is_json_and_shows_metrics_that_are_written() -> None:
    body = json.loads(resource("Dashboard")["DashboardBody"]["Fn::Sub"])
    places = [(one["x"], one["y"], one["width"], one["height"]) for one in body["widgets"]]
    assert all(x + width <= 24 and width and height for x, _, width, height in places)
    searched = re.findall(r"\{\$\{MetricsNamespace\},([A-Za-z,]+)\} MetricName=\"(\w+)\"", str(body))
    assert searched
    for dimensions, metric in searched:
        assert metric in {"Table": TABLE_METRICS, "Table,Sink": SINK_METRICS}[dimensions]


def test_what_the_guide_and_the_template_name_exists() -> None:
    known = {setting["name"] for setting in describe()}
    for path in (GUIDE, PATH):
        assert set(re.findall(r"\bCDC_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))) <= known, path
