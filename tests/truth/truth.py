#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""truth.py - replays captures and compares the records with what tshark made of them.

    truth.py --probe build/weir-probe --results build/results CAPTURES

CAPTURES is a folder of FILE (pcap or pcapng), FILE.flows.csv (packets and bytes of each
conversation) and FILE.gt.json (tshark's TCP analysis). Conversations, packets and bytes must
be equal. Every other measure is, conversation by conversation,
    equal      to tshark's number
    explained  other than tshark's, but what a second source in the same truth says (a rule
               below), or listed in explained.csv beside this script with both numbers
    wrong      else; the exit status is then 3
docs/TRUTH.md explains each kind of difference. Python's standard library only.

A measure is a function of (capture, records) that gives {conversation: [(truth, weir), ...]},
or None if weir does not have it. A rule is a function of (capture, records, conversation,
[(truth, weir), ...]). To add a measure, write it and name it in MEASURES with its rules.
"""
import argparse
import collections
import csv
import ipaddress
import json
import os
import platform
import re
import subprocess
import sys

EXIT_CHECK = 3
TCP, PORTS = 6, (6, 17, 132, 136)  # protocols whose ports the truth has
FLAGS = {'fin': 1, 'syn': 2, 'rst': 4, 'psh': 8, 'ece': 64, 'cwr': 128}
RTT_SLACK_US = 1  # both sides round
DNS_TIMEOUT_US = 5000000  # weir's

Side = collections.namedtuple('Side', 'packets bytes')


# --- conversations ----------------------------------------------------------------

def address(text):
    """In one spelling. tshark leaves out what a cut or broken header does not have. An IPv4 address
    in IPv6 (::ffff:1.2.3.4) is the IPv4 address to weir."""
    if not text:
        return ''
    addr = ipaddress.ip_address(text)
    return str(getattr(addr, 'ipv4_mapped', None) or addr)


def key_of(proto, a, a_port, b, b_port):
    """Both directions have one key: (proto, end, end), an end is (address, port)."""
    ends = [(address(a), a_port), (address(b), b_port)]
    if proto not in PORTS:
        ends = [(addr, 0) for addr, _ in ends]
    return (proto, *sorted(ends))


def name_of(key):
    if isinstance(key, str):
        return key
    proto, (a, a_port), (b, b_port) = key
    return f'{proto} {a} {a_port} {b} {b_port}'


class Sides:
    """Packets and bytes by conversation, then by sending end."""

    def __init__(self):
        self.of = collections.defaultdict(lambda: collections.defaultdict(lambda: Side(0, 0)))

    def add(self, key, sender, packets, size):
        if key[0] not in PORTS:
            sender = (sender[0], 0)
        have = self.of[key][sender]
        self.of[key][sender] = Side(have.packets + packets, have.bytes + size)

    def joined(self, pairs):
        """Conversations of these (proto, address, address) made one: ports 0."""
        res = Sides()
        for key, senders in self.of.items():
            join = pair_of(key) in pairs
            for (addr, port), side in senders.items():
                new = (key[0], (key[1][0], 0), (key[2][0], 0)) if join else key
                res.add(new, (addr, 0 if join else port), *side)
        return res

    def counts(self, key):
        return {s: side for s, side in self.of.get(key, {}).items() if side.packets}


def pair_of(key):
    return (key[0], key[1][0], key[2][0])


def fragment_pairs(*tables):
    """Later fragments have no ports in the truth; in weir they are part of the first's flow."""
    return {pair_of(key) for sides in tables for key in sides.of
            if key[0] in PORTS and key[1][1] == 0 and key[2][1] == 0}


