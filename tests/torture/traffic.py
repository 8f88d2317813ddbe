# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Traffic whose every packet is known: traffic.py send ADDR PORT RATE FLOWS SECONDS | sink ADDR PORT

send: UDP, RATE packets a second over FLOWS sockets, each of which lives a second or two, until
SIGTERM or SECONDS have passed. Then it prints how many packets left each source port, as JSON.
sink: takes them and says nothing.
"""

import json
import resource
import signal
import socket
import sys
import time

stopped = False


def stop(*_):
    global stopped
    stopped = True


def send(addr, port, rate, flows, seconds):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sent = {}
    sockets = []
    end = time.monotonic() + seconds
    due = time.monotonic()
    number = 0
    while not stopped and time.monotonic() < end:
        if len(sockets) < flows or number % max(1, rate // flows) == 0:
            if len(sockets) >= flows:
                sockets.pop(0).close()
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect((addr, port))
            sockets.append(sock)
        sock = sockets[number % len(sockets)]
        number += 1
        try:
            sock.send(b"x" * (number % 900))
            source = sock.getsockname()[1]
            sent[source] = sent.get(source, 0) + 1
        except OSError:
            pass  # it did not leave
        due += 1 / rate
        pause = due - time.monotonic()
        if pause > 0.002:
            time.sleep(pause)
        elif pause < -1:
            due = time.monotonic()
    for sock in sockets:
        sock.close()
    print(json.dumps({"packets": sum(sent.values()), "by_port": sent}))


def sink(addr, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((addr, port))
    print("ready", flush=True)
    while not stopped:
        time.sleep(0.2)


def main():
    signal.signal(signal.SIGTERM, stop)
    addr, port = sys.argv[2], int(sys.argv[3])
    if sys.argv[1] == "sink":
        sink(addr, port)
    else:
        send(addr, port, *(int(word) for word in sys.argv[4:7]))


main()
