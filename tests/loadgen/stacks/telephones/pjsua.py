"""pjsua, with the crypto suites, codecs and silence detection that it has by default."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.loadgen.stacks.telephones.telephone import Program, Setup, Telephone, Words


class Pjsua(Telephone):
    name = "pjsua"
    first_suite = "AES_256_CM_HMAC_SHA1_80"
    words = Words(
        answer="answer\n",
        refuse="refuse\n",
        hang_up="hangup\n",
        hold="hold\n",
        resume="resume\n",
        quit="quit\n",
        rung=">> rung",
        ringing=">> state EARLY",
        up=">> state CONFIRMED",
        over=">> over",
        received=r">> received (\d+)",
        move="move\n",
        refresh="update\n",
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        settings = {name: value if isinstance(value, int) else str(value) for name, value in asdict(setup).items()}
        command = (sys.executable, str(Path(__file__).with_name("pjsua_program.py")), json.dumps(settings))
        self.program = Program(command, cwd=setup.folder)
        self.program.until(">> ready", 0)

    def speak(self, says: Path) -> None:
        self.program.tell(f"says {says}\n")

    def dial(self, number: str) -> None:
        self.program.tell(f"dial <{self.uri(number)};transport=tls>\n")

    def press(self, keys: str) -> None:
        self.program.tell(f"press {keys}\n")

    def recordings(self) -> list[Path]:
        return list(self.setup.folder.glob("heard.wav"))
