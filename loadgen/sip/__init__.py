"""SIP without input or output (RFC 3261): messages, SDP with SDES, transactions, dialogs, and the endpoint over them.

`endpoint.SipEndpoint` is what callers and answerers use; `parser.StreamParser` feeds it. Nothing here opens a socket.
"""
