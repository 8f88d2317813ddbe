#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A long cable: hands every frame from one interface to another, later.

  delay_link.py IFACE IFACE MS     both ways, MS milliseconds each way

For kernels without netem. A frame leaves MS after the kernel took it in, by the
kernel's own stamp, so that this process being late is no extra delay until it is
later than MS. Prints "ready" when it listens. Needs interfaces without offloads.
"""
import collections
import os
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_TIMESTAMPNS = 35
FRAME_BYTES = 9216


def listen(iface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((iface, 0))
    sock.setblocking(False)
    return sock


def take_in(sock, queue, delay_ns):
    while True:
        try:
            frame, control, _, addr = sock.recvmsg(FRAME_BYTES, 64)
        except BlockingIOError:
            return
        if addr[2] == PACKET_OUTGOING:
            continue
        stamp = next((data for _, kind, data in control if kind == SO_TIMESTAMPNS), None)
        came_ns = time.time_ns()
        if stamp:
            seconds, ns = struct.unpack("qq", stamp)
            came_ns = seconds * 10**9 + ns
        queue.append((came_ns + delay_ns, frame))


def send_due(queue, sock):
    """Seconds until the next frame is due, None if there is none."""
    while queue:
        left_ns = queue[0][0] - time.time_ns()
        if left_ns > 0:
            return left_ns / 1e9
        sock.send(queue.popleft()[1])
    return None


def main():
    ends = [listen(sys.argv[1]), listen(sys.argv[2])]
    delay_ns = int(sys.argv[3]) * 10**6
    queues = [collections.deque(), collections.deque()]
    os.nice(-20)
    print("ready", flush=True)
    while True:
        waits = [send_due(queues[0], ends[1]), send_due(queues[1], ends[0])]
        timeout = min((w for w in waits if w is not None), default=None)
        readable, _, _ = select.select(ends, [], [], timeout)
        for end in readable:
            i = ends.index(end)
            take_in(end, queues[i], delay_ns)


main()
