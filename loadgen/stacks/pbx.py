"""Run a real PBX for each customer: Asterisk between trunk and phones, set up as in the operator's document.

An inbound call rings the PBX, and the PBX rings the customer's phones. Our answerer plays the phones, so the plan still
decides how the call ends. Outbound calls do not use the PBX.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.asterisk.programs import pbx_programs
from trunkproof.loadgen.system.plain_paths import plainly_named
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Death, Programs
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.study import Study


@contextlib.asynccontextmanager
async def running_pbxs(
    study: Study, card: TrunkCard, folder: Path, on_death: Callable[[Death], None] | None = None
) -> AsyncIterator[TrunkCard]:
    """Run a PBX for every customer while the block runs. Yield a card that says where each customer's phones listen.

    `on_death` is called for a PBX that dies.

    Raises:
        StackError: Asterisk is missing or does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with plainly_named(folder) as plain:
        async with _running(study, card, plain, on_death) as changed:
            yield changed


@contextlib.asynccontextmanager
async def _running(
    study: Study, card: TrunkCard, folder: Path, on_death: Callable[[Death], None] | None
) -> AsyncIterator[TrunkCard]:
    assert card.ca_file is not None, "each of our own trunks has an authority"
    programs = Programs(on_death)
    # A copy: the card itself stays what the trunk said.
    customers = dict(card.customers)
    try:
        for index, trunk in enumerate(study.trunks):
            files = customers[trunk.name]
            phone_port = free_port(str(trunk.customer_address))
            certificate = CertificateFiles(Path(files.certificate), Path(files.key))
            for program in pbx_programs(
                study, index, folder, certificate=certificate, ca_file=Path(card.ca_file), phone_port=phone_port
            ):
                await programs.start(program)
            customers[trunk.name] = files.model_copy(update={"phone_port": phone_port})
        yield card.model_copy(update={"customers": customers})
    finally:
        await programs.close()
