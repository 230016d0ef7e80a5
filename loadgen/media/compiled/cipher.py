"""SRTP of audio (RFC 3711, AES-CM and HMAC-SHA1) on flat memory, with the AES and SHA-1 of OpenSSL.

Why not libsrtp for everything? It has OpenSSL copy a tree of objects for each packet's tag, and its contexts are
scattered in memory. It took most of the pump's time. Here a stream's keys are in one record, and no memory is
allocated.

A packet is made like this: the payload is encrypted with AES in counter mode, from an IV of salt, SSRC and packet index
(48 bits: rollovers and sequence number). Then HMAC-SHA1 over header, payload and rollovers gives the tag.

Each source has its own index and replay list, which may change only once a packet is authentic: the caller does that.

libsrtp still does RTCP, and everything where `tag_bytes` is 0. The results are the same:
`records.encrypts_as_libsrtp` checks it at each start.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.memory import NEVER, REPLAY_WINDOW, SHA_WORDS, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import (
    clear_bits,
    has_bit,
    octet,
    read16,
    read32,
    set_bit,
    write16,
    write32,
)
from trunkproof.loadgen.media.rtp import HEADER_BYTES
from trunkproof.models.compiled import inlined, lean

OK: Final = 0
NOT_AUTHENTIC, REPLAY, REPLAY_OLD = 7, 9, 10
"""Values of libsrtp's `srtp_err_status_t`."""
MASTER_BYTES: Final = 30
"""Master key and master salt (RFC 4568 section 6.2)."""
_KEY_BYTES, _SALT_BYTES, _AUTH_BYTES = 16, 14, 20
_AUTHENTICATION, _SALTING = 1, 2
"""Labels of RFC 3711 section 4.3.1. The label of encryption is 0."""
_LABEL = 7
"""Position of the label in the IV of the key derivation."""
_BLOCK, _AES_BLOCK = 64, 16
_HALF: Final = 1 << 15


@lean
def derive(c: Record, context: Record, work: Record, tag_bytes: int) -> None:
    """Derive the session keys from the `MASTER_BYTES` at `work.scratch` (RFC 3711 section 4.3, with rate 0)."""
    # `tag_bytes` stays 0, and libsrtp does everything.
    if c.aesni_set_encrypt_key == 0:
        return
    data, master = work.data, work.scratch
    keys = master + 2 * _AES_BLOCK
    call_c(c.aesni_set_encrypt_key, (work.data_at + master, 8 * _KEY_BYTES, context.aes_at))
    for label in range(3):
        for place in range(_SALT_BYTES):
            data[work.iv + place] = data[master + _KEY_BYTES + place]
        data[work.iv + _LABEL] ^= label
        data[work.iv + 14] = data[work.iv + 15] = 0
        start = keys + 2 * _AES_BLOCK * label
        for place in range(start, start + 2 * _AES_BLOCK):
            data[place] = 0
        _encrypt(c, context, work, start, 2 * _AES_BLOCK)
    salt = keys + 2 * _AES_BLOCK * _SALTING
    context.salt_0, context.salt_4 = read32(data, salt), read32(data, salt + 4)
    context.salt_8, context.salt_10 = read16(data, salt + 8), read32(data, salt + 10)
    _prepare_hmac(c, context, work, keys + 2 * _AES_BLOCK * _AUTHENTICATION)
    call_c(c.aesni_set_encrypt_key, (work.data_at + keys, 8 * _KEY_BYTES, context.aes_at))
    context.tag_bytes = tag_bytes