class Capture:
    """The truth of one file."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        with open(path + '.gt.json', encoding='utf-8') as f:
            self.doc = json.load(f)
        self.sides = Sides()
        with open(path + '.flows.csv', encoding='utf-8', newline='') as f:
            for row in csv.DictReader(f):
                self.add_flow(row)

    def add_flow(self, row):
        a, b = (row['a_addr'], int(row['a_port'])), (row['b_addr'], int(row['b_port']))
        key = key_of(int(row['proto'] or 0), *a, *b)
        ends = [(address(addr), port) for addr, port in (a, b)]
        self.sides.add(key, ends[0], int(row['pkts_ab']), int(row['bytes_l2_ab']))
        self.sides.add(key, ends[1], int(row['pkts_ba']), int(row['bytes_l2_ba']))

    def streams(self):
        """{conversation: [(stream, {end: its side of the stream})]}"""
        res = collections.defaultdict(list)
        for stream in self.doc['tcp']:
            ends = []
            for end in (stream['a'], stream['b']):
                addr, port = end.rsplit('|', 1)
                ends.append((address(addr), int(port)))
            sides = {ends[0]: stream.get('A', {}), ends[1]: stream.get('B', {})}
            res[key_of(TCP, *ends[0], *ends[1])].append((stream, sides))
        return res


class Records:
    """What weir-probe makes of the same file."""

    def __init__(self, probe, path):
        run = subprocess.run([probe, 'replay', path], capture_output=True, text=True, check=False)
        if run.returncode not in (0, 1):
            raise RuntimeError(f'{path}: exit status {run.returncode}: {run.stderr.strip()}')
        self.rows = [json.loads(line) for line in run.stdout.splitlines()]
        total = re.search(r'^packets: (\d+) read = (\d+) in flows', run.stderr, re.M)
        if not total:
            raise RuntimeError(f'{path}: {run.stderr.strip()}')
        self.packets, self.in_flows = int(total[1]), int(total[2])
        self.sides = Sides()
        self.by_key = collections.defaultdict(list)
        for row in self.rows:
            src, dst = (row['src_addr'], row['src_port']), (row['dst_addr'], row['dst_port'])
            key = key_of(row['proto'], *src, *dst)
            self.sides.add(key, src, row['total_packets'], row['total_bytes'])
            self.sides.add(key, dst, row['rev_total_packets'], row['rev_total_bytes'])
            self.by_key[key].append(row)

    def by_end(self, key, name):
        """{end: sum of the column name over what it sent}; None if weir has no such column."""
        res = collections.Counter()
        for row in self.by_key.get(key, []):
            for prefix, end in (('', 'src'), ('rev_', 'dst')):
                if prefix + name not in row:
                    return None
                res[row[end + '_addr'], row[end + '_port']] += row[prefix + name] or 0
        return res


# --- measures ---------------------------------------------------------------------

def tcp_counter(truth_of, column):
    """A measure: a counter per direction of TCP conversations."""

    def measure(capture, records):
        res = {}
        for key, streams in capture.streams().items():
            theirs = collections.Counter()
            for _, sides in streams:
                for end, side in sides.items():
                    theirs[end] += truth_of(side)
            ours = records.by_end(key, column)
            if ours is None:
                return None
            if +theirs or +ours:
                res[key] = [(theirs[end], ours[end]) for end in key[1:]]
        return res

    return measure


def tcp_flags(capture, records):
    res = {}
    for key, streams in capture.streams().items():
        theirs, ours = collections.Counter(), collections.Counter()
        for _, sides in streams:
            for end, side in sides.items():
                for flag in side.get('flags', {}):
                    theirs[end] |= FLAGS[flag]
        for row in records.by_key.get(key, []):
            ours[row['src_addr'], row['src_port']] |= row['tcp_flags'] & sum(FLAGS.values())
            ours[row['dst_addr'], row['dst_port']] |= row['rev_tcp_flags'] & sum(FLAGS.values())
        res[key] = [(theirs[end], ours[end]) for end in key[1:]]
    return res


def handshake_rtt(capture, records):
    """To the server, to the client; of the last connection if there were several."""
    res = {}
    for key, streams in capture.streams().items():
        done = [s.get('handshake_us', {}) for s, _ in streams if s.get('established')]
        theirs = done[-1] if done else {}
        ours = next((r for r in records.by_key.get(key, []) if r['rtt_us']), {})
        pairs = [(theirs.get('syn_to_synack', 0), ours.get('rtt_server_us', 0)),
                 (theirs.get('synack_to_ack', 0), ours.get('rtt_client_us', 0))]
        if any(a or b for a, b in pairs):
            res[key] = [(a, a if abs(a - b) <= RTT_SLACK_US else b) for a, b in pairs]
    return res


def dns(capture, records):
    """Of the whole file: queries, and those without an answer."""
    truth = capture.doc['dns'] or {}
    rows = [r for r in records.rows if r['dns_queries'] is not None]
    res = {}
    for name in ('queries', 'unanswered'):
        pair = truth.get(name, 0), sum(r['dns_' + name] or 0 for r in rows)
        if any(pair):
            res['dns ' + name] = [pair]
    return res


def sni(capture, records):
    """Of the whole file, by server name: ClientHellos (weir: flows) in TLS and QUIC."""
    theirs = collections.Counter(capture.doc['tls_sni'] or {})
    theirs.update(capture.doc['quic_sni'] or {})
    ours = collections.Counter(r['tls_sni'] for r in records.rows if r['tls_sni'])
    return {name: [(theirs[name], ours[name])] for name in theirs | ours}


def tshark(name):
    return lambda side: side.get('tshark', {}).get(name, 0)


# --- rules ------------------------------------------------------------------------

def repeats(flags, flag):
    return max(0, flags.get(flag, 0) - 1)


def by_sequence(capture, records, key, _):
    """The truth's own count in sequence space, which knows no clock: what was seen before was
    sent again; what fills a hole was sent again or came late. A FIN without data is in neither:
    of each it may be said."""
    for end in key[1:]:
        again = holes = fins = 0
        for _, sides in capture.streams()[key]:
            side = sides.get(end, {})
            seq, flags = side.get('seq', {}), side.get('flags', {})
            again += seq.get('covered', 0) + seq.get('partial', 0) + repeats(flags, 'syn')
            holes += seq.get('fills_hole', 0)
            fins += flags.get('fin', 0)  # with data they are among the covered
        retrans, late = (records.by_end(key, c)[end] for c in ('retrans_pkts', 'ooo_pkts'))
        if retrans < again or not again + holes <= retrans + late <= again + holes + fins:
            return False
    return True


def by_initial_rtt(capture, _, key, pairs):
    """tshark's own initial RTT: from the last SYN, where the truth's runs from the first."""
    ours = sum(weir for _, weir in pairs)
    return any(abs(ours - s.get('handshake_us', {}).get('tshark_initial_rtt', 0)) <= RTT_SLACK_US
               for s, _ in capture.streams()[key])


def by_repeats(capture, records, key, pairs):
    """A SYN or SYN-ACK came again, says the truth: weir measures from the last, so at most the
    truth's time from the first. A half that nothing was repeated in is equal."""
    last = [s for s in capture.streams()[key] if s[0].get('established')][-1:]
    for stream, sides in last or capture.streams()[key][-1:]:
        addr, port = stream['a'].rsplit('|', 1)
        syns = {end: side.get('flags', {}).get('syn', 0) for end, side in sides.items()}
        client = syns.get((address(addr), int(port)), 0)
        (to_server, ours_server), (to_client, ours_client) = pairs
        if sum(syns.values()) - client > 1:
            return 0 < ours_server <= to_server and 0 < ours_client <= to_client
        if client > 1:
            return 0 < ours_server < to_server and ours_client == to_client
    return False


