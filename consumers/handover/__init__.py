"""Hand-over: a table's reading is given from the consumer to the Lambda or back, with a proof of it.

Both read for a while, and write everything: versions and the archive's names bear that. All state is AWS's own.
"""
