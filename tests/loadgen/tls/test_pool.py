import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, TlsVersion, client_context, server_context
from trunkproof.loadgen.tls.connection import ConnectError, ConnectFailure, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError, TlsServer, serve_tls
from trunkproof.loadgen.tls.pool import ConnectionPool, Lease
from trunkproof.models.records import ConnectionKind
from trunkproof.models.traffic import TlsPolicy

FULL, RESUMED, REUSED = ConnectionKind.FULL, ConnectionKind.RESUMED, ConnectionKind.REUSED
Scenario = Callable[[TlsServer, ConnectionPool], Awaitable[None]]


def play(
    authority: Authority,
    files: CertificateFiles,
    scenario: Scenario,
    policy: TlsPolicy,
    *,
    size: int = 1,
    version: TlsVersion = "1.3",
    resumes: bool = True,
    on_open: Callable[[Connection], None] | None = None,
) -> TlsServer:
    """Run `scenario` with an echoing server and a pool that calls it; the server as it was left."""

    async def run() -> TlsServer:
        server = await serve_tls("127.0.0.1", 0, server_context(files), lambda c: c.deliver_to(c.write))
        connector = Connector(client_context(authority.ca_file, versions=[version]), "pstn.trunk.test")
        target = Guard().check(*server.address, 600)
        pool = ConnectionPool(connector, target, policy, size, resumes=resumes, on_open=on_open)
        await scenario(server, pool)
        await pool.close()
        await server.close()
        assert not pool.connections
        return server

    return asyncio.run(run())


