"""The `vlascope` command: one file per command, each imported only when it is used."""

from vlascope.cli.root import main

__all__ = ["main"]