def by_either_side(capture, records, key, pairs):
    """The truth takes the first ACK of either side for the handshake's last. The server sent
    such a one (data, or a FIN); the client's own came later, within the connection."""
    (to_server, ours_server), (to_client, ours_client) = pairs
    row = next((r for r in records.by_key.get(key, []) if r['rtt_us']), None)
    if not row or ours_server != to_server or not 0 < to_client < ours_client:
        return False
    server = row['dst_addr'], row['dst_port']
    for stream, sides in capture.streams()[key]:
        side = sides.get(server, {})
        if to_server + ours_client <= stream.get('duration_us', 0) + RTT_SLACK_US and \
                side.get('pkts', 0) > side.get('flags', {}).get('syn', 0):
            return True
    return False


def by_clock(capture, records, key, pairs):
    """The capture's time stamps go backwards, says the truth; one of its times is below 0."""
    return any('go backwards' in note for note in capture.doc['notes']) and \
        any(theirs < 0 for theirs, _ in pairs)


def by_vlan(capture, records, key, _):
    """weir has flows of several VLANs or tunnels where tshark has one stream, and they come to
    the same packets."""
    paths = {(r['vlan'], r['tunnel'], r['tunnel_id']) for r in records.by_key.get(key, [])}
    return len(paths) > 1 and records.sides.counts(key) == capture.sides.counts(key)


