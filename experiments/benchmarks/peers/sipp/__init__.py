"""SIPp 3.8 as the answerer of all calls, and as the caller that ours is compared with."""
