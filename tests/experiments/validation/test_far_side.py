"""Records of both ends of the same calls, joined by what names a call on both sides of a trunk."""

from __future__ import annotations

from trunkproof.experiments.validation.far_side import join_far_end
from trunkproof.models.records import Direction, Disposition, Record, to_frame


def record(row: int, call_id: str | None, disposition: Disposition = Disposition.COMPLETED, **values: float) -> Record:
    return Record(
        row=row,
        call=abs(row),
        attempt=0,
        trunk="t",
        direction=Direction.OUTBOUND,
        disposition=disposition,
        intended_s=0.0,
        call_id=call_id,
        **values,  # type: ignore[arg-type]
    )


def test_a_call_id_joins_first_and_a_row_where_a_pbx_has_made_another() -> None:
    near = [
        record(0, "a@x"),
        record(1, "b@x"),
        record(2, "c@x", Disposition.THROTTLED),
        record(3, None),
        record(-1, "d@x"),
    ]
    far = [
        record(3, "z@pbx", Disposition.MEDIA_FAILED, rtp_lost=7),
        record(9, "a@x", rtp_lost=5),
        record(1, "y@pbx"),
        record(-1, "w@pbx", Disposition.NOT_FOUND),
    ]
    both = join_far_end(to_frame(near), to_frame(far))
    assert both.joined["joined_by"].to_list() == ["call_id", "row", None, "row", None]
    assert both.joined["far_rtp_lost"].to_list() == [5, 0, None, 7, None]
    assert both.joined["far_disposition"].to_list() == ["completed", "completed", None, "media_failed", None]
    assert both.only_far["call_id"].to_list() == ["w@pbx"]
    assert both.matched == 3


def test_what_stands_twice_tells_no_call() -> None:
    near = [record(4, "same@x"), record(4, "same@x")]
    both = join_far_end(to_frame(near), to_frame([record(4, "same@x")]))
    assert (both.matched, both.only_far.height) == (0, 1)
    assert join_far_end(to_frame([]), to_frame([])).matched == 0
