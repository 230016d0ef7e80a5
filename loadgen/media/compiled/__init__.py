"""The media pump as machine code: what `loadgen.media` counts and sends, for thousands of calls in a thread of its own.

It calls the C functions of libsrtp and of the C library by their addresses, and gives the same reports as plain Python.
"""
