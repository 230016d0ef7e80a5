"""The audio of calls: RTP, SRTP and RTCP, the identity of each call in its audio, and the pump that sends and receives.

Every call sends one packet each 20 ms in each direction. `stream` knows what a packet holds and counts what came.
`pump` decides when packets move: the compiled pump for thousands of calls, the plain one for a few hundred.
"""
