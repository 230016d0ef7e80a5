"""SIPp 3.8 as the answerer of everybody's calls, and as the caller that ours is compared with."""