@inlined
def _prepare_hmac(c: Record, context: Record, work: Record, key: int) -> None:
    """Hash both padded forms of the HMAC key once, so that each packet can start from there (RFC 2104)."""
    padded = work.scratch + 8 * _AES_BLOCK
    for half in range(2):
        for place in range(_BLOCK):
            byte = octet(work.data, key + place) if place < _AUTH_BYTES else 0
            work.data[padded + place] = byte ^ (0x5C if half else 0x36)
        # The initial state of SHA-1 (RFC 3174 section 6.1).
        work.sha[0], work.sha[1], work.sha[2] = 0x67452301, 0xEFCDAB89, 0x98BADCFE
        work.sha[3], work.sha[4] = 0x10325476, 0xC3D2E1F0
        call_c(c.sha1_block_data_order, (work.sha_at, work.data_at + padded, 1))
        for place in range(SHA_WORDS):
            context.hmac[SHA_WORDS * half + place] = work.sha[place]


@lean
def protect(c: Record, context: Record, work: Record, size: int, index: int) -> int:
    """Encrypt the packet of `size` bytes at `work.out`, and return its new size. Its header must have no options."""
    data, at = work.data, work.out
    if context.tag_bytes == 0:
        work.length[0] = size
        call_c(c.srtp_protect, (context.session, work.data_at + at, work.length_at))
        return int(work.length[0])
    _set_iv(context, work, read32(data, at + 8), index)
    _encrypt(c, context, work, at + HEADER_BYTES, size - HEADER_BYTES)
    _digest(c, context, work, at, size, index >> 16)
    for place in range(context.tag_bytes):
        data[at + size + place] = data[work.block + place]
    return int(size + context.tag_bytes)


@lean
def unprotect(c: Record, context: Record, state: Record, work: Record, at: int, size: int) -> int:
    """Check and decrypt the packet of `size` bytes at `work.data[at:]`. Return a status of libsrtp.

    The new size is in `work.length`, and the packet's index in `work.index`. `state` is that of its source.
    """
    data = work.data
    work.length[0] = size
    if context.tag_bytes == 0:
        return call_c(c.srtp_unprotect, (context.session, work.data_at + at, work.length_at))
    start = header_end(data, at, size)
    if start == NEVER:
        return NOT_AUTHENTIC
    index = _index(state.index, read16(data, at + 2))
    # Before the tag is computed, which costs far more (RFC 3711 section 3.3, step 5).
    status = _replay(state, index)
    end = at + size - context.tag_bytes
    if status != OK or start > end:
        return status if status != OK else NOT_AUTHENTIC
    for place in range(context.tag_bytes):
        data[work.tag + place] = data[end + place]
    _digest(c, context, work, at, end - at, index >> 16)
    # Compare all bytes even after one differs, so that the time does not tell how many were right.
    differ = 0
    for place in range(context.tag_bytes):
        differ |= octet(data, work.tag + place) ^ octet(data, work.block + place)
    if differ != 0:
        # Restore the packet as it came: the caller tries another key, and looks whether it is plain RTP.
        for place in range(context.tag_bytes):
            data[end + place] = data[work.tag + place]
        return NOT_AUTHENTIC
    _set_iv(context, work, read32(data, at + 8), index)
    _encrypt(c, context, work, start, end - start)
    work.length[0], work.index = end - at, index
    return OK


@inlined
def advance(state: Record, index: int) -> None:
    """Note in the state of a source that the packet of an index came. It must be authentic.

    A forged one could move the index and make all true ones fail.
    """
    if index > state.index:
        clear_bits(state.recent, state.index + 1, index)
        state.index = index
    set_bit(state.recent, index)


@lean
def add_mki(data: Bytes, at: int, size: int, tag: int, mki: Bytes, count: int) -> int:
    """Put an MKI before the tag of a packet, and return its new size (RFC 3711 section 3.1)."""
    for place in range(at + size - 1, at + size - tag - 1, -1):
        data[place + count] = data[place]
    for place in range(count):
        data[at + size - tag + place] = mki[place]
    return size + count


@lean
def take_mki(data: Bytes, at: int, size: int, tag: int, mki: Bytes, count: int) -> int:
    """Take the MKI out of a packet, and return its new size, or `NEVER` and change nothing where it has another."""
    start = at + size - tag - count
    if start < at:
        return NEVER
    for place in range(count):
        if data[start + place] != mki[place]:
            return NEVER
    for place in range(tag):
        data[start + place] = data[start + count + place]
    return size - count


