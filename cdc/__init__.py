"""DynamoDB Streams to OpenSearch and S3: decoding, change detection, ordering and delivery."""
