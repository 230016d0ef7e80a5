"""The audio of calls: RTP, SRTP and RTCP, the identity of each call in its audio, and the pump that sends and
receives.
"""
