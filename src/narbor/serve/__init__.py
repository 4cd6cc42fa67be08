"""Doors on the wire: the adapter to the HTTP server, a program of its own.

server.py   the process that listens and keeps the workers      (granian)
worker.py   what one worker has: a library, its doors, an App
front.py    HTTP/1.1 without TLS; what is kept in memory is answered there
exchange.py one request and its answer, as h11 has them
app.py      ASGI <-> Request and Answer
ready.py    answers kept in memory while the library stays the same
bodies.py   an iterator read in threads, one piece ahead
metrics.py  what is counted      (prometheus)
listening.py  addresses, certificates
"""