@inlined
def header_end(data: Bytes, at: int, size: int) -> int:
    """Return where the payload of an RTP packet begins, or `NEVER` where its header is cut off."""
    if size < HEADER_BYTES:
        return NEVER
    header = HEADER_BYTES + 4 * (octet(data, at) & 0x0F)
    if data[at] & 0x10:
        if size < header + 4:
            return NEVER
        header += 4 + 4 * read16(data, at + header + 2)
    return at + header if header <= size else NEVER


@inlined
def _index(newest: int, sequence: int) -> int:
    """Return a packet's index from its 16-bit sequence number: the nearest to the newest index (RFC 3711 appendix A).

    While the newest is in the lower half of the first 2**16, no number is taken for an older one: nothing was sent
    before index 0. libsrtp does the same.
    """
    if newest <= _HALF:
        return sequence
    rollovers, last = newest >> 16, newest & 0xFFFF
    if last < _HALF and sequence - last > _HALF:
        rollovers -= 1
    elif last >= _HALF and last - _HALF > sequence:
        rollovers += 1
    return int(rollovers << 16 | sequence)


@inlined
def _replay(state: Record, index: int) -> int:
    """Return the packet's status by the replay list (RFC 3711 section 3.3.2)."""
    if index > state.index:
        return OK
    if state.index - index >= REPLAY_WINDOW:
        return REPLAY_OLD
    return REPLAY if has_bit(state.recent, index) else OK


@inlined
def _set_iv(context: Record, work: Record, ssrc: int, index: int) -> None:
    """Put the IV of a packet at `work.iv`: salt, SSRC and index combined (RFC 3711 section 4.1.1)."""
    data, at = work.data, work.iv
    write32(data, at, context.salt_0)
    write32(data, at + 4, context.salt_4 ^ ssrc)
    write16(data, at + 8, context.salt_8 ^ (index >> 32))
    write32(data, at + 10, context.salt_10 ^ index)
    data[at + 14] = data[at + 15] = 0


@inlined
def _encrypt(c: Record, context: Record, work: Record, start: int, size: int) -> None:
    """Encrypt or decrypt `size` bytes at `start`. It overwrites the bytes after them, up to a multiple of 16."""
    address, blocks = work.data_at + start, (size + _AES_BLOCK - 1) // _AES_BLOCK
    call_c(c.aesni_ctr32_encrypt_blocks, (address, address, blocks, context.aes_at, work.data_at + work.iv))


@lean
def _digest(c: Record, context: Record, work: Record, at: int, size: int, rollovers: int) -> None:
    """Put the tag of a packet at `work.block` (RFC 3711 section 4.2). It overwrites the bytes after the packet."""
    data, end = work.data, at + size
    # SHA-1's padding goes behind the packet and its 4 bytes of rollovers: 0x80, zeros, and 8 bytes of bit length.
    # The length counts one block more: the padded key, which was hashed already.
    blocks = (size + 4 + 9 + _BLOCK - 1) // _BLOCK
    last = at + _BLOCK * blocks - 4
    write32(data, end, rollovers)
    data[end + 4] = 0x80
    for place in range(end + 5, last):
        data[place] = 0
    write32(data, last, 8 * (_BLOCK + size + 4))
    for half in range(2):
        for place in range(SHA_WORDS):
            work.sha[place] = context.hmac[SHA_WORDS * half + place]
        call_c(c.sha1_block_data_order, (work.sha_at, work.data_at + at, blocks))
        for place in range(SHA_WORDS):
            write32(data, work.block + 4 * place, np.int64(work.sha[place]))  # type: ignore[arg-type]
        # The second round hashes the result of the first.
        at, blocks = work.block, 1
