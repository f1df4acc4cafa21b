"""ASGI applications that need no `Kui`: endpoints, routers, files, WSGI applications, middlewares."""
