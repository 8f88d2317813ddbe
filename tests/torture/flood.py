# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""flood.py ADDR PORT N: opens N connections that say nothing, says "begun", and keeps them until
it is ended. What the other end closes stays closed.
"""

import resource
import socket
import sys
import time


def connect(addr, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.connect_ex((addr, port))
    return sock


def main():
    addr, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + 1000, n + 1000))
    connections = [connect(addr, port) for _ in range(n)]
    print("begun", flush=True)
    while connections:
        time.sleep(60)


main()
