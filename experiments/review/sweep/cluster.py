"""Choose the executor of simulations: processes of this machine, or the workers of a Dask cluster.

The work and its results are the same on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from trunkproof.models.errors import StackError
from trunkproof.simulator.replicate import processes

_PATIENCE_S = 15.0
"""How long to wait for a scheduler to answer, and for its first worker."""


@contextmanager
def executor_at(address: str | None = None, workers: int | None = None) -> Iterator[Executor]:
    """Give an executor for as long as the block lasts.

    Args:
        address: of a Dask scheduler, such as `tcp://127.0.0.1:8786`; none: processes of this machine.
        workers: how many such processes; none: one per core. A cluster has its own.

    Raises:
        StackError: Dask is not installed, no scheduler answers at that address, or it has no workers.
    """
    if address is None:
        with processes(workers) as pool:
            yield pool
        return
    with _dask(address, _PATIENCE_S) as executor:
        yield executor


@contextmanager
def _dask(address: str, patience_s: float) -> Iterator[Executor]:
    try:
        from distributed import Client  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        raise StackError("a cluster needs Dask: pip install 'trunkproof[cluster]'") from None
    try:
        client = Client(address, timeout=patience_s, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise StackError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        try:
            # A scheduler without workers answers, but would keep the first batch for ever.
            client.wait_for_workers(1, timeout=patience_s)
        except TimeoutError:
            raise StackError(f"the Dask scheduler at {address} has no workers") from None
        with client.get_executor() as executor:
            yield executor
