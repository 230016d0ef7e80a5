"""Offer and answer of one dialog: what stands while an offer is open, and after it."""

from __future__ import annotations

from trunkproof.loadgen.sip.exchange import Exchange, OfferState


def test_rfc3264_4_an_answer_closes_the_offer_of_either_side() -> None:
    ours = Exchange()
    ours.offer(b"offer")
    assert (ours.state, ours.local) == (OfferState.OFFERED, b"")
    ours.answered(b"answer")
    assert (ours.state, ours.local, ours.remote) == (OfferState.STABLE, b"offer", b"answer")
    theirs = Exchange()
    theirs.ask(b"offer")
    assert theirs.state is OfferState.ASKED
    theirs.answer(b"answer")
    assert (theirs.state, theirs.local, theirs.remote) == (OfferState.STABLE, b"answer", b"offer")


def test_rfc3264_8_an_offer_that_comes_to_nothing_changes_nothing() -> None:
    exchange = Exchange(local=b"ours", remote=b"theirs")
    exchange.offer(b"hold")
    exchange.withdraw()
    assert (exchange.state, exchange.local, exchange.remote) == (OfferState.STABLE, b"ours", b"theirs")
