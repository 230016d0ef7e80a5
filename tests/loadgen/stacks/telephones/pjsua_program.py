"""A telephone of pjsua2, told by lines on its standard input: `dial URI`, `answer`, `refuse`, `hangup`, `hold`, …

It is a program of its own, because PJSIP has one endpoint in a process, and threads that the tests' process should not.
Everything that it is not told stays as PJSIP has it by default: crypto suites, codecs, silence
detection, session timer.
"""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path
from typing import IO, Any

import pjsua2 as pj


def say(*words: object) -> None:
    print(">>", *words, flush=True)


class Call(pj.Call):  # type: ignore[misc]
    def __init__(self, telephone: Telephone, number: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(telephone.account, number)
        self.telephone = telephone

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        say("state", info.stateText, info.lastStatusCode, info.lastReason)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.telephone.ended(self)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        # The media live as long as the object that holds them.
        info = self.getInfo()
        for medium in info.media:
            say("media", medium.index, medium.status, medium.dir)
            if medium.type == pj.PJMEDIA_TYPE_AUDIO and medium.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(medium.index)
                self.telephone.player.startTransmit(audio)
                audio.startTransmit(self.telephone.recorder)

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802
        statistics = self.getStreamStat(prm.streamIdx)
        received = statistics.rtcp.rxStat
        say("received", received.pkt, "lost", received.loss, "discarded", received.discard)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        say("digit", prm.digit)


class Account(pj.Account):  # type: ignore[misc]
    def __init__(self, telephone: Telephone) -> None:
        super().__init__()
        self.telephone = telephone

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = self.telephone.begin(Call(self.telephone, prm.callId))
        say("rung")
        ringing = pj.CallOpParam()
        ringing.statusCode = pj.PJSIP_SC_RINGING
        call.answer(ringing)


class Telephone:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = Path(settings["folder"])
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.logConfig.level = 5
        config.logConfig.consoleLevel = 5
        # One thread: callbacks come while `libHandleEvents` runs, and never beside what this program does.
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        # The telephone's own mixer would else resample, and no voiceprint survives that.
        config.medConfig.clockRate = 8000
        self.endpoint.libInit(config)
        self._listen(settings)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        self.account = Account(self)
        self.account.create(self._account(settings))
        self.calls: list[Call] = []
        self.over: list[Call] = []

    def _listen(self, settings: dict[str, Any]) -> None:
        transport = pj.TransportConfig()
        transport.boundAddress = settings["address"]
        transport.port = settings["port"]
        transport.tlsConfig.CaListFile = settings["ca_file"]
        transport.tlsConfig.certFile = settings["certificate"]
        transport.tlsConfig.privKeyFile = settings["key"]
        transport.tlsConfig.verifyServer = True
        self.transport = self.endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)

    def _account(self, settings: dict[str, Any]) -> Any:
        config = pj.AccountConfig()
        config.idUri = f"<sip:+918000000000@{settings['account']}>"
        config.sipConfig.transportId = self.transport
        config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
        config.mediaConfig.transportConfig.boundAddress = settings["address"]
        config.mediaConfig.transportConfig.port = 54_000
        config.mediaConfig.transportConfig.portRange = 1_000
        return config

    def begin(self, call: Call) -> Call:
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(str(self.folder / "heard.wav"))
        self.calls.append(call)
        return call

    def ended(self, call: Call) -> None:
        # Not destroyed inside its own callback.
        self.over.append(call)
        self.calls.remove(call)

    def obey(self, word: str, argument: str) -> None:
        option = pj.CallOpParam(True)
        if word == "says":
            self.player = pj.AudioMediaPlayer()
            self.player.createPlayer(argument, 0)
            return
        if word == "dial":
            self.begin(Call(self)).makeCall(argument, option)
            return
        if not self.calls:
            say("error: no call to", word)
            return
        call = self.calls[-1]
        match word:
            case "answer" | "refuse":
                option.statusCode = pj.PJSIP_SC_OK if word == "answer" else pj.PJSIP_SC_BUSY_HERE
                call.answer(option)
            case "hangup":
                call.hangup(pj.CallOpParam())
            case "hold":
                call.setHold(pj.CallOpParam())
            case "resume":
                option.opt.flag = pj.PJSUA_CALL_UNHOLD
                call.reinvite(option)
            case "move":
                option.opt.flag = pj.PJSUA_CALL_REINIT_MEDIA
                call.reinvite(option)
            case "update":
                call.update(option)
            case "press":
                call.dialDtmf(argument)

    def run(self) -> None:
        say("ready")
        # Unbuffered, or a second line would wait in a buffer that `select` does not see.
        with open(sys.stdin.fileno(), "rb", buffering=0) as commands:
            self._obey_all(commands)
        self.endpoint.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)
        # The destructors of what is left would call a library that is gone.
        os._exit(0)

    def _obey_all(self, commands: IO[bytes]) -> None:
        while True:
            self.endpoint.libHandleEvents(10)
            if self.over:
                del self.recorder
                # Now, and not when the next call may have its number: the destructor hangs up.
                self.over.clear()
                say("over")
            if select.select([commands], [], [], 0)[0]:
                word, _, argument = commands.readline().decode().strip().partition(" ")
                if word in {"", "quit"}:
                    break
                try:
                    self.obey(word, argument)
                except pj.Error as error:
                    say("error", error.info())


if __name__ == "__main__":
    Telephone(json.loads(sys.argv[1])).run()
