"""Settings: the environment, read and checked once at start. A field is the variable `CDC_` + its name in capitals."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from cdc.duration import DURATION
from cdc.errors import ConfigError

__all__ = ["PREFIX", "Settings", "describe", "load_settings"]

PREFIX = "CDC_"

PositiveOrUnset = Annotated[int, Meta(gt=0)] | None
"""Unset: the profile's value, else the KCL's own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a deployment can set. AWS credentials, region and endpoints (`AWS_ENDPOINT_URL…`) are the SDK's own."""

    mappings: Annotated[
        str,
        Meta(
            description="Mapping files or folders of them, separated by ':'; s3://bucket/key, or a prefix that ends "
            "with '/', reads them from S3; none: functions only."
        ),
    ] = "mappings"

    opensearch_endpoint: Annotated[
        str | None, Meta(description="OpenSearch, such as https://search.example.com. Without it nothing is indexed.")
    ] = None
    opensearch_auth: Annotated[
        Literal["none", "basic", "es", "aoss"],
        Meta(description="none, basic, or SigV4 for a domain (es) or a serverless collection (aoss)."),
    ] = "none"
    opensearch_username: Annotated[str, Meta(description="For basic.")] = ""
    opensearch_password: Annotated[str, Meta(description="For basic. Keep it in a secret store.")] = ""
    opensearch_role_arn: Annotated[str | None, Meta(description="A role to assume for SigV4.")] = None
    opensearch_ca_certs: Annotated[str | None, Meta(description="A file of certificate authorities to trust.")] = None
    opensearch_verify: Annotated[bool, Meta(description="Verify the server's certificate.")] = True
    opensearch_timeout_seconds: Annotated[float, Meta(gt=0, description="How long one request may take.")] = 30.0
    bulk_bytes: Annotated[int, Meta(gt=0, description="Bytes of a bulk request at most.")] = 5 * 1024 * 1024
    bulk_count: Annotated[int, Meta(gt=0, description="Operations of a bulk request at most.")] = 1000
    bulks_in_flight: Annotated[
        int, Meta(ge=1, le=16, description="Bulk requests of one shard, or of one invocation, under way at once.")
    ] = 2

    archive_bucket: Annotated[str | None, Meta(description="The archive's bucket. Without it nothing is archived.")] = (
        None
    )
    archive_prefix: Annotated[str, Meta(description="What the archive's names begin with.")] = "cdc"
    archive_kms_key: Annotated[str | None, Meta(description="KMS key of the archive and the dead letters.")] = None
    archive_role_arn: Annotated[str | None, Meta(description="A role to assume for the archive's bucket.")] = None

    dead_letter_bucket: Annotated[
        str | None,
        Meta(description="Where rejected records are kept. Without it a rejected record is never acknowledged."),
    ] = None
    dead_letter_prefix: Annotated[str, Meta(description="What the dead letters' names begin with.")] = "dead-letters"
    dead_letter_queue_url: Annotated[
        str | None, Meta(description="An SQS queue where each dead letter is announced, by where it is kept.")
    ] = None

    on_changed_mapping: Annotated[
        Literal["refuse", "accept"],
        Meta(
            description="When a mapping has changed so that documents of an index would stay as they are for ever: "
            "refuse to start, or accept it and say in the log what is left behind."
        ),
    ] = "refuse"
    on_mass_reject: Annotated[
        Literal["hold", "dead_letter"],
        Meta(
            description="When whole batches are rejected for one cause: hold the shard, or keep them as dead letters."
        ),
    ] = "hold"
    defer_max_age: Annotated[
        str,
        Meta(
            pattern=DURATION,
            description="Consumer: a change older than this that still can't be written becomes a dead letter.",
        ),
    ] = "18h"
    unmapped: Annotated[
        Literal["refuse", "skip"] | None,
        Meta(
            description="A table that no mapping names: refuse its changes, or skip and count them. Default: skip "
            "where a consumer reads a Kinesis stream, which other tables may join, else refuse."
        ),
    ] = None
    kinesis_precision: Annotated[
        Literal["microsecond", "millisecond"],
        Meta(description="Kinesis: millisecond accepts that changes of an item within one can't be ordered."),
    ] = "microsecond"

    retry_wait_max_seconds: Annotated[float, Meta(gt=0, description="The longest wait between two attempts.")] = 20.0
    aws_timeout_seconds: Annotated[
        float, Meta(ge=1, description="How long one request to S3 or DynamoDB may take.")
    ] = 8.0
    deadline_margin_seconds: Annotated[
        float, Meta(ge=0, description="Lambda: how long before its time is up the handler answers.")
    ] = 3.0

    tables: Annotated[
        str | None, Meta(description="Consumer: the tables to read, separated by commas; as `cdc run --table`.")
    ] = None
    kinesis_stream_arn: Annotated[
        str | None,
        Meta(
            description="Consumer: a Kinesis data stream that tables are joined to; as `cdc run --kinesis-stream-arn`."
        ),
    ] = None
    kinesis_retrieval: Annotated[
        Literal["polling", "fan_out"],
        Meta(description="Consumer: how Kinesis is read: polling, or enhanced fan-out, which costs more."),
    ] = "polling"
    on_gap: Annotated[
        Literal["stop", "continue", "repair"],
        Meta(
            description="Consumer: when records are gone before they were read: stop; continue behind them and keep a "
            "dead letter that says so; or repair: continue, verify the whole table and mend its indices."
        ),
    ] = "stop"
    audit_items_per_hour: Annotated[
        int,
        Meta(
            ge=0,
            description="Consumer: so many random items of each table, and as many random documents of its indices, "
            "are compared an hour, by each worker that reads. 0: none.",
        ),
    ] = 0
    audit_repair: Annotated[
        Literal["on", "off"],
        Meta(description="Whether an audit mends what it has seen twice to differ, at versions that are there."),
    ] = "off"
    application: Annotated[
        str, Meta(description="Consumer: the KCL's application name, which is its lease table's name.")
    ] = "dynamodb-cdc"
    worker_id: Annotated[
        str | None,
        Meta(description="Consumer: stable for each deployment slot and never shared. Default: the host's name."),
    ] = None
    initial_position: Annotated[
        Literal["TRIM_HORIZON", "LATEST"], Meta(description="Consumer: where a first start begins.")
    ] = "TRIM_HORIZON"
    kcl_profile: Annotated[
        Literal["local", "production"],
        Meta(description="Consumer: local starts within seconds; production has the KCL's own intervals."),
    ] = "production"
    kcl_metrics_level: Annotated[
        Literal["NONE", "SUMMARY", "DETAILED"] | None,
        Meta(description="KCL: its own metrics in CloudWatch. Default: NONE in the profile local, else SUMMARY."),
    ] = None
    kcl_failover_time_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: a lease that was not renewed for this long is given to another worker.")
    ] = None
    kcl_lease_assignment_interval_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how often the leader assigns leases.")
    ] = None
    kcl_dynamo_db_lock_based_leader_lease_duration_in_millis: Annotated[
        PositiveOrUnset,
        Meta(
            description="KCL: when the leader is silent for this long, another assigns leases: fail-over waits for it."
        ),
    ] = None
    kcl_dynamo_db_lock_based_leader_heartbeat_period_in_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how often the leader shows that it lives; a third of that or less.")
    ] = None
    kcl_max_leases_for_worker: Annotated[
        PositiveOrUnset, Meta(description="KCL: shards of one worker at most; all workers together must reach all.")
    ] = None
    kcl_max_lease_renewal_threads: Annotated[PositiveOrUnset, Meta(description="KCL: threads that renew leases.")] = (
        None
    )
    kcl_is_graceful_lease_handoff_enabled: Annotated[
        bool | None, Meta(description="KCL: a worker flushes and checkpoints before its lease goes to another.")
    ] = None
    kcl_graceful_lease_handoff_timeout_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how long that may take. Longer than CDC_SHUTDOWN_SECONDS.")
    ] = None
    kcl_disable_worker_metrics: Annotated[
        bool | None, Meta(description="KCL: assign leases by their number, not by the workers' load.")
    ] = None
    kcl_worker_metrics_reporter_freq_in_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how often a worker reports its load.")
    ] = None
    kcl_variance_balancing_frequency: Annotated[
        PositiveOrUnset, Meta(description="KCL: balance by load at every so many assignments.")
    ] = None
    kcl_re_balance_threshold_percentage: Annotated[
        PositiveOrUnset, Meta(description="KCL: how far a worker's load may be from the mean.")
    ] = None
    kcl_dampening_percentage: Annotated[
        PositiveOrUnset, Meta(description="KCL: how much of the difference one balancing moves.")
    ] = None
    kcl_parent_shard_poll_interval_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how often a child shard looks whether its parents are read to the end.")
    ] = None
    kcl_shard_consumer_dispatch_poll_interval_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: how often the scheduler looks at its shards.")
    ] = None
    kcl_task_backoff_time_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: the wait after a task that failed.")
    ] = None
    kcl_idle_time_between_reads_in_millis: Annotated[
        PositiveOrUnset, Meta(description="KCL: the wait between two reads of a shard.")
    ] = None
    max_records: Annotated[int, Meta(gt=0, le=1000, description="Consumer: records of one read at most.")] = 1000
    flush_bytes: Annotated[
        int, Meta(gt=0, description="Consumer: bytes of records after which a shard is flushed and checkpointed.")
    ] = 8 * 1024 * 1024
    flush_seconds: Annotated[
        float, Meta(gt=0, description="Consumer: seconds after which a shard is flushed and checkpointed.")
    ] = 60.0
    shutdown_seconds: Annotated[float, Meta(gt=0, description="Consumer: the budget of an orderly stop.")] = 25.0

    jvm_heap: Annotated[
        str,
        Meta(
            pattern="^[1-9][0-9]*[mg]$",
            description="Consumer: the JVM's heap, such as 512m, taken whole at the start. 256m does for a few shards.",
        ),
    ] = "512m"

    core: Annotated[
        Literal["auto", "off"],
        Meta(
            description="auto: records are read by the compiled core where it is installed; off: by Python alone, with "
            "the same results, and slower."
        ),
    ] = "auto"

    http_port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Consumer: the port of /metrics, /healthz and /readyz. Without it they are off."),
    ] = None
    http_host: Annotated[
        str,
        Meta(description="Consumer: the address that port is bound to. Probes and Prometheus come from other hosts."),
    ] = "0.0.0.0"  # noqa: S104  (a container's probes come from outside; nothing of an item is served)
    degraded_after_seconds: Annotated[
        float, Meta(gt=0, description="Consumer: a shard held for longer makes /readyz answer 503, and say on what.")
    ] = 60.0

    embedded_metrics: Annotated[
        bool, Meta(description="Lambda: write metrics for CloudWatch into the log, at each invocation.")
    ] = True
    metrics_namespace: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9._/#:-]{1,255}$", description="Lambda: the namespace of those metrics.")
    ] = "DynamoDBCDC"
    tracing: Annotated[
        bool, Meta(description="Tell OpenTelemetry of each batch and each sink; needs the extra `tracing`.")
    ] = False

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="What is logged. Never item contents.")
    ] = "INFO"
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="The log on standard error: short lines for people, or JSON. auto: text at a terminal."),
    ] = "auto"
    cache_dir: Annotated[
        str | None, Meta(description="Where fetched jars are kept. Default: the user's cache folder.")
    ] = None


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of `environment`.

    Raises:
        ConfigError: with every variable that is wrong or unknown.
    """
    fields = {f"{PREFIX}{field.name.upper()}": field for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX):
            continue
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            problems.append(f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else ""))
        elif environment[name] != "":
            try:
                values[fields[name].name] = msgspec.convert(environment[name], fields[name].type, strict=False)
            except msgspec.ValidationError:
                from consumers.setting_faults import fault_of  # a start without faults does not need it

                problems.append(f"{name}: {environment[name]!r} {fault_of(fields[name].type)}")
    if not problems:
        problems = _together(Settings(**values))
    if problems:
        raise ConfigError("\n".join(problems), remedy="`cdc settings` prints every setting.")
    return Settings(**values)


def _together(settings: Settings) -> list[str]:
    problems: list[str] = []
    endpoint = settings.opensearch_endpoint
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        problems.append(f"{PREFIX}OPENSEARCH_ENDPOINT: is no URL, such as https://search.example.com")
    if settings.opensearch_auth == "basic" and not (settings.opensearch_username and settings.opensearch_password):
        problems.append(f"{PREFIX}OPENSEARCH_AUTH: basic needs {PREFIX}OPENSEARCH_USERNAME and _PASSWORD")
    if settings.opensearch_role_arn and settings.opensearch_auth not in ("es", "aoss"):
        problems.append(f"{PREFIX}OPENSEARCH_ROLE_ARN: goes with {PREFIX}OPENSEARCH_AUTH es or aoss")
    return problems


def describe() -> list[dict[str, str]]:
    """Every setting with its variable, default and meaning."""
    hints = get_type_hints(Settings, include_extras=True)
    described = []
    for field in msgspec.structs.fields(Settings):
        meta = next(part for part in hints[field.name].__metadata__ if isinstance(part, Meta))
        default = "" if field.default is None else str(field.default)
        described.append(
            {"name": f"{PREFIX}{field.name.upper()}", "default": default, "meaning": meta.description or ""}
        )
    return described
