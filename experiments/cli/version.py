"""The command `version`: print which version this is."""

from __future__ import annotations

from importlib.metadata import version as installed_version

from trunkproof.experiments.cli.app import Json, out, print_result
from trunkproof.experiments.cli.root import app


@app.command()
def version(*, as_json: Json = False) -> None:
    """Say which version this is."""
    number = installed_version("trunkproof")
    print_result({"trunkproof": number}, lambda: out.print(f"trunkproof {number}"), as_json=as_json)