def by_answers(capture, records, key, pairs):
    """Queries without an answer: the truth has one for each id, weir one for each question, and
    takes an answer after 5 s for none. No more than the queries without an answer in time."""
    doc = capture.doc['dns'] or {}
    asked = dns(capture, records).get('dns queries', [(0, 0)])[0]
    if key != 'dns unanswered' or asked[0] != asked[1]:
        return False
    times = doc.get('latency_us') or {'n': 0, 'p50': 0, 'p95': 0, 'max': 0}
    in_time = next((times['n'] * share for at, share in (('max', 1), ('p95', .94), ('p50', .5))
                    if times[at] < DNS_TIMEOUT_US), 0)
    paths = {(r['vlan'], r['tunnel'], r['tunnel_id']) for r in records.rows}
    if len(paths) > 1:  # the answers may have gone another way: by_vlan
        in_time = 0
    return pairs[0][0] <= pairs[0][1] <= asked[0] - int(in_time)


def by_reused_ports(capture, records, key, pairs):
    """weir names a flow, the truth each ClientHello: the flows of that name are as many
    connections to tshark."""
    keys = {k for k, rows in records.by_key.items() for r in rows if r['tls_sni'] == key}
    streams = capture.streams()
    return pairs[0][1] > 0 and pairs[0][0] <= sum(len(streams.get(k, [])) for k in keys)


MEASURES = {
    'flags': (tcp_flags, []),
    'retrans': (tcp_counter(tshark('retrans_any'), 'retrans_pkts'), [by_sequence, by_vlan]),
    'ooo': (tcp_counter(tshark('out_of_order'), 'ooo_pkts'), [by_sequence, by_vlan]),
    'zero_window': (tcp_counter(tshark('zero_window'), 'zero_windows'), []),
    'handshake_rtt': (handshake_rtt, [by_initial_rtt, by_repeats, by_either_side, by_clock,
                                      by_vlan]),
    'dns': (dns, [by_answers]),
    'sni': (sni, [by_reused_ports]),
}


# --- comparing --------------------------------------------------------------------

class Explained:
    """explained.csv: file, measure, how many conversations differ, both sums, why."""

    def __init__(self, path):
        self.rows, self.used = {}, set()
        with open(path, encoding='utf-8', newline='') as f:
            for row in csv.DictReader(f):
                self.rows[row['file'], row['measure']] = row

    def covers(self, name, measure, differing):
        """The reason, or None."""
        row = self.rows.get((name, measure))
        if not row:
            return None
        self.used.add((name, measure))
        same = [int(row[k]) for k in ('differing', 'tshark', 'weir')] == sums_of(differing)
        return row['reason'] if same else None

    def unused(self, names):
        return [k for k in self.rows if k not in self.used and k[0] in names]


def sums_of(differing):
    pairs = [pair for pairs in differing.values() for pair in pairs]
    return [len(differing), sum(a for a, _ in pairs), sum(b for _, b in pairs)]


EXTENSIONS = {0: 'ipv6.hopopts', 43: 'ipv6.routing', 44: 'ipv6.fraghdr', 60: 'ipv6.dstopts'}


def without_extensions(theirs, ours, protocols):
    """Where tshark knows no transport the truth has the number of the first extension header of
    IPv6. Such a conversation is that of the protocol behind, if weir has one of the same
    addresses, packets and bytes, and tshark has seen such a header."""
    for key in [k for k in theirs.of if EXTENSIONS.get(k[0]) in protocols and k not in ours.of]:
        behind = [k for k in ours.of if k[1:] == key[1:] and k not in theirs.of and
                  k[0] not in PORTS and ours.counts(k) == theirs.counts(key)]
        if len(behind) == 1:
            theirs.of[behind[0]] = theirs.of.pop(key)


def compare_counts(capture, records, total, say):
    """Conversations, packets and bytes. Returns whether all are equal."""
    pairs = fragment_pairs(capture.sides, records.sides)
    theirs, ours = capture.sides.joined(pairs), records.sides.joined(pairs)
    without_extensions(theirs, ours, capture.doc['protocols'])
    exact = exact_packets = 0
    for key in sorted(set(theirs.of) | set(ours.of), key=str):
        truth, weir = theirs.counts(key), ours.counts(key)
        if truth == weir:
            exact += 1
            exact_packets += sum(side.packets for side in truth.values())
        else:
            say(f'conversation {name_of(key)}: truth {plain(truth)} weir {plain(weir)}')
    packets = capture.doc['packets']
    outside = packets - sum(s.packets for k in theirs.of for s in theirs.counts(k).values())
    if records.packets == packets and records.packets - records.in_flows == outside:
        exact_packets += outside
    else:
        say(f'packets outside flows: truth {outside} of {packets}, '
            f'weir {records.packets - records.in_flows} of {records.packets}')
    total['conversations'] += len(theirs.of)
    total['conversations_exact'] += exact
    total['packets'] += packets
    total['packets_exact'] += exact_packets
    return exact == len(set(theirs.of) | set(ours.of)) and exact_packets == packets


