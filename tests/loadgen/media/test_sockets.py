"""The limit of open files, and connected ports."""

import resource

import pytest

from trunkproof.loadgen.media.sockets import bind_pair, connect, raise_descriptor_limit


def test_the_soft_limit_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raise_descriptor_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_port_that_is_connected_hears_its_peer_only() -> None:
    pairs = [bind_pair("127.0.0.1", port) for port in (60_999, 61_401, 61_403)]
    (ours, _), (peer, _), (stranger, _) = pairs
    assert connect(ours, peer.getsockname())
    for sender in (stranger, peer):
        sender.sendto((sender is peer and b"peer") or b"stranger", ours.getsockname())
    assert ours.recv(100) == b"peer"
    with pytest.raises(BlockingIOError):
        ours.recv(100)
    for rtp, rtcp in pairs:
        rtp.close()
        rtcp.close()


def test_a_peer_that_cannot_be_reached_is_told() -> None:
    rtp, rtcp = bind_pair("127.0.0.1", 61_405)
    assert not connect(rtp, ("255.255.255.255", 5000))
    rtp.close()
    rtcp.close()
