"""Consumers: the pipeline as an AWS Lambda function and as a Kinesis Client Library consumer, and the command line.

Public: `consumers.aws_lambda`, the command `cdc` and the settings; the rest is internal.
"""
