#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a packet capture says about the conversations of one interface.

  oracle.py total PCAP                 prints: packets bytes not-IP-packets
  oracle.py compare PCAP ROWS PORT     ROWS (JSON of the flows of that host, see
                                       test_three_hosts.sh) must have exactly
                                       the conversations of the capture, with
                                       its packets and bytes each way. TCP to
                                       PORT, the probe's own connection, goes
                                       on after the last record: its rows may
                                       have less, never more.

Independent of weir on purpose: it shares no code and reads the file itself.
A conversation is known by protocol, both ends and, for ICMP, what tells
messages apart: (type of the request, identifier) of queries, (type, code) of
the rest. Fragments after the first belong to the conversation of the first.
"""
import ipaddress
import json
import struct
import sys
from collections import defaultdict

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
ICMP_REQUEST = {(ICMP, 0): 8, (ICMP, 8): 8, (ICMPV6, 129): 128, (ICMPV6, 128): 128}
IPV6_OPTIONS = (0, 43, 60)  # hop-by-hop, routing, destination options
IPV6_FRAGMENT = 44


def packets(path):
    """Yields (captured bytes, length on the wire) of every packet."""
    with open(path, "rb") as file:
        magic = struct.unpack("<I", file.read(24)[:4])[0]
        if magic not in (0xA1B2C3D4, 0xA1B23C4D):
            sys.exit(f"{path}: not a little-endian pcap file")
        while header := file.read(16):
            _, _, captured, length = struct.unpack("<IIII", header)
            yield file.read(captured), length


def ipv6_payload(data):
    """Walks the extension headers: (protocol, rest, first fragment or whole, datagram's id)."""
    proto, rest, first, ident = data[6], data[40:], True, None
    while proto in IPV6_OPTIONS or proto == IPV6_FRAGMENT:
        if proto == IPV6_FRAGMENT:
            first = struct.unpack(">H", rest[2:4])[0] >> 3 == 0
            ident = rest[4:8]
            proto, rest = rest[0], rest[8:]
            if not first:
                break
        else:
            proto, rest = rest[0], rest[(rest[1] + 1) * 8 :]
    return proto, rest, first, ident


def ip_parts(frame):
    """(protocol, source, destination, rest, first fragment or whole, datagram's id) or None."""
    ethertype = struct.unpack(">H", frame[12:14])[0]
    ip = frame[14:]
    if ethertype == 0x0800:
        first = struct.unpack(">H", ip[6:8])[0] & 0x1FFF == 0
        return ip[9], ip[12:16], ip[16:20], ip[(ip[0] & 15) * 4 :], first, ip[4:6]
    if ethertype == 0x86DD:
        proto, rest, first, ident = ipv6_payload(ip)
        return proto, ip[8:24], ip[24:40], rest, first, ident
    return None


def conversation(frame, datagrams):
    """(key, sender) of an IP packet, None of anything else. datagrams: first fragments' keys."""
    parts = ip_parts(frame)
    if parts is None:
        return None
    proto, src, dst, rest, first, ident = parts
    src, dst = str(ipaddress.ip_address(src)), str(ipaddress.ip_address(dst))
    sport = dport = 0
    icmp = (0, 0, 0) if proto in (ICMP, ICMPV6) else None
    if first and proto in (TCP, UDP, SCTP):
        sport, dport = struct.unpack(">HH", rest[:4])
    elif first and icmp:
        kind, code = rest[0], rest[1]
        request = ICMP_REQUEST.get((proto, kind))
        icmp = (kind, code, 0)
        if request:
            icmp = (request, 0, struct.unpack(">H", rest[4:6])[0])
    key = (proto, tuple(sorted([(src, sport), (dst, dport)])), icmp)
    if first:
        datagrams[proto, src, dst, ident] = key
    return datagrams.get((proto, src, dst, ident), key), src


def capture_counts(path):
    """{key: {sender: [packets, bytes]}}, [packets, bytes, packets that are not IP]"""
    counts = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    total = [0, 0, 0]
    datagrams = {}
    for frame, length in packets(path):
        total[0] += 1
        total[1] += length
        found = conversation(frame, datagrams)
        if found is None:
            total[2] += 1
            continue
        key, sender = found
        counts[key][sender][0] += 1
        counts[key][sender][1] += length
    return counts, total


def row_counts(path):
    """The same of weir's rows."""
    counts = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    for row in rows:
        src, dst = (row["src_addr"], row["src_port"]), (row["dst_addr"], row["dst_port"])
        icmp = None
        if row["proto"] in (ICMP, ICMPV6):
            icmp = (row["icmp_type"], row["icmp_code"], row["icmp_id"])
        key = (row["proto"], tuple(sorted([src, dst])), icmp)
        for sender, n, size in (
            (src[0], row["packets"], row["bytes"]),
            (dst[0], row["rev_packets"], row["rev_bytes"]),
        ):
            if n:
                counts[key][sender][0] += n
                counts[key][sender][1] += size
    return counts


def is_own(key, port):
    proto, ends, _ = key
    return proto == TCP and port in (ends[0][1], ends[1][1])


def differs(key, wire, rows, port):
    if is_own(key, port):
        return any(rows[s][0] > wire[s][0] or rows[s][1] > wire[s][1] for s in rows)
    return wire != rows


def compare(pcap, rows_path, port):
    wire, total = capture_counts(pcap)
    rows = row_counts(rows_path)
    wrong = 0
    for key in sorted(wire.keys() | rows.keys(), key=str):
        if differs(key, wire[key], rows[key], port):
            wrong += 1
            print(f"{key}: wire {dict(wire[key])}, weir {dict(rows[key])}")
    print(f"{len(wire)} conversations, {total[0]} packets, {total[1]} bytes: {wrong} differ")
    return 1 if wrong or not wire else 0


def main():
    if sys.argv[1] == "total":
        print(*capture_counts(sys.argv[2])[1])
        return 0
    return compare(sys.argv[2], sys.argv[3], int(sys.argv[4]))


sys.exit(main())
