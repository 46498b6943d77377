"""A cold start that anybody pays for: the SDK, opensearch-py, a client of each, and nothing done with them."""

import os

import boto3
from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth

archive = boto3.client("s3")
auth = None
if os.environ["CDC_OPENSEARCH_AUTH"] == "es":
    session = boto3.Session()
    auth = Urllib3AWSV4SignerAuth(session.get_credentials(), session.region_name, "es")
search = OpenSearch(hosts=[os.environ["CDC_OPENSEARCH_ENDPOINT"]], http_auth=auth)


def handler(event: object, context: object) -> dict[str, list[str]]:
    return {"batchItemFailures": []}
