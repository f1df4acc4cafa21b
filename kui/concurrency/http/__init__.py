"""The waiting of an HTTP exchange: which task receives, which sends, which watches the client."""
