# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""flood.py ADDR PORT N: opens N connections that say nothing, says "begun", and keeps as many open
as it can until it is ended: one that the other end closes is opened again.
"""

import resource
import select
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
    poll = select.epoll()
    connections = {}
    for _ in range(n):
        sock = connect(addr, port)
        connections[sock.fileno()] = sock
        poll.register(sock, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
    print("begun", flush=True)
    while True:
        for fd, _ in poll.poll(0.5, 1000):
            connections.pop(fd).close()
            time.sleep(0.001)  # a host has only so many ports
            sock = connect(addr, port)
            connections[sock.fileno()] = sock
            poll.register(sock, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)


main()
