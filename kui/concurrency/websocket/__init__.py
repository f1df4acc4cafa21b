"""The waiting of a WebSocket: which task receives, which sends, which keeps the connection alive."""
