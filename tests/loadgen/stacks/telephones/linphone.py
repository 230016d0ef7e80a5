"""linphonec: told by commands on its standard input, plays a WAV file and records what it hears into another."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
from pathlib import Path

from tests.loadgen.stacks.telephones.telephone import Program, Setup, Telephone, Words

from trunkproof.loadgen.system.ports import free_port

_CONFIGURATION = """\
[sip]
bind_address={address}
sip_tls_port=-1
sip_port=0
sip_tcp_port={tcp_port}
media_encryption=srtp
media_encryption_mandatory=1
verify_server_certs=1
verify_server_cn=0
root_ca={ca_file}
contact=sip:+918000000000@{account}
guess_hostname=0
register_only_when_network_is_up=0
auto_net_state_mon=0

[net]
firewall_policy=0

[rtp]
audio_rtp_port=55000-56000
audio_adaptive_jitt_comp_enabled=0
bind_address={address}

[sound]
echocancellation=0
agc=0

[misc]
uuid=00000000-0000-0000-0000-000000000000
"""


class _Relay:
    """TLS in front of linphone, which cannot listen for it: what a customer's session border controller does."""

    def __init__(self, setup: Setup, tcp_port: int) -> None:
        assert setup.certificate is not None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(setup.certificate, setup.key)
        self._inner = (setup.address, tcp_port)
        self._listener = socket.create_server((setup.address, setup.port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the end
            while True:
                raw, _ = self._listener.accept()
                outer = self._context.wrap_socket(raw, server_side=True)
                inner = socket.create_connection(self._inner)
                self._open += [outer, inner]
                # linphone answers by the transport in Via and, without rport, over a new connection.
                for pipe in (
                    (outer, inner, rb"Via: SIP/2.0/TLS ([^;]*)", rb"Via: SIP/2.0/TCP \1;rport"),
                    (inner, outer, rb"Via: SIP/2.0/TCP ", rb"Via: SIP/2.0/TLS "),
                ):
                    threading.Thread(target=_pipe, args=pipe, name="relay", daemon=True).start()

    def close(self) -> None:
        # Unlike `close` alone this wakes the threads that wait.
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _pipe(source: socket.socket, sink: socket.socket, pattern: bytes, replacement: bytes) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(re.sub(pattern, replacement, data))
        sink.shutdown(socket.SHUT_RDWR)


class Linphone(Telephone):
    name = "linphone"
    words = Words(
        answer="answer\n",
        refuse="terminate\n",
        hang_up="terminate\n",
        hold="pause\n",
        resume="resume\n",
        quit="quit\n",
        rung="Receiving new incoming call",
        ringing=r"> ringing\.",
        up=r"> connected\.",
        over="> (ended|error|failed)",
    )
    busy_status = 603
    source = "127.0.0.1"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        folder = setup.folder
        tcp_port = free_port(setup.address)
        self._relay = _Relay(setup, tcp_port)
        configuration = folder / "linphonerc"
        configuration.write_text(
            _CONFIGURATION.format(
                address=setup.address,
                tcp_port=tcp_port,
                ca_file=setup.ca_file,
                account=setup.account,
            )
        )
        # Its data base is made in a folder that it does not make.
        (folder / ".local/share/linphone").mkdir(parents=True)
        self.program = Program(
            ("linphonec", "-c", str(configuration), "-S", "-d", "6", "-l", str(folder / "log")),
            cwd=folder,
            env=os.environ | {"HOME": str(folder)},
        )
        self.program.until("linphonec> ", 0)
        self.program.tell("soundcard use files\n")
        self._recording = folder / "heard.wav"

    def speak(self, says: Path) -> None:
        self.program.tell(f"play {says}\nrecord {self._recording}\n")

    def dial(self, number: str) -> None:
        self.program.tell(f"call {self.uri(number)};transport=tls\n")

    def press(self, keys: str) -> None:
        self.program.tell(f"{keys}\n")

    def recordings(self) -> list[Path]:
        return [self._recording] if self._recording.exists() else []

    def close(self) -> None:
        super().close()
        self._relay.close()
