"""What can be wrong between a caller and a trunk, as values: the connection's certificate and alert, and the audio.

Real calls note them beside the words that people read, so that a remedy, a table or a page need not read these words.
SIP has its own: the disposition, the status and the Q.850 cause of `models.records`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class CertificateFault(StrEnum):
    """Why we did not accept the certificate of a peer."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    """Its first day is still to come, or our clock is behind."""
    WRONG_NAME = "wrong name"
    """It is valid, but for another host (RFC 5922 section 7)."""
    SELF_SIGNED = "self-signed"
    """No authority has signed it, or the chain ends in one that we do not trust."""
    UNKNOWN_AUTHORITY = "unknown authority"
    """We do not know who signed it, or a certificate of the chain is missing."""
    OTHER = "not acceptable"


class TlsAlert(IntEnum):
    """The fatal alerts with which a peer ends TLS (RFC 8446 section 6.2)."""

    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    HANDSHAKE_FAILURE = 40
    NO_CERTIFICATE = 41
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112
    CERTIFICATE_REQUIRED = 116


class AudioFault(StrEnum):
    """What was wrong with the audio of an answered call."""

    OURS = "our own audio failed"
    PLAIN_RTP = "plain RTP where SRTP was agreed"
    NOT_AUTHENTIC = "packets that are not authentic"
    FOREIGN = "another call's audio"
    ONE_WAY = "no audio came back"
    SILENT = "audio stopped for more than 2 s"
    WRONG_TYPE = "a payload type that was not agreed"
    NO_ECHO = "audio that is not our own came back from an echo"
    UNSENT = "our packets could not be sent"
