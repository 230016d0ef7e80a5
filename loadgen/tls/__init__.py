"""TLS connections: the engine without sockets, connections on asyncio, pools of them, certificates."""
