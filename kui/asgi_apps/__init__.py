"""What is an ASGI application by itself: endpoints, routers, files, WSGI applications, middlewares."""
