"""What stands around `kui.server`: addresses, stages, processes. Nothing here knows a loop by name.

binding, importing   what can be wrong before anything runs: addresses, certificates, the app's name
runner               one server from start to end, and the server's side of the lifespan
http2, access        what is added to hypercorn's protocols, and the access log
process              `kui.run`: a process, its signals, its last deadline
workers, reload      several processes, and one that is started anew
"""