async def echoed(lease: Lease) -> None:
    """Until the server has answered on this connection, and so has sent its ticket."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    lease.connection.deliver_to(answer.set_result)
    lease.connection.write(b"ping")
    async with asyncio.timeout(5):
        assert await answer == b"ping"


def test_persistent_uses_one_connection(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        leases = [await pool.acquire(key) for key in range(5)]
        assert [lease.kind for lease in leases] == [FULL, REUSED, REUSED, REUSED, REUSED]
        assert leases[0].connect_s > 0
        assert all(lease.connect_s == 0 for lease in leases[1:])
        for lease in leases:
            pool.release(lease)
            assert lease.connection.closed is None
        await echoed(leases[-1])

    assert play(authority, server_files, scenario, TlsPolicy.PERSISTENT).handshakes == {FULL: 1}


def test_calls_that_wait_together_share_one_handshake(authority: Authority, server_files: CertificateFiles) -> None:
    opened: list[Connection] = []

    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        leases = await asyncio.gather(*(pool.acquire(key) for key in range(50)))
        assert Counter(lease.kind for lease in leases) == {FULL: 1, REUSED: 49}
        assert len({lease.connection for lease in leases}) == 1
        assert all(lease.connect_s > 0 for lease in leases)
        await echoed(leases[0])

    server = play(authority, server_files, scenario, TlsPolicy.PERSISTENT, on_open=opened.append)
    assert server.handshakes == {FULL: 1}
    assert len(opened) == 1


def test_a_pool_spreads_calls_over_its_connections(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        leases = await asyncio.gather(*(pool.acquire(key) for key in range(12)))
        per_connection = Counter(lease.connection for lease in leases)
        assert sorted(per_connection.values()) == [4, 4, 4]
        for lease in leases[:3]:
            await echoed(lease)

    assert play(authority, server_files, scenario, TlsPolicy.POOL, size=3).handshakes == {FULL: 3}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_per_call_resumes_only_when_asked(
    authority: Authority, server_files: CertificateFiles, version: TlsVersion
) -> None:
    kinds: list[ConnectionKind] = []

    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        for key, resume in enumerate([True, True, False, True]):
            lease = await pool.acquire(key, resume)
            kinds.append(lease.kind)
            await echoed(lease)
            pool.release(lease)
            await lease.connection.wait_closed()

    server = play(authority, server_files, scenario, TlsPolicy.PER_CALL, version=version)
    assert kinds == [FULL, RESUMED, FULL, RESUMED]  # the first had nothing to resume yet
    assert server.handshakes == {FULL: 2, RESUMED: 2}


def test_a_session_is_kept_while_newer_connections_have_none_yet(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        await echoed(await pool.acquire(0))
        await pool.acquire(1)  # has not been sent a ticket yet
        assert (await pool.acquire(2, resume=True)).kind is RESUMED

    play(authority, server_files, scenario, TlsPolicy.PER_CALL)


def test_after_an_edge_restart_the_next_call_opens_anew(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario(server: TlsServer, pool: ConnectionPool) -> None:
        before = await pool.acquire(0)
        await echoed(before)
        server.drop_all()
        await before.connection.wait_closed()
        await server.resume()
        leases = await asyncio.gather(*(pool.acquire(key, resume=True) for key in range(10)))
        assert Counter(lease.kind for lease in leases) == {RESUMED: 1, REUSED: 9}
        await echoed(leases[0])

    assert play(authority, server_files, scenario, TlsPolicy.PERSISTENT).handshakes == {FULL: 1, RESUMED: 1}


def test_a_failed_handshake_fails_all_that_waited_and_the_next_call_tries_again(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario(server: TlsServer, pool: ConnectionPool) -> None:
        server.pause()
        outcomes = await asyncio.gather(*(pool.acquire(key) for key in range(5)), return_exceptions=True)
        assert all(isinstance(each, ConnectError) and each.failure is ConnectFailure.REFUSED for each in outcomes)
        await server.resume()
        await echoed(await pool.acquire(5))

    assert play(authority, server_files, scenario, TlsPolicy.PERSISTENT).handshakes == {FULL: 1}


def test_a_call_that_gives_up_leaves_the_handshake_to_the_others(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        first = asyncio.create_task(pool.acquire(0))
        second = asyncio.create_task(pool.acquire(1))
        await asyncio.sleep(0)
        first.cancel()
        await echoed(await second)
        assert first.cancelled()

    assert play(authority, server_files, scenario, TlsPolicy.PERSISTENT).handshakes == {FULL: 1}


def test_a_failure_that_nobody_waits_for_is_not_reported_as_lost(
    authority: Authority, server_files: CertificateFiles
) -> None:
    complaints: list[str] = []

    async def scenario(server: TlsServer, pool: ConnectionPool) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        server.pause()
        call = asyncio.create_task(pool.acquire(0))
        await asyncio.sleep(0)
        call.cancel()

    play(authority, server_files, scenario, TlsPolicy.PERSISTENT)
    assert complaints == []


@pytest.mark.parametrize("policy", list(TlsPolicy))
def test_a_closed_pool_opens_nothing_and_tells_those_that_wait(
    authority: Authority, server_files: CertificateFiles, policy: TlsPolicy
) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        waiting = asyncio.create_task(pool.acquire(0))
        await asyncio.sleep(0)
        await pool.close()
        for call in (waiting, pool.acquire(1)):
            with pytest.raises(LocalNetworkError, match="closed"):
                await call

    play(authority, server_files, scenario, policy)


def test_a_pool_for_calls_that_never_resume_keeps_no_session(
    authority: Authority, server_files: CertificateFiles
) -> None:
    async def scenario(_: TlsServer, pool: ConnectionPool) -> None:
        for key in range(3):
            lease = await pool.acquire(key)
            assert lease.kind is FULL
            await echoed(lease)
            pool.release(lease)
            await lease.connection.wait_closed()
        # Asked all the same, it has only what the newest connection was given.
        assert (await pool.acquire(3, resume=True)).kind is RESUMED

    server = play(authority, server_files, scenario, TlsPolicy.PER_CALL, resumes=False)
    assert server.handshakes == {FULL: 3, RESUMED: 1}
