"""The AWS Lambda functions: changes from a stream, and the redrive of dead letters from a queue.

Public: `entry_changes.handler`, `entry_redrive.handler`, and the functions in `changes` that make handlers.
Imports nothing here: every cold start of a Lambda passes this file.
"""
