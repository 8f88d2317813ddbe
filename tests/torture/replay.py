# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Bytes of a connection, kept and said again.

replay.py record LISTEN_PORT PORT FILE: passes one connection on to PORT and keeps what its client
says, until SIGTERM.  replay.py again PORT FILE: says it to PORT, ten times, and waits a moment.
"""

import select
import signal
import socket
import sys
import time

HOST = "127.0.0.1"


def record(listen_port, port, path):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.create_server((HOST, listen_port))
    print("ready", flush=True)
    client, _ = listener.accept()
    server = socket.create_connection((HOST, port))
    with open(path, "wb", buffering=0) as f:
        while True:
            for sock in select.select([client, server], [], [])[0]:
                data = sock.recv(1 << 16)
                if not data:
                    return
                if sock is client:
                    f.write(data)
                (server if sock is client else client).sendall(data)


def again(port, path):
    with open(path, "rb") as f:
        said = f.read()
    for _ in range(10):
        with socket.create_connection((HOST, port)) as sock:
            try:
                sock.sendall(said)
                sock.settimeout(1)
                while sock.recv(1 << 16):
                    pass
            except OSError:
                pass  # it does not listen to us
        time.sleep(0.1)
    print(len(said))


def main():
    if sys.argv[1] == "record":
        record(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        again(int(sys.argv[2]), sys.argv[3])


main()
