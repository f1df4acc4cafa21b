"""The server: addresses, connections, the stages of a stop, processes.

binding, importing   checks before anything runs: addresses, certificates, the app's name
server               `kui.serve`
runner               one server from start to end, and the server's side of the lifespan
access, proxies      the access log; the headers of trusted proxies
process              `kui.run`: a process, its signals, its final deadline
workers, reload      several processes; restarting when a file changes

A connection, from the socket up:

pipes                `Pipe`, the interface to a socket on every loop
pipe_trio            the pipe on trio, and accepting; a request runs in its connection's task
readable_trio        waiting on trio until a socket can be read
pipe_asyncio         the pipe on asyncio and uvloop, and accepting; each request runs in a task of its own
tasks_asyncio        the tasks of requests on asyncio
burst                joining small parts of a response into one packet
accepting, timing    accepting on both loops; the only timer of a server
tls                  TLS as a pipe over another pipe
state                what the connections of a server share: the app, limits, `run_app`
responses            the states of a response, for every version of HTTP
http1, http1_request, http1_response  HTTP/1.1 without a socket: parsing requests, writing responses
connection, cycle    one HTTP/1.1 connection; the `receive` and `send` of one of its requests
upgrade, websocket   the handshake of a WebSocket over HTTP/1.1; a WebSocket
listening            a server on bound sockets, from listening to its last connection

"""
