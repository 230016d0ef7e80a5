"""A trunk that is not ours: an Asterisk with a hand-written configuration, which knows nothing of any study.

It takes calls of one source address and one caller, and has an echo, an announcement that hangs up, a telephone that
answers and stays silent, one that is busy and one that rings. It notes every number that is dialled.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkproof.loadgen.card import FOREIGN, TrunkCard
from trunkproof.loadgen.stacks.asterisk.find import Installation, find_asterisk
from trunkproof.loadgen.stacks.asterisk.programs import program_of
from trunkproof.loadgen.stacks.asterisk.render import Instance, render_paths
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Program, Programs
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.errors import StackError

TRUNK, CUSTOMER, HOST = "127.0.55.1", "127.0.55.2", "trunk.example"
CALLER, DOMAIN = "+918040001234", "abroad.example"
ECHO, ECHO_TOO, PLAYS, ANSWERS, BUSY, RINGS = (f"+9180400055{last:02d}" for last in range(1, 7))
TRANSCODED, MENU = (f"+9180400056{last:02d}" for last in range(1, 3))
"""An echo behind a leg in mu-law, at a quarter of the level, and a menu that repeats the keys that it hears."""
USERNAME, PASSWORD = "example", "a pass:word"
ANNOUNCEMENT_S = 0.6
_MODULES = (
    *("res_pjproject", "res_sorcery_config", "res_sorcery_memory", "res_sorcery_astdb", "res_pjsip"),
    *("res_pjsip_pubsub", "res_pjsip_session", "res_pjsip_sdp_rtp", "res_pjsip_endpoint_identifier_ip"),
    *("res_pjsip_nat", "res_pjsip_authenticator_digest", "res_pjsip_rfc3326", "res_pjsip_caller_id"),
    *("res_pjsip_acl", "chan_pjsip", "res_rtp_asterisk", "res_srtp", "res_timing_timerfd", "pbx_config"),
    *("app_echo", "app_playback", "app_verbose", "format_pcm", "func_callerid", "func_logic"),
    *("codec_alaw", "codec_ulaw", "bridge_simple", "app_dial", "app_read", "app_senddtmf", "func_volume"),
)
_FILES = {
    "modules.conf": "[modules]\nautoload = no\n{loads}",
    "logger.conf": "[logfiles]\ndialled.log => notice,warning,error\n",
    "rtp.conf": "[general]\nrtpstart = 26000\nrtpend = 26999\nstrictrtp = yes\n",
    "pjsip.conf": """
[global]
type = global
endpoint_identifier_order = ip
[edge]
type = transport
protocol = tls
method = tlsv1_2
bind = {trunk}:{port}
cert_file = {certificate}
priv_key_file = {key}
[customer]
type = endpoint
context = dialled
transport = edge
disallow = all
allow = alaw,ulaw
media_encryption = sdes
media_address = {trunk}
{auth}
bind_rtp_to_media_address = yes
rtp_symmetric = yes
direct_media = no
timers = no
[inside]
type = transport
protocol = udp
bind = {trunk}:{inner_port}
[far]
type = endpoint
context = far-ends
transport = inside
disallow = all
allow = ulaw
aors = far
media_address = {trunk}
bind_rtp_to_media_address = yes
direct_media = no
[far]
type = aor
contact = sip:{trunk}:{inner_port}
[far-source]
type = identify
endpoint = far
match = {trunk}
[secret]
type = auth
auth_type = userpass
username = {username}
password = {password}
realm = abroad
[customer-source]
type = identify
endpoint = customer
match = {customer}
""",
    "extensions.conf": """
[dialled]
exten => _[+0-9].,1,Log(NOTICE,dialled ${{EXTEN}} from ${{CALLERID(num)}})
 same => n,GotoIf($["${{CALLERID(num)}}" = "{caller}"]?far-ends,${{EXTEN}},1)
 same => n,Hangup(21)
[far-ends]
exten => {echo},1,Answer()
 same => n,Echo()
exten => {echo_too},1,Goto({echo},1)
exten => {plays},1,Answer()
 same => n,Playback({folder}/announcement)
 same => n,Hangup()
exten => {answers},1,Answer()
 same => n,Wait(60)
exten => {busy},1,Hangup(17)
exten => {rings},1,Ringing()
 same => n,Wait(60)
exten => {transcoded},1,Set(VOLUME(RX)=-4)
 same => n,Dial(PJSIP/{echo}@far)
exten => {menu},1,Answer()
 same => n,Read(KEYS,,4,,1,5)
 same => n,Log(NOTICE,keys ${{KEYS}})
 same => n,SendDTMF(${{KEYS}})
 same => n,Wait(60)
exten => _X.,1,Hangup(1)
""",
}


@pytest.fixture(scope="session")
def asterisk() -> Installation:
    try:
        return find_asterisk()
    except StackError as missing:
        pytest.skip(str(missing))


def asterisk_in(installation: Installation, folder: Path, files: dict[str, str]) -> Program:
    """Return the program of an Asterisk with these files, file name -> content, in the folder."""
    instance = Instance(folder, installation, open_files=1024)
    return program_of("asterisk", instance, files | {"asterisk.conf": render_paths(instance)})


@contextlib.asynccontextmanager
async def foreign_trunk(
    installation: Installation, folder: Path, *, challenges: bool = False
) -> AsyncIterator[TrunkCard]:
    """Run the trunk; yield a card that says no more than `--target` and `--ca` would."""
    folder = folder.resolve()
    authority, port = Authority(folder / "certificates"), free_port(TRUNK)
    files = authority.issue(HOST, TRUNK)
    values = {
        "folder": folder,
        "loads": "".join(f"load = {name}.so\n" for name in _MODULES),
        "port": port,
        "certificate": files.cert_chain_pem,
        "key": files.key_pem,
        "trunk": TRUNK,
        "customer": CUSTOMER,
        "caller": CALLER,
        "auth": "auth = secret" if challenges else "",
        "username": USERNAME,
        "password": PASSWORD,
        **{"echo": ECHO, "echo_too": ECHO_TOO, "plays": PLAYS, "answers": ANSWERS, "busy": BUSY, "rings": RINGS},
        **{"transcoded": TRANSCODED, "menu": MENU, "inner_port": free_port(TRUNK)},
    }
    filled = {name: content.format(**values) for name, content in _FILES.items()}
    # A-law of silence is a constant, and to us any audio without a voiceprint.
    (folder / "announcement.alaw").write_bytes(b"\xd5" * int(8000 * ANNOUNCEMENT_S))
    programs = Programs()
    try:
        await programs.start(asterisk_in(installation, folder, filled))
        yield TrunkCard(stack=FOREIGN, server_name=HOST, host=TRUNK, port=port, ca_file=str(authority.ca_file))
    finally:
        await programs.close()


def dialled(folder: Path) -> list[tuple[str, str]]:
    """Every number that the trunk was asked for, and the caller, from its own log."""
    lines = (folder / "dialled.log").read_text(encoding="utf-8").splitlines()
    words = [line.rpartition("dialled ")[2].split(" from ") for line in lines if "dialled +" in line]
    return [(number, caller) for number, caller in words]
