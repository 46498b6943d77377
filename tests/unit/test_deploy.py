"""The files of `deploy`, and `docker-compose.yml`, are accepted by their schemas, and fit the product."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from consumers.settings import PREFIX, Settings, describe, load_settings
from local.env_example import SECRETS, env_example

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "consumer"
KNOWN = {setting["name"] for setting in describe()}
POLICIES = ("iam-policy.json", "iam-policy-kinesis.json")


def read_json(name: str) -> Any:
    return json.loads((DEPLOY / name).read_text(encoding="utf-8"))


def kubernetes() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text(encoding="utf-8")))


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def stateful_set() -> dict[str, Any]:
    (found,) = [thing for thing in kubernetes() if thing["kind"] == "StatefulSet"]
    return dict(found["spec"])


def pod() -> dict[str, Any]:
    return dict(stateful_set()["template"]["spec"])


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    (task,) = read_json("task-definition.json")["containerDefinitions"]
    yield "ECS", {entry["name"]: entry["value"] for entry in task["environment"]}
    (container,) = pod()["containers"]
    yield "Kubernetes", {entry["name"]: entry.get("value", "pod-0") for entry in container["env"]}


def faults_by_botocore(service: str, operation: str, request: Any) -> str:
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    return str(ParamValidator().validate(request, shape).generate_report())


# .env.example


def test_the_example_of_env_names_every_setting_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert text == env_example(), "run: .venv/bin/python -m local.env_example > .env.example"
    assert all(name in text for name in KNOWN)


def test_the_example_of_env_has_no_place_for_secrets() -> None:
    assert not [line for line in env_example().splitlines() if line.lstrip("#").startswith(tuple(SECRETS))]


def test_every_default_in_the_example_of_env_is_accepted_as_it_stands() -> None:
    lines = [line.removeprefix("#") for line in env_example().splitlines() if line.startswith(f"#{PREFIX}")]
    named = dict(line.split("=", 1) for line in lines)
    assert load_settings(named) == Settings()


# ECS


@pytest.mark.parametrize(
    ("name", "operation"), [("task-definition.json", "RegisterTaskDefinition"), ("service.json", "CreateService")]
)
def test_ecs_takes_the_file(name: str, operation: str) -> None:
    assert faults_by_botocore("ecs", operation, read_json(name)) == ""


def test_the_check_of_ecs_sees_a_misspelt_name() -> None:
    task = read_json("task-definition.json")
    task["containerDefinitions"][0]["stopTimeOut"] = 45
    assert "stopTimeOut" in faults_by_botocore("ecs", "RegisterTaskDefinition", task)


def test_cloudformation_takes_the_task_definition() -> None:
    task = read_json("task-definition.json")
    assert lint({"Type": "AWS::ECS::TaskDefinition", "Properties": _capitalized(task)}) == []


def test_two_tasks_of_one_slot_never_live_at_once() -> None:
    service = read_json("service.json")
    assert service["desiredCount"] == 1
    assert service["deploymentConfiguration"]["maximumPercent"] == 100
    assert service["taskDefinition"] == read_json("task-definition.json")["family"]


def test_the_grace_of_a_task_is_above_the_budget_of_a_stop() -> None:
    (task,) = read_json("task-definition.json")["containerDefinitions"]
    assert 120 >= task["stopTimeout"] >= load_settings(dict(environments())["ECS"]).shutdown_seconds + 5


# Kubernetes


def test_kubernetes_takes_every_object() -> None:
    import kubernetes_validate

    for thing in kubernetes():
        kubernetes_validate.validate(thing, "1.33", strict=True)


def test_the_check_of_kubernetes_sees_a_misspelt_name() -> None:
    import kubernetes_validate

    (wrong,) = [thing for thing in kubernetes() if thing["kind"] == "StatefulSet"]
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_a_pod_has_a_worker_id_of_its_own_that_stays() -> None:
    (container,) = pod()["containers"]
    (worker,) = [entry for entry in container["env"] if entry["name"] == "CDC_WORKER_ID"]
    assert worker["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_grace_of_a_pod_is_above_the_budget_of_a_stop() -> None:
    budget = load_settings(dict(environments())["Kubernetes"]).shutdown_seconds
    assert pod()["terminationGracePeriodSeconds"] >= budget + 5


def test_a_pod_is_probed_where_the_consumer_answers_and_is_restarted_only_when_it_is_dead() -> None:
    (container,) = pod()["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == load_settings(dict(environments())["Kubernetes"]).http_port
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in paths.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in paths.values()} == {port["name"]}


def test_a_pod_has_no_rights_and_a_temporary_folder() -> None:
    (container,) = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108  (the container's)
    assert container["resources"]["limits"]["memory"]


def test_selectors_and_labels_agree() -> None:
    labels = stateful_set()["template"]["metadata"]["labels"]
    assert stateful_set()["selector"]["matchLabels"] == labels
    (service,) = [thing for thing in kubernetes() if thing["kind"] == "Service"]
    assert service["spec"]["selector"] == labels
    assert stateful_set()["serviceName"] == service["metadata"]["name"]


def test_the_example_of_a_mapping_has_no_fault() -> None:
    from cdc.mappings.files import parse_mapping

    (config,) = [thing for thing in kubernetes() if thing["kind"] == "ConfigMap"]
    for name, text in config["data"].items():
        assert parse_mapping(text, source=name).documents


# both


@pytest.mark.parametrize(("where", "environment"), list(environments()))
def test_what_a_deployment_sets_is_accepted(where: str, environment: dict[str, str]) -> None:
    settings = load_settings(environment)
    assert settings.worker_id, where
    assert settings.dead_letter_bucket
    assert settings.kcl_profile == "production"


# IAM


def lint(resource: dict[str, Any]) -> list[str]:
    """The findings of cfn-lint on a resource, but for its hint about a template's own metadata."""
    from cfnlint.api import lint_all

    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"One": resource}}
    return [f"{match.rule.id} {match.message}" for match in lint_all(json.dumps(template)) if match.rule.id != "I4010"]


