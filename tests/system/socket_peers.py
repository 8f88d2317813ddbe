#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Processes whose sockets the system tests know, one line "port pid" for each.

  socket_peers.py echo ADDR PORT         answers over TCP and UDP, one process
  socket_peers.py curls ADDR PORT COUNT  so many times curl, each for one page
  socket_peers.py shots ADDR PORT COUNT  so many processes, each for one datagram
  socket_peers.py midway ADDR PORT FILE  TCP and UDP exchanges that go on when FILE
                                         is there; "tcp-port udp-port pid"
  socket_peers.py deaf ADDR PORT         a UDP socket that holds little, never read
  socket_peers.py busy ADDR PORT         listens, accepts nothing
  socket_peers.py knock ADDR PORT COUNT  so many connections at once, given up after 2 s
"""
import os
import selectors
import socket
import subprocess
import sys
import time


def listen(addr, port, backlog=128):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((addr, port))
    sock.listen(backlog)
    return sock


def datagrams(addr, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((addr, port))
    return sock


def echo(addr, port):
    listener, udp = listen(addr, port), datagrams(addr, port)
    ready = selectors.DefaultSelector()
    for sock in (listener, udp):
        ready.register(sock, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            sock = key.fileobj
            if sock is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
            elif sock is udp:
                udp.sendto(*udp.recvfrom(2048))
            elif data := sock.recv(2048):
                sock.sendall(data)
            else:
                ready.unregister(sock)
                sock.close()


def curls(addr, port, count):
    command = ["curl", "-s", "-m", "30", "-o", "/dev/null", "-w", "%{local_port}", f"http://{addr}:{port}/"]
    for _ in range(count):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
            print(curl.stdout.read(), curl.pid)


def shot(addr, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"one", (addr, port))
    print(sock.getsockname()[1], os.getpid(), flush=True)
    os._exit(0)


def shots(addr, port, count):
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            shot(addr, port)
        os.waitpid(pid, 0)


def midway(addr, port, path):
    tcp = socket.create_connection((addr, port), timeout=60)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(60)
    udp.connect((addr, port))
    peers = (tcp, udp)
    for sock in peers:
        sock.send(b"before")
        sock.recv(100)
    print(tcp.getsockname()[1], udp.getsockname()[1], os.getpid(), flush=True)
    while not os.path.exists(path):
        time.sleep(0.05)
    for sock in peers:
        sock.send(b"after")
        sock.recv(100)


def deaf(addr, port):
    sock = datagrams(addr, port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
    print("ready", flush=True)
    time.sleep(3600)


def busy(addr, port):
    listener = listen(addr, port, 1)
    print("ready", flush=True)
    time.sleep(3600)
    listener.close()


def knock(addr, port, count):
    socks = []
    for _ in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((addr, port))
        socks.append(sock)
    time.sleep(2)


def main():
    command, addr, port, *rest = sys.argv[1:]
    arguments = [int(a) if a.isdigit() else a for a in rest]
    globals()[command](addr, int(port), *arguments)


main()
