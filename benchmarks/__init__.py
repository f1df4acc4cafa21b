"""How fast Kui is, beside a bare ASGI function and its peers: `python3 benchmarks/run.py`."""
