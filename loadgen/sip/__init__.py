"""SIP without input or output (RFC 3261): messages, SDP with SDES, transactions, dialogs, and the endpoint over them.

Callers and answerers use `endpoint.SipEndpoint`. `parser.StreamParser` turns bytes into the messages that it takes.
No module here opens a socket or reads a clock.
"""
