#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Small peers that make traffic for the system tests.

  peers.py dns ADDR PORT           answers every question with 192.0.2.1
  peers.py sink ADDR PORT          reads TCP connections to their end
  peers.py send ADDR PORT BYTES    sends to a sink, then prints what the kernel
                                   counted for this connection, as JSON
  peers.py echo ADDR PORT          sends back what it gets, on any connection
  peers.py ask ADDR PORT TIMES     so many short questions to an echo, one after
                                   the other, then the same JSON
  peers.py stranger ADDR PORT      speaks HTTP, then ZeroMQ without a key, to a
                                   collector; fails unless it is cut off
"""
import json
import socket
import struct
import sys
import threading

# struct tcp_info of linux/tcp.h: offset and struct code of what we read.
TCP_INFO = {
    "rtt_us": (68, "I"),
    "min_rtt_us": (148, "I"),
    "total_retrans": (100, "I"),
    "segs_out": (136, "I"),
    "segs_in": (140, "I"),
}

SO_MAX_PACING_RATE = 47
PACING_BYTES_PER_SECOND = 100_000_000


def family(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def dns(addr, port):
    sock = socket.socket(family(addr), socket.SOCK_DGRAM)
    sock.bind((addr, port))
    while True:
        query, peer = sock.recvfrom(512)
        end = query.index(0, 12) + 5  # name, its end, type and class
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])
        header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
        sock.sendto(header + query[12:end] + answer, peer)


def sink(addr, port):
    listener = socket.socket(family(addr), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((addr, port))
    listener.listen()
    while True:
        conn, _ = listener.accept()
        with conn:
            while conn.recv(1 << 20):
                pass


def send(addr, port, size):
    sock = socket.create_connection((addr, port), timeout=60)
    # Slower than the backlog of the other end, so that only the test loses packets.
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, PACING_BYTES_PER_SECOND)
    block = bytes(1 << 16)
    while size > 0:
        sock.sendall(block[:size])
        size -= len(block)
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)  # the sink has read it all and closed, too
    print_tcp_info(sock)


def print_tcp_info(sock):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    counts = {name: struct.unpack_from(code, info, at)[0] for name, (at, code) in TCP_INFO.items()}
    counts["port"] = sock.getsockname()[1]
    print(json.dumps(counts))


def echo_to(conn):
    with conn:
        while data := conn.recv(1 << 16):
            conn.sendall(data)


def echo(addr, port):
    listener = socket.create_server((addr, port), family=family(addr))
    while True:
        threading.Thread(target=echo_to, args=(listener.accept()[0],), daemon=True).start()


def ask(addr, port, times):
    sock = socket.create_connection((addr, port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(times):
        sock.sendall(b"how far is it to you?")
        sock.recv(1 << 16)
    print_tcp_info(sock)


def expect_cut(sock):
    """The other end closes, whatever it says before."""
    sock.settimeout(60)
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass


def stranger(addr, port):
    with socket.create_connection((addr, port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")  # not even ZeroMQ
        expect_cut(sock)
    with socket.create_connection((addr, port), timeout=60) as sock:
        # ZMTP 3.0 (rfc.zeromq.org/spec/23), NULL mechanism, as a DEALER; a message at once.
        sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL".ljust(55, b"\0"))
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        sock.sendall(bytes([4, len(ready)]) + ready + b"\x00\x05hello")
        expect_cut(sock)


def main():
    command, addr, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if command == "dns":
        dns(addr, port)
    elif command == "sink":
        sink(addr, port)
    elif command == "echo":
        echo(addr, port)
    elif command == "ask":
        ask(addr, port, int(sys.argv[4]))
    elif command == "stranger":
        stranger(addr, port)
    else:
        send(addr, port, int(sys.argv[4]))


main()
