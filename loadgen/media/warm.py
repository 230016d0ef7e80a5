"""Compile the media pump in a process of its own, while the caller does something else.

It has to be a process: Numba holds the interpreter's lock while it compiles, so a thread would stop everything else.
And it has to be early: a trunk that compiles its own pump on a slow or busy machine may be ready too late.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

from trunkproof.loadgen.media.pump import PumpKind, pump_to_make
from trunkproof.loadgen.system.programs import dies_with_us, gone_within, start_process


@contextlib.asynccontextmanager
async def pump_compiled() -> AsyncIterator[None]:
    """Compile the pump while the block runs, and wait at its end until the machine code is on disk.

    It takes milliseconds where the code is on disk already. Where the pump cannot be compiled, this says nothing: the
    next `make_pump` reports it.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    kind, _ = pump_to_make()
    if kind is PumpKind.PLAIN or _is_kept():
        yield
        return
    # If we are killed, nobody else would end it.
    process = await start_process((*dies_with_us(), sys.executable, "-m", __name__))
    try:
        yield
        await process.wait()
    finally:
        # Only after an error in the block does it still run here. Then nobody needs its work.
        await gone_within(process, 0.0)


def _is_kept() -> bool:
    from trunkproof.loadgen.media.compiled.loop import run  # noqa: PLC0415  # Numba takes half a second to import.
    from trunkproof.models.compiled import is_kept  # noqa: PLC0415

    # `run` is compiled last and takes nearly all of the time: if it is kept, everything is.
    return is_kept(run)


def main() -> None:
    """Compile everything that is not on disk yet."""
    from trunkproof.loadgen.media.compiled.pump import CompiledPump  # noqa: PLC0415

    CompiledPump(most_streams=1).close()


if __name__ == "__main__":
    main()
