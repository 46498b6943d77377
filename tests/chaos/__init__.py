"""Chaos: a table is written while its consumer, OpenSearch or S3 is killed, stopped or cut off; then all is judged.

`python -m tests.chaos --rounds 20`; two rounds are part of the tests (`test_chaos.py`).
"""
