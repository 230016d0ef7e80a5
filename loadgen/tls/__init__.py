"""TLS connections: an engine without sockets, connections on asyncio, pools of them, and certificates."""
