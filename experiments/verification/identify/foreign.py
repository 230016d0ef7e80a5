"""Trunks that no study has rendered: hand-written Kamailio and Asterisk, with throttles as others write them.

    counter     Asterisk alone: a counter in the dialplan that starts again with each full minute
    bucket      Kamailio before it: the generic cell rate algorithm in an htable, in whole milliseconds
    pipelimit   Kamailio with its pipelimit module, TAILDROP: a fixed window since its start
    red         the same with RED

Asterisk plays the far ends in all of them: an echo, an announcement, a busy number and one that rings. Kamailio relays
to it over UDP and leaves the audio alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path

from trunkproof.loadgen.card import FOREIGN, TrunkCard
from trunkproof.loadgen.stacks.asterisk.programs import instance_in, program_of
from trunkproof.loadgen.stacks.asterisk.render import render_paths
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Program, Programs
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.errors import StackError

EDGE, INNER, HOST = "127.0.56.1", "127.0.56.3", "trunk.example"
CUSTOMERS = ("127.0.56.11", "127.0.56.12")
"""The source addresses that may call."""
CALLER, DOMAIN = "+918040001234", "abroad.example"
ECHO, PLAYS, BUSY, RINGS = (f"+9180400056{last:02d}" for last in range(1, 5))
ANNOUNCEMENT_S = 1.0


class Mechanism(StrEnum):
    """How a trunk limits calls per minute."""

    NONE = "none"
    COUNTER = "counter"
    BUCKET = "bucket"
    PIPELIMIT = "pipelimit"
    RED = "red"


_MODULES = (
    *("res_pjproject", "res_sorcery_config", "res_sorcery_memory", "res_sorcery_astdb", "res_pjsip"),
    *("res_pjsip_pubsub", "res_pjsip_session", "res_pjsip_sdp_rtp", "res_pjsip_endpoint_identifier_ip"),
    *("res_pjsip_nat", "res_pjsip_rfc3326", "res_pjsip_caller_id", "res_pjsip_acl", "chan_pjsip"),
    *("res_rtp_asterisk", "res_srtp", "res_timing_timerfd", "pbx_config", "app_echo", "app_playback", "app_exec"),
    *("format_pcm", "func_callerid", "func_logic", "func_math", "func_lock", "func_global"),
)
_ASTERISK = {
    "modules.conf": "[modules]\nautoload = no\n{loads}",
    "logger.conf": "[logfiles]\nasterisk.log => warning,error\n",
    "rtp.conf": "[general]\nrtpstart = 27000\nrtpend = 29999\nstrictrtp = yes\n",
    "pjsip.conf": """
[global]
type = global
endpoint_identifier_order = ip
[edge]
type = transport
protocol = tls
method = tlsv1_2
bind = {asterisk}:{asterisk_port}
cert_file = {certificate}
priv_key_file = {key}
[inside]
type = transport
protocol = udp
bind = {inner}:{inner_port}
[customer]
type = endpoint
context = dialled
disallow = all
allow = alaw,ulaw
media_encryption = sdes
media_address = {inner}
bind_rtp_to_media_address = yes
rtp_symmetric = yes
direct_media = no
timers = no
[customer-source]
type = identify
endpoint = customer
match = {callers}
""",
    "extensions.conf": """
[globals]
WINDOW = 0
COUNT = 0
[dialled]
exten => _[+0-9].,1,NoOp()
{counter}
 same => n,Goto(far-ends,${{EXTEN}},1)
[far-ends]
exten => {echo},1,Answer()
 same => n,Echo()
exten => {plays},1,Answer()
 same => n,Playback({folder}/announcement)
 same => n,Hangup()
exten => {busy},1,Hangup(17)
exten => {rings},1,Ringing()
 same => n,Wait(60)
exten => _X.,1,Hangup(1)
exten => _+X.,1,Hangup(1)
""",
}
_COUNTER = """
 same => n,Set(L=${LOCK(cpm)})
 same => n,Set(MINUTE=${MATH(${EPOCH}/60,int)})
 same => n,ExecIf($["${GLOBAL(WINDOW)}" != "${MINUTE}"]?Set(GLOBAL(COUNT)=0))
 same => n,Set(GLOBAL(WINDOW)=${MINUTE})
 same => n,Set(GLOBAL(COUNT)=${MATH(${GLOBAL(COUNT)}+1,int)})
 same => n,Set(MINE=${GLOBAL(COUNT)})
 same => n,Set(L=${UNLOCK(cpm)})
 same => n,ExecIf($[${MINE} > LIMIT]?Hangup(42))
