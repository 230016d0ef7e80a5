"""The customers' PBXs as programs of others: Asterisk as the operator's document sets it up, between trunk and phones.

Inbound calls ring the PBX, which rings the customer's phones: our answerer, so that the plan still decides what becomes
of them. Calls out do not pass it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.asterisk.programs import pbx_programs
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Death, Programs
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.study import Study


@contextlib.asynccontextmanager
async def running_pbxs(
    study: Study, card: TrunkCard, folder: Path, on_death: Callable[[Death], None] | None = None
) -> AsyncIterator[TrunkCard]:
    """A PBX for every customer while the block runs; the card says where each customer's phones listen then.

    `on_death` is told of one that ends by itself.

    Raises:
        StackError: Asterisk is missing or does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    programs = Programs(on_death)
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