def managed(document: Any) -> dict[str, Any]:
    return {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_actions_that_exist_and_resources_that_fit_them(name: str) -> None:
    assert lint(managed(read_json(name))) == []


def test_the_check_of_a_policy_sees_an_action_that_does_not_exist() -> None:
    document = read_json("iam-policy.json")
    document["Statement"][0]["Action"] = ["dynamodb:DescribeTabel"]
    assert any("DescribeTabel" in fault or "describetabel" in fault for fault in lint(managed(document)))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_no_joker_for_actions_and_none_for_resources_where_aws_can_do_without(name: str) -> None:
    without_resource = {"dynamodb:ListStreams", "cloudwatch:PutMetricData"}
    for statement in read_json(name)["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        assert statement["Resource"] != "*" or set(actions) <= without_resource


def test_the_lease_tables_are_the_application_s_and_its_companions_and_no_others() -> None:
    (leases,) = [one for one in read_json("iam-policy.json")["Statement"] if one["Sid"] == "Leases"]
    application = load_settings(dict(environments())["ECS"]).application
    assert {arn.rpartition("/")[2] for arn in leases["Resource"]} == {
        application,
        f"{application}-WorkerMetricStats",
        f"{application}-CoordinatorState",
    }


# docker-compose.yml


def test_images_are_pinned_and_ports_are_on_the_loopback_address() -> None:
    for name, service in compose()["services"].items():
        assert re.search(r"^dynamodb-cdc(-engine)?$|:v?\d+\.\d+\.\d+$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_the_servers_are_waited_for_until_they_are_healthy() -> None:
    services = compose()["services"]
    consumer = services["consumer"]["depends_on"]
    assert consumer.pop("init") == {"condition": "service_completed_successfully"}
    assert consumer == services["init"]["depends_on"]
    assert {server: needed.get("required", True) for server, needed in consumer.items()} == {
        "engine": True,
        "localstack": False,
        "engine-rest": False,
        "opensearch": True,
    }
    assert {needed["condition"] for needed in consumer.values()} == {"service_healthy"}
    assert all(services[server]["healthcheck"]["interval"] for server in consumer)


def test_one_server_of_the_two_has_the_rest_of_aws_under_the_same_names() -> None:
    services = compose()["services"]
    localstack, engine = services["localstack"], services["engine-rest"]
    assert "" in localstack["profiles"]  # where none is named
    assert engine["profiles"] == ["engine"]
    assert localstack["networks"] == engine["networks"]
    assert localstack["ports"] == engine["ports"]


@pytest.mark.parametrize("service", ["init", "consumer", "traffic"])
def test_the_tables_are_the_engine_s_and_localstack_serves_none(service: str) -> None:
    services = compose()["services"]
    engine, environment = "http://engine:4566", services[service]["environment"]
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"] == environment["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] == engine
    served = services["localstack"]["environment"]["SERVICES"].split(",")
    assert {"s3", "sqs", "kinesis", "sts"} <= set(served)
    assert not [name for name in served if name.startswith("dynamodb")]


def test_compose_has_no_word_of_another_dynamodb() -> None:
    assert not re.search(
        "dynamodb[ _-]?local", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"), re.IGNORECASE
    )


def test_compose_says_what_localstack_s_licence_and_token_mean() -> None:
    (head, *_) = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").split("\nname:")
    assert all(word in head for word in ("4.14", "Apache-2.0", "LOCALSTACK_AUTH_TOKEN", "--profile engine up"))


def test_the_consumer_can_be_scaled() -> None:
    consumer = compose()["services"]["consumer"]
    assert not {"container_name", "ports", "hostname"} & consumer.keys()
    assert "CDC_WORKER_ID" not in consumer["environment"]  # the container's own name


def test_the_consumer_has_no_rights_and_time_to_end() -> None:
    consumer = compose()["services"]["consumer"]
    assert consumer["read_only"] is True
    assert consumer["cap_drop"] == ["ALL"]
    assert int(consumer["stop_grace_period"].removesuffix("s")) > Settings().shutdown_seconds + 5


def test_what_compose_sets_exists() -> None:
    environment = compose()["services"]["consumer"]["environment"]
    assert {name for name in environment if name.startswith(PREFIX)} <= KNOWN


def test_the_image_s_base_is_pinned_and_its_health_is_asked_where_it_answers() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert "ARG BASE=python:3.13-slim-trixie\n" in text
    (port,) = re.findall(r"CDC_HTTP_PORT=(\d+)", text)
    assert f"EXPOSE {port}\n" in text
    assert set(re.findall(r"\b(CDC_[A-Z_]+)=", text)) <= KNOWN


def test_the_engine_s_image_has_the_same_base_and_its_requirements_by_their_hashes() -> None:
    text = (ROOT / "deploy" / "engine" / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert "ARG BASE=python:3.13-slim-trixie\n" in text
    assert "--require-hashes -r /engine.txt" in text
    (port,) = re.findall(r"GATEWAY_PORT=(\d+)", text)
    assert f"EXPOSE {port}\n" in text


def _capitalized(value: Any) -> Any:
    """The API's names as CloudFormation's."""
    if isinstance(value, dict):
        as_it_is = "awslogs-group" in value
        return {name if as_it_is else name[0].upper() + name[1:]: _capitalized(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_capitalized(inner) for inner in value]
    return value
