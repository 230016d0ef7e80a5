"""Compiles the media pump in a process of its own, while whoever needs it soon does something else.

Numba holds the interpreter while it compiles, so that no thread could. A trunk that compiled its pump itself, on a slow
or busy machine, might not be ready in the time that it is given.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

from trunkproof.loadgen.media.pump import PumpKind, pump_to_make
from trunkproof.loadgen.system.programs import dies_with_us, gone_within, start_process


@contextlib.asynccontextmanager
async def pump_compiled() -> AsyncIterator[None]:
    """At the end of the block the compiled pump is kept on disk, where it will be used; it is compiled meanwhile.

    Costs milliseconds where it is kept already. If it cannot be compiled, whoever makes a pump will say so.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    kind, _ = pump_to_make()
    if kind is PumpKind.PLAIN or _is_kept():
        yield
        return
    process = await start_process((*dies_with_us(), sys.executable, "-m", __name__))
    try:
        yield
        await process.wait()
    finally:
        await gone_within(process, 0.0)


def _is_kept() -> bool:
    from trunkproof.loadgen.media.compiled.loop import run  # noqa: PLC0415  # Numba takes half a second to import.
    from trunkproof.models.compiled import is_kept  # noqa: PLC0415

    # The last part to be compiled, and the one that takes nearly all of the time.
    return is_kept(run)


def main() -> None:
    """Compile what is not kept."""
    from trunkproof.loadgen.media.compiled.pump import CompiledPump  # noqa: PLC0415

    CompiledPump(most_streams=1).close()


if __name__ == "__main__":
    main()
