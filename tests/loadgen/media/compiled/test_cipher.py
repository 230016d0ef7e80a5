"""SRTP on flat memory: the vectors of RFC 3711, and libsrtp's verdict and bytes for whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error

from trunkproof.loadgen.media.compiled.c import FUNCTIONS, functions
from trunkproof.loadgen.media.compiled.cipher import OK, REPLAY, REPLAY_OLD, advance, derive, protect, unprotect
from trunkproof.loadgen.media.compiled.memory import STATE, new_terms, new_work
from trunkproof.loadgen.media.compiled.records import set_keys
from trunkproof.loadgen.media.srtp import SrtpCipher

SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
KEYS = (bytes(range(30)), bytes(range(30, 60)))
C = functions()
WITHOUT = np.zeros(1, FUNCTIONS)[0]
"""A machine where libsrtp has to do everything."""
for name in FUNCTIONS.names or ():
    WITHOUT[name] = 0 if name.startswith(("aesni", "sha1")) else C[name]


class Flat:
    """One side's contexts."""

    def __init__(self, cipher: SrtpCipher, c: Any = C) -> None:
        self.cipher, self.c = cipher, c
        self.terms, self.works = new_terms(), new_work()
        self.slot, self.work = self.terms[0], self.works[0]
        self.states: dict[bytes, Any] = {}
        set_keys(c, self.slot, self.work, cipher)

    def protect(self, packet: bytes, index: int) -> bytes:
        self.work["data"][self.work["out"] :][: len(packet)] = np.frombuffer(packet, np.uint8)
        size = protect(self.c, self.slot["tx"], self.work, len(packet), index)
        return bytes(self.work["data"][self.work["out"] :][:size])

    def unprotect(self, data: bytes) -> bytes | str:
        """The packet, or how it failed; what failed is left as it was."""
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        state = self.states.get(data[8:12], np.zeros(1, STATE))[0]
        status = unprotect(self.c, self.slot["rx"], state, self.work, 0, len(data))
        if status == OK:
            self.states.setdefault(data[8:12], np.zeros(1, STATE))
            advance(self.states[data[8:12]][0], self.work["index"])
            return bytes(self.work["data"][: self.work["length"][0]])
        assert bytes(self.work["data"][: len(data)]) == data
        return "replayed" if status in {REPLAY, REPLAY_OLD} else "failed"


def _pair(suite: str) -> tuple[SrtpCipher, Flat]:
    return SrtpCipher(*KEYS, suite), Flat(SrtpCipher(*KEYS[::-1], suite))


def _verdict(cipher: SrtpCipher, data: bytes) -> bytes | str:
    try:
        return cipher.rx.unprotect(data)
    except Error as error:
        return "replayed" if "replay" in str(error) else "failed"


def _packet(sequence: int, *, ssrc: int = 77, first: int = 0x80, payload: bytes = bytes(40)) -> bytes:
    return bytes([first, 8]) + sequence.to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big") + payload


def test_key_derivation_of_rfc_3711_appendix_b3() -> None:
    assert C["aesni_set_encrypt_key"] != 0
    flat = Flat(SrtpCipher(*KEYS, SUITES[0]))
    master = "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6"
    scratch = flat.work["data"][flat.work["scratch"] :]
    scratch[:30] = np.frombuffer(bytes.fromhex(master), np.uint8)
    context = flat.slot["tx"]
    derive(C, context, flat.work, 10)
    assert bytes(context["aes"][:16]).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    salts = "{salt_0:08X} {salt_4:08X} {salt_8:04X} {salt_10:08X}"
    names = ("salt_0", "salt_4", "salt_8", "salt_10")
    assert salts.format(**{name: int(context[name]) for name in names}) == "30CBBC08 863D8C85 D49D B34A9AE1"
    # The authentication key, which is only kept as what HMAC makes of it, was the second of three.
    key = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"
    assert bytes(scratch[64:84]).hex().upper() == key


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("c", [C, WITHOUT], ids=["flat", "libsrtp"])
def test_what_is_encrypted_is_that_of_libsrtp_beyond_the_rollover(suite: str, c: Any) -> None:
    flat, cipher = Flat(SrtpCipher(*KEYS, suite), c), SrtpCipher(*KEYS, suite)
    for index in range(65_000, 2 * 65_536 + 500, 7):
        packet = _packet(index & 0xFFFF, payload=bytes([index & 0xFF]) * (index % 161))
        assert flat.protect(packet, index) == cipher.protect(packet)


def _moves() -> Iterator[st.SearchStrategy[tuple[str, int]]]:
    yield st.tuples(st.just("next"), st.integers(1, 200))
    yield st.tuples(st.just("skip"), st.integers(1, 0x6000))
    yield st.tuples(st.just("again"), st.integers(1, 300))
    yield st.tuples(st.just("changed"), st.integers(0, 2**20))
    yield st.tuples(st.just("other source"), st.integers(1, 3))
    yield st.tuples(st.just("cut"), st.integers(0, 60))


@pytest.mark.parametrize("suite", SUITES)
@given(
    first=st.sampled_from([0, 1, 127, 128, 32_767, 32_768, 32_769, 65_300, 65_535]),
    moves=st.lists(st.one_of(*_moves()), max_size=30),
    shapes=st.lists(st.sampled_from([0x80, 0x81, 0x8F, 0xA0, 0x90, 0x00]), min_size=1, max_size=8),
)
def test_libsrtp_says_the_same_of_whatever_comes(
    suite: str, first: int, moves: list[tuple[str, int]], shapes: list[int]
) -> None:
    far, flat = _pair(suite)
    reference = SrtpCipher(*KEYS[::-1], suite)
    sent: list[bytes] = []
    number = first

    def deliver(data: bytes) -> None:
        assert flat.unprotect(data) == _verdict(reference, data)

    def send(ssrc: int = 77) -> None:
        nonlocal number
        payload = bytes([0, 0, 0, 1]) * (16 + number % 20)
        packet = _packet(number & 0xFFFF, ssrc=ssrc, first=shapes[number % len(shapes)], payload=payload)
        sent.append(far.protect(packet))
        deliver(sent[-1])
        number += 1

    for what, amount in moves:
        match what:
            case "next":
                for _ in range(amount):
                    send()
            case "skip":
                number += amount
                send()
            case "again" if sent:
                deliver(sent[-min(amount, len(sent))])
            case "changed" if sent:
                data = bytearray(sent[-1])
                data[amount % len(data)] ^= 1 + amount % 255
                deliver(bytes(data))
            case "other source":
                ssrc = 78 + len(sent)
                for _ in range(amount):
                    send(ssrc)
            case "cut" if sent:
                deliver(sent[-1][:amount])


@given(data=st.binary(max_size=300), first=st.integers(0, 255))
def test_any_bytes(data: bytes, first: int) -> None:
    far, flat = _pair(SUITES[0])
    reference = SrtpCipher(*KEYS[::-1], SUITES[0])
    good = far.protect(_packet(5))
    for each in (good, data, bytes([first]) + good[1:4] + data, good[:12] + data):
        assert flat.unprotect(each) == _verdict(reference, each)
