"""The waiting of an HTTP exchange: who receives, who sends, who watches the client."""
