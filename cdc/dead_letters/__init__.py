"""Dead letters: what a rejected record is kept as, how letters are found, and how they are redriven.

Internal: `cdc dead-letters` and the redrive Lambda are the interface to them.
"""