"""
_KAMAILIO = """#!KAMAILIO
debug=1
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls=yes
tcp_connection_lifetime=3605
tls_max_connections=1024
tcp_source_ipv4={edge}
listen=tls:{edge}:{edge_port}
listen=udp:{edge}:{kamailio_udp}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "cfgutils.so"
loadmodule "htable.so"
loadmodule "pipelimit.so"
loadmodule "tls.so"
modparam("tls", "config", "{folder}/tls.cfg")
modparam("tls", "tls_force_run", 1)
modparam("pipelimit", "timer_interval", {window_s})
modparam("pipelimit", "load_fetch", 0)
modparam("cfgutils", "lock_set_size", 4)
modparam("htable", "htable", "tb=>size=4;autoexpire=600")
modparam("rr", "enable_double_rr", 1)
modparam("tm", "fr_inv_timer", 60000)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("OPTIONS") && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    t_check_trans();
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    route(THROTTLE);
    record_route();
    $du = "sip:{inner}:{inner_port}";
    $fs = "udp:{edge}:{kamailio_udp}";
    if (!t_relay()) {{ sl_reply_error(); }}
    exit;
}}
route[THROTTLE] {{
{throttle}
}}
"""
_THROTTLES = {
    Mechanism.NONE: "    return;",
    Mechanism.BUCKET: """
    lock("one");
    $var(now) = ($TV(s) mod 1000000) * 1000 + $TV(u) / 1000;
    $var(slot) = 60000 / LIMIT;
    $var(tat) = $sht(tb=>one);
    if ($var(tat) == $null || $var(tat) < $var(now)) { $var(tat) = $var(now); }
    if ($var(tat) - $var(now) > (BURST - 1) * $var(slot)) {
        unlock("one");
        append_to_reply("Retry-After: 1\\r\\n");
        sl_send_reply("503", "Rate exceeded");
        exit;
    }
    $sht(tb=>one) = $var(tat) + $var(slot);
    unlock("one");
""",
    Mechanism.PIPELIMIT: '    if (!pl_check("one", "TAILDROP", "LIMIT")) { pl_drop("1", "10"); exit; }',
    Mechanism.RED: '    if (!pl_check("one", "RED", "LIMIT")) { pl_drop("1", "10"); exit; }',
}
"""One count for all customers, whatever their address."""
_TLS = "".join(
    f"[{side}:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
    f"private_key = {{key}}\ncertificate = {{certificate}}\nca_list = {{ca}}\n"
    for side in ("server", "client")
)


@contextlib.asynccontextmanager
async def foreign_trunk(
    folder: Path, mechanism: Mechanism, *, limit: int = 200, burst: int = 20, window_s: int = 60
) -> AsyncIterator[tuple[TrunkCard, dict[str, int]]]:
    """Run the trunk. Yield a card that says no more than `--target` and `--ca` would, and the programs' process ids.

    `burst` is that of the bucket, which always has `limit` calls a minute. `window_s` is that of pipelimit.

    Raises:
        StackError: Asterisk or Kamailio is not installed, or does not start.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    instance = instance_in(folder)
    authority = Authority(folder / "certificates")
    certificate = authority.issue(HOST, EDGE, INNER)
    alone = mechanism is Mechanism.COUNTER
    ports = {"edge_port": free_port(EDGE), "inner_port": free_port(INNER), "kamailio_udp": free_port(EDGE)}
    values = ports | {
        "folder": folder,
        "window_s": window_s,
        "loads": "".join(f"load = {name}.so\n" for name in _MODULES),
        "edge": EDGE,
        "inner": INNER,
        "asterisk": EDGE if alone else INNER,
        "asterisk_port": ports["edge_port"] if alone else free_port(INNER),
        "certificate": certificate.cert_chain_pem,
        "key": certificate.key_pem,
        "ca": authority.ca_file,
        "callers": ",".join(CUSTOMERS) if alone else EDGE,
        "counter": _COUNTER.replace("LIMIT", str(limit)) if alone else "",
        "throttle": _THROTTLES.get(mechanism, "").replace("LIMIT", str(limit)).replace("BURST", str(burst)),
        **{"echo": ECHO, "plays": PLAYS, "busy": BUSY, "rings": RINGS},
    }
    filled = {name: content.format(**values) for name, content in _ASTERISK.items()}
    for name, content in {"kamailio.cfg": _KAMAILIO, "tls.cfg": _TLS}.items():
        (folder / name).write_text(content.format(**values), encoding="utf-8")
    # A-law of silence is a constant, and to us any audio without a voiceprint.
    (folder / "announcement.alaw").write_bytes(b"\xd5" * int(8000 * ANNOUNCEMENT_S))
    programs = Programs()
    try:
        await programs.start(program_of("asterisk", instance, filled | {"asterisk.conf": render_paths(instance)}))
        if not alone:
            await programs.start(_kamailio(folder, ports["edge_port"], authority.ca_file))
        card = TrunkCard(
            stack=FOREIGN, server_name=HOST, host=EDGE, port=ports["edge_port"], ca_file=str(authority.ca_file)
        )
        yield card, programs.pids
    finally:
        await programs.close()


def _kamailio(folder: Path, port: int, ca_file: Path) -> Program:
    program = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise StackError("Kamailio is not installed: kamailio kamailio-tls-modules")

    async def takes_tls() -> bool:
        context = ssl.create_default_context(cafile=ca_file)
        try:
            _, writer = await asyncio.open_connection(EDGE, port, ssl=context, server_hostname=HOST)
        except OSError:
            return False
        writer.close()
        return True

    command = (program, "-f", str(folder / "kamailio.cfg"), "-m", "64", "-M", "8", "-Y", str(folder), "-DD", "-E")
    return Program("kamailio", (*command, "-P", str(folder / "kamailio.pid")), folder / "kamailio.log", takes_tls)
