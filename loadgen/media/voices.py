"""Whose voice one side of a call hears, and after how long its own comes back."""

from __future__ import annotations

from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.tones import CYCLE, ToneReader
from trunkproof.loadgen.media.voiceprint import Side, Voice, classify, read_frame
from trunkproof.models.speech import Voiceprint

TIMED_FRAMES = 128
"""Frames whose sending is remembered, to time those that come back: 2.56 s, far more than people can talk across."""


class Voices:
    """The voices that the listener of the call of one plan row hears, by the voiceprint of the call."""

    def __init__(self, listener: Side, row: int, voiceprint: Voiceprint) -> None:
        self._listener, self._row = listener, row
        self._tones = ToneReader(listener, row) if voiceprint is Voiceprint.TONES else None
        self.counts = dict.fromkeys(Voice, 0)
        self._sent_at = [0.0] * TIMED_FRAMES
        """When each of our last frames was sent, by its number."""
        self._round_trips_s, self._timed = 0.0, 0
        """The sum of the times in which our frames came back, and of how many."""

    def note_sent(self, number: int, at: float) -> None:
        """Note when our frame of that number was sent."""
        self._sent_at[number % TIMED_FRAMES] = at

    @property
    def round_trip_ms(self) -> float | None:
        """Return the mean time in which our frames came back, or None where none did."""
        return 1000 * self._round_trips_s / self._timed if self._timed else None

    def hear(self, packet: RtpPacket, law: int, arrival: float, sent: int) -> None:
        """Take a packet of voice in A-law or mu-law that came when `sent` frames of ours were sent."""
        if self._tones is not None:
            for told in self._tones.read(packet.payload, law, packet.timestamp):
                self.counts[told.voice] += told.frames
                if told.voice is Voice.OWN_ECHO and told.frame is not None:
                    # Of the frames with that place in the cycle, the one that was sent last.
                    self._time(sent - 1 - (sent - 1 - told.frame) % CYCLE, arrival + told.offset_s, sent)
            return
        frame = read_frame(packet.payload)
        voice = classify(frame, listener=self._listener, row=self._row)
        self.counts[voice] += 1
        if frame is not None and voice is Voice.OWN_ECHO:
            self._time(frame.number, arrival, sent)

    def _time(self, number: int, arrival: float, sent: int) -> None:
        if number >= 0 and 0 < sent - number <= TIMED_FRAMES:
            self._round_trips_s += arrival - self._sent_at[number % TIMED_FRAMES]
            self._timed += 1