def plain(counts):
    return {f'{addr} {port}': tuple(side) for (addr, port), side in counts.items()} or 'nothing'


def compare_measure(name, capture, records, explained, say):
    """Counter of equal, explained, wrong conversations."""
    measure, rules = MEASURES[name]
    found = measure(capture, records)
    res = collections.Counter()
    if found is None:
        return res
    differing = {k: pairs for k, pairs in found.items() if any(a != b for a, b in pairs)}
    res['equal'] = len(found) - len(differing)
    for key, pairs in list(differing.items()):
        rule = next((r for r in rules if r(capture, records, key, pairs)), None)
        if rule:
            res['explained'] += 1
            say(f'{name} {rule.__name__}: {name_of(key)}: truth, weir = {pairs}')
            del differing[key]
    if differing:
        known = explained.covers(capture.name, name, differing)
        res['explained' if known else 'wrong'] += len(differing)
        say(f'{name} ' + (known or 'DIFFERS: ' + ','.join(map(str, sums_of(differing)))))
        for key, pairs in differing.items():
            say(f'  {name_of(key)}: truth, weir = {pairs}')
    return res


def compare(capture, records, explained, total):
    complaints = []
    exact = compare_counts(capture, records, total, complaints.append)
    total['files'] += 1
    total['files_exact'] += exact
    parts = []
    for name in MEASURES:
        res = compare_measure(name, capture, records, explained, complaints.append)
        total[name].update(res)
        if +res:
            parts.append(f'{name} ' + '/'.join(str(res[k]) for k in ('equal', 'explained', 'wrong')))
    print(f"{'exact' if exact else 'WRONG'}  {capture.name}: {capture.doc['packets']} packets, "
          f"{len(capture.sides.of)} conversations; {', '.join(parts) or 'no other measure'}")
    for text in complaints:
        print('       ' + text)


# --- results ----------------------------------------------------------------------

def cpu_name():
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        return next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')),
                    'unknown')


def write_results(folder, total):
    git = subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, text=True, check=False)
    doc = {'target': 'truth', 'seed': 0, 'commit': git.stdout.strip() or 'unknown',
           'machine': {'cpu': cpu_name(), 'cpus': os.cpu_count(), 'kernel': platform.release()}}
    for key, value in total.items():
        doc[key] = value
        if key in MEASURES:
            doc[key] = {k: value[k] for k in ('equal', 'explained', 'wrong')}
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, 'truth.json')
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(doc, f, indent=2)
        f.write('\n')
    print(f'written to {path}')


def captures_in(folder):
    return sorted(os.path.join(folder, f[:-len('.gt.json')]) for f in os.listdir(folder)
                  if f.endswith('.gt.json') and os.path.exists(os.path.join(folder, f[:-8])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--probe', required=True)
    parser.add_argument('--results', required=True)
    parser.add_argument('captures')
    args = parser.parse_args()
    if not os.path.isdir(args.captures):
        print(f'truth: skipped, no folder {args.captures} (make truth CAPTURES=DIR)')
        return 0
    explained = Explained(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'explained.csv'))
    total = dict.fromkeys(('files', 'files_exact', 'conversations', 'conversations_exact',
                           'packets', 'packets_exact'), 0)
    total.update((name, collections.Counter()) for name in MEASURES)
    print(f"comparing {args.captures}; each measure in conversations equal/explained/wrong")
    paths = captures_in(args.captures)
    for path in paths:
        compare(Capture(path), Records(args.probe, path), explained, total)

    stale = explained.unused({os.path.basename(path) for path in paths})
    for name, measure in stale:
        print(f'explained.csv: {name}, {measure}: nothing differs any more')
    print('total: ' + ', '.join(f'{k} {total[k]}' for k in total if k not in MEASURES))
    for name in MEASURES:
        print(f'  {name:14}' + ', '.join(f'{k} {total[name][k]}'
                                         for k in ('equal', 'explained', 'wrong')))
    write_results(args.results, total)
    right = all(total[k] == total[k + '_exact'] for k in ('files', 'conversations', 'packets'))
    wrong = sum(total[name]['wrong'] for name in MEASURES)
    return 0 if right and not wrong and not stale else EXIT_CHECK


if __name__ == '__main__':
    sys.exit(main())
