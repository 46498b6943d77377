"""The command `cdc`: one module for each group of subcommands.

Public are the commands, their options and exit codes; the modules are internal.
"""
