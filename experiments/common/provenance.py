"""Note where a result comes from: versions, seed, study and machine. So it can be made again and checked.

It names the kind of machine, never the machine or its user.
"""

from __future__ import annotations

import os
import platform
import ssl
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from trunkproof.models.costs import Fingerprint
from trunkproof.models.study import Study

_PACKAGES = ("trunkproof", "simpy", "numpy", "scipy", "polars", "pydantic", "pylibsrtp", "plotly")


@dataclass(frozen=True)
class Provenance:
    """The origin of one result."""

    study_hash: str
    seed: int
    command: str
    """The command that makes the result again."""
    started: str
    """The start in UTC, ISO 8601."""
    versions: dict[str, str]
    machine: dict[str, str]

    @classmethod
    def collect(cls, study: Study, command: str) -> Self:
        """Return the provenance of a result that is made here and now."""
        return cls(
            study_hash=study.digest(),
            seed=study.seed,
            command=command,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=package_versions(),
            machine={name: str(value) for name, value in fingerprint().model_dump().items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


def fingerprint() -> Fingerprint:
    """Return the kind of this machine."""
    return Fingerprint(
        processor=_processor(), cores=os.cpu_count() or 1, system=f"{platform.system()} {platform.release()}"
    )


def package_versions(also: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, OpenSSL, the packages that results depend on, and those named in `also`."""
    found = {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}
    for name in (*_PACKAGES, *also):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
