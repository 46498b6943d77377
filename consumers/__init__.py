"""The same pipeline as an AWS Lambda handler and as a Kinesis Client Library consumer."""
