"""The command `cdc`: a module for each group of subcommands; `main` has `run` and joins them.

Public are the commands, their options and exit codes; the modules are internal.
"""
