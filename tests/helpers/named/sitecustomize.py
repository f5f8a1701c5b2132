"""Python runs this at its start where the folder is on PYTHONPATH: NAMES="alpha=127.0.0.2 beta=127.0.0.3" are known."""
import os
import socket

KNOWN = dict(item.split("=") for item in os.environ.get("NAMES", "").split())
_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *more, **named):
    return _getaddrinfo(KNOWN.get(host, host), *more, **named)


socket.getaddrinfo = getaddrinfo
