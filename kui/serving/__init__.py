"""Serving: addresses, connections, stages, processes.

binding, importing   what can be wrong before anything runs: addresses, certificates, the app's name
server               `kui.serve`
runner               one server from start to end, and the server's side of the lifespan
access, proxies      the access log; what trusted proxies say of a client
process              `kui.run`: a process, its signals, its last deadline
workers, reload      several processes, and one that is started anew

A connection, from the socket up:

pipes                what a connection needs of its socket, on every loop: `Pipe`
pipe_trio            it on trio, and accepting; a request runs in its connection's task
readable_trio        waiting until a socket can be read, there
pipe_asyncio         it on asyncio and uvloop, and accepting; each request in a task of its own
tasks_asyncio        the tasks of requests, there
burst                small parts of a response that follow one another at once
accepting, timing    what accepting has in common; the one timer of a server
tls                  TLS as a pipe over another one
state                what the connections of a server share: the app, limits, `run_app`
responses            the states of a response, for every version of HTTP
http1, http1_request, http1_response  HTTP/1.1 without a socket: requests that come in, responses that go out
connection, cycle    one connection of it, and the receive and send of one of its requests
upgrade, websocket   the handshake of a WebSocket over HTTP/1.1; a WebSocket
listening            a server on bound sockets, from listening to its last connection

"""
