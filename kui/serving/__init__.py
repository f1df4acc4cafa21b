"""What stands around `kui.server`: addresses, stages, processes. Nothing here knows a loop by name.

binding, importing   what can be wrong before anything runs: addresses, certificates, the app's name
runner               one server from start to end, and the server's side of the lifespan
connection, http2    a connection as hypercorn serves it, put right; windows for HTTP/2
access               the access log
process              `kui.run`: a process, its signals, its last deadline
workers, reload      several processes, and one that is started anew
"""
