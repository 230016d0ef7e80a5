"""baresip: told by keys and long commands on its standard input, records what it hears by `sndfile`."""

from __future__ import annotations

from pathlib import Path

from tests.loadgen.stacks.telephones.telephone import Program, Setup, Telephone, Words

_CONFIGURATION = """\
poll_method epoll
sip_listen {address}:{below}
{certificate}
sip_cafile {ca_file}
sip_trans_def tls
net_interface {address}
rtp_ports 52000-53000
rtcp_mux no
jitter_buffer_delay 0-1
rtp_stats yes
audio_source aufile,{folder}/nothing.wav
audio_player aubridge,heard
audio_alert aubridge,alert
audio_level no
snd_path {folder}
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module stdio.so
module_tmp account.so
module_app menu.so
"""


class Baresip(Telephone):
    name = "baresip"
    words = Words(
        answer="/accept\n",
        refuse="/hangup\n",
        hang_up="/hangup\n",
        hold="/hold\n",
        resume="/resume\n",
        quit="/quit\n",
        rung="Incoming call from",
        ringing="180 Ringing",
        up="Call established|Call answered",
        over=r"session closed|terminate call|SIP/2.0 48[67] ",
        received=r"packets: +\d+ +(\d+)",
    )
    records_after_hold = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        folder = setup.folder
        certificate = ""
        if setup.certificate is not None and setup.key is not None:
            own = folder / "own.pem"
            own.write_text(Path(setup.key).read_text() + Path(setup.certificate).read_text())
            certificate = f"sip_certificate {own}"
        text = _CONFIGURATION.format(
            address=setup.address,
            # Its TLS listens one port above the one that it is told.
            below=setup.port - 1,
            folder=folder,
            certificate=certificate,
            ca_file=setup.ca_file,
            modules=next(Path("/usr/lib").glob("**/baresip/modules")),
        )
        (folder / "config").write_text(text)
        # It takes calls only for the users of its accounts. The first one is who calls. G.711 alone is loaded.
        account = "<sip:{user}@{setup.account};transport=tls>;regint=0;mediaenc=srtp-mand\n"
        users = ("+918000000000", *setup.numbers)
        (folder / "accounts").write_text("".join(account.format(user=user, setup=setup) for user in users))
        # With a trace of its SIP messages: it does not tell the end of every call in words.
        self.program = Program(("baresip", "-s", "-f", str(folder)), cwd=folder)
        self.program.until("baresip is ready", 0)

    def speak(self, says: Path) -> None:
        self.program.tell(f"/ausrc aufile,{says}\n")
        # A call that comes in before it is done would be answered with the voice before.
        self.program.until("switch audio device", self.mark)

    def dial(self, number: str) -> None:
        self.program.tell(f"/dial {self.uri(number)}\n")

    def press(self, keys: str) -> None:
        self.program.tell(keys)

    def recordings(self) -> list[Path]:
        return sorted(self.setup.folder.glob("dump-*-dec.wav"))
