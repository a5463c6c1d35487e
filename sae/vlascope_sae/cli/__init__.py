"""`vlascope sae`: train autoencoders on a store, judge them, look at them, carry them elsewhere."""

from __future__ import annotations

from vlascope_sae.cli.export import app as _files
from vlascope_sae.cli.judge import app as _judging
from vlascope_sae.cli.train import app

__all__ = ["app"]

app.registered_commands.extend(_judging.registered_commands)
app.registered_commands.extend(_files.registered_commands)
