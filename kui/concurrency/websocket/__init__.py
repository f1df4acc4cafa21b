"""The waiting of a WebSocket: who receives, who sends, who keeps the connection alive."""
