"""The media pump as machine code, for thousands of calls, in a thread of its own.

It sends, checks and counts what `loadgen.media` does in plain Python, and gives the same reports. It calls C functions
of libsrtp, OpenSSL and the C library by their addresses. Begin to read in `loop`.
"""
