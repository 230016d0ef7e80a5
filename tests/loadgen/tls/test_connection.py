import asyncio
import ssl

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import MAX_UNSENT_BYTES, Closed, CloseReason, Connection
from trunkproof.loadgen.tls.endpoints import Connector, TlsServer, serve_tls

SERVER_NAME = "pstn.trunk.test"


class Ends:
    """Both ends of one connection on a real socket: ours, and the server's."""

    def __init__(self, server: TlsServer, ours: Connection, theirs: Connection) -> None:
        self.server = server
        self.ours = ours
        self.theirs = theirs


async def open_ends(authority: Authority, files: CertificateFiles) -> Ends:
    accepted: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
    server = await serve_tls("127.0.0.1", 0, server_context(files), accepted.set_result)
    ours = await Connector(client_context(authority.ca_file), SERVER_NAME).connect(*server.address)
    return Ends(server, ours, await accepted)


def test_bytes_from_before_deliver_to_are_kept(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> bytes:
        ends = await open_ends(authority, server_files)
        ends.ours.write(b"early ")
        ends.ours.write(b"bird")
        ends.ours.close()
        await ends.theirs.wait_closed()
        received: list[bytes] = []
        ends.theirs.deliver_to(received.append)
        await ends.server.close()
        return b"".join(received)

    assert asyncio.run(scenario()) == b"early bird"


def test_a_large_message_arrives_whole(authority: Authority, server_files: CertificateFiles) -> None:
    message = bytes(range(256)) * 2000

    async def scenario() -> bytes:
        ends = await open_ends(authority, server_files)
        received = bytearray()
        ends.theirs.deliver_to(received.extend)
        ends.ours.write(message)
        ends.ours.close()
        await ends.theirs.wait_closed()
        await ends.server.close()
        return bytes(received)

    assert asyncio.run(scenario()) == message


def test_the_end_is_told_after_the_last_byte_and_to_late_askers_too(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario() -> list[bytes | CloseReason]:
        ends = await open_ends(authority, server_files)
        seen: list[bytes | CloseReason] = []
        ends.theirs.deliver_to(seen.append)
        ends.theirs.when_closed(lambda closed: seen.append(closed.reason))
        ends.ours.write(b"last words")
        ends.ours.close()
        await ends.theirs.wait_closed()
        late: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        ends.theirs.when_closed(late.set_result)
        assert (await late).reason is CloseReason.PEER
        await ends.server.close()
        return seen

    assert asyncio.run(scenario()) == [b"last words", CloseReason.PEER]


def test_both_ends_know_who_closed(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> tuple[CloseReason, CloseReason]:
        ends = await open_ends(authority, server_files)
        ends.theirs.close()
        ours, theirs = await ends.ours.wait_closed(), await ends.theirs.wait_closed()
        await ends.server.close()
        return ours.reason, theirs.reason

    assert asyncio.run(scenario()) == (CloseReason.PEER, CloseReason.LOCAL)


def test_an_abort_is_a_reset_at_the_peer(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> tuple[CloseReason, Closed]:
        ends = await open_ends(authority, server_files)
        ends.theirs.abort("gone mad")
        ours, theirs = await ends.ours.wait_closed(), await ends.theirs.wait_closed()
        await ends.server.close()
        return ours.reason, theirs

    assert asyncio.run(scenario()) == (CloseReason.RESET, Closed(CloseReason.ABORTED, "gone mad"))


def test_writing_after_the_end_does_nothing(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> Connection:
        ends = await open_ends(authority, server_files)
        ends.ours.close()
        ends.ours.write(b"too late")
        ends.ours.close()
        ends.ours.abort()
        await ends.ours.wait_closed()
        await ends.server.close()
        return ends.ours

    assert asyncio.run(scenario()).closed == Closed(CloseReason.LOCAL)


def test_only_the_first_cause_of_the_end_counts(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> CloseReason:
        ends = await open_ends(authority, server_files)
        ends.ours.abort()
        ends.ours.close()
        closed = await ends.ours.wait_closed()
        await ends.server.close()
        return closed.reason

    assert asyncio.run(scenario()) is CloseReason.ABORTED


def test_a_peer_that_reads_nothing_is_cut_off(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> CloseReason:
        ends = await open_ends(authority, server_files)
        assert ends.theirs._transport is not None
        ends.theirs._transport.pause_reading()
        for _ in range(64):
            ends.ours.write(bytes(MAX_UNSENT_BYTES // 4))
            await asyncio.sleep(0)
        closed = await ends.ours.wait_closed()
        ends.theirs.abort()
        await ends.server.close()
        return closed.reason

    assert asyncio.run(scenario()) is CloseReason.STALLED


def test_rfc8446_6_1_an_end_without_close_notify_is_a_truncation(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def shake_hands_and_vanish(context: ssl.SSLContext) -> Closed:
        reader_done: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader_done.set_result(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            ours = await Connector(client_context(authority.ca_file), SERVER_NAME).connect("127.0.0.1", port)
            (await reader_done).transport.abort()  # asyncio's abort leaves the FIN to the kernel
            return await ours.wait_closed()

    closed = asyncio.run(shake_hands_and_vanish(server_context(server_files)))
    assert closed.reason is CloseReason.TRUNCATED


def test_bytes_that_break_tls_end_the_connection(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> tuple[Closed, CloseReason]:
        ends = await open_ends(authority, server_files)
        assert ends.ours._transport is not None
        ends.ours._transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody encrypted
        theirs, ours = await ends.theirs.wait_closed(), await ends.ours.wait_closed()
        await ends.server.close()
        return theirs, ours.reason

    theirs, ours = asyncio.run(scenario())
    assert theirs.reason is CloseReason.TLS
    assert "MAC" in theirs.detail or "DECRYPTION" in theirs.detail
    assert ours is CloseReason.TLS  # told by the alert


def test_what_one_turn_of_the_loop_writes_arrives_whole_and_in_order(
    authority: Authority, server_files: CertificateFiles
) -> None:
    turns = [[b"%d.%d " % (turn, number) * size for number in range(40)] for turn, size in enumerate((1, 900, 1))]

    async def scenario() -> bytes:
        ends = await open_ends(authority, server_files)
        received = bytearray()
        ends.theirs.deliver_to(received.extend)
        for messages in turns:
            for message in messages:
                ends.ours.write(message)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while len(received) < sum(len(message) for messages in turns for message in messages):
                await asyncio.sleep(0.001)
        ends.ours.close()
        await ends.server.close()
        return bytes(received)

    assert asyncio.run(scenario()) == b"".join(message for messages in turns for message in messages)


def test_what_was_written_before_the_close_of_the_same_turn_is_sent(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario() -> bytes:
        ends = await open_ends(authority, server_files)
        received = bytearray()
        ends.theirs.deliver_to(received.extend)
        ends.ours.write(b"one ")
        ends.ours.write(b"two")
        ends.ours.close()
        ends.ours.write(b"too late")
        await ends.theirs.wait_closed()
        await ends.server.close()
        return bytes(received)

    assert asyncio.run(scenario()) == b"one two"
