#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# iperf.sh PROBE - prints how much TCP throughput over a veth pair is left with
# the probe running on one end: the median, over pairs of runs, of the
# throughput with the probe over that without. Both namespaces are its own.
set -euo pipefail

probe=$(realpath "$1")
pairs=7
seconds=3
a=weir-bench-$$-a
b=weir-bench-$$-b
server=
running=

cleanup()
{
	[ -z "$running" ] || kill "$running" 2>/dev/null || true
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	ip netns del "$a" 2>/dev/null || true
	ip netns del "$b" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ip netns add "$a"
ip netns add "$b"
ip link add veth0 netns "$a" type veth peer name veth0 netns "$b"
ip -n "$a" addr add 10.255.0.1/24 dev veth0
ip -n "$b" addr add 10.255.0.2/24 dev veth0
ip -n "$a" link set veth0 up
ip -n "$b" link set veth0 up
nice -n -20 ip netns exec "$b" iperf3 --server >/dev/null 2>&1 &
server=$!
sleep 0.5

throughput()
{
	timeout 60 nice -n -20 ip netns exec "$a" iperf3 --client 10.255.0.2 --time "$seconds" --omit 1 --json |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"])'
}

# Loading takes the verifier a second, and much longer on a busy machine.
is_attached() # PID
{
	grep -qs "^link_id:" "/proc/$1/fdinfo/"*
}

throughput_with_probe()
{
	ip netns exec "$a" "$probe" show --once --interval 60 --iface veth0 >/dev/null 2>&1 &
	running=$!
	for _ in $(seq 600); do
		! is_attached "$running" || break
		sleep 0.1
	done
	is_attached "$running" || { echo "the probe does not start" >&2; exit 1; }
	sleep 0.5
	with=$(throughput)
	kill "$running"
	wait "$running" || true
	running=
}

# The order alternates, so that what changes steadily meets both alike.
ratios=
for pair in $(seq "$pairs"); do
	if [ $((pair % 2)) -eq 0 ]; then
		throughput_with_probe
		without=$(throughput)
	else
		without=$(throughput)
		throughput_with_probe
	fi
	ratios="$ratios $with/$without"
	echo "pair $pair: $without bit/s without the probe, $with with it" >&2
done
python3 -c 'import statistics, sys
print(round(statistics.median(eval(r) for r in sys.argv[1].split()), 4))' "$ratios"
