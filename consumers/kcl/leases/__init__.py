"""Leases of the KCL consumer: the lease table, the streams it names, gaps in them, and one process per worker id.

Internal.
"""
