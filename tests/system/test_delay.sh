# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# A long way between two hosts: what weir says of the round trip, from the
# handshake and from the data, is the way's delay, and what the kernel says.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

one_way_ms=150
far4=10.79.0

# A second link between a and b, through a host called "cable" that takes its time.
long_link()
{
	local host number

	host_new cable
	for host in a b; do
		[ $host = a ] && number=1 || number=2
		in_host $host ip link add eth1 type veth peer name $host netns "$prefix-cable"
		in_host $host ethtool -K eth1 tx off tso off gso off gro off >/dev/null
		in_host cable ethtool -K $host tx off tso off gso off gro off >/dev/null
		in_host cable ip link set dev $host up
		in_host $host ip address add "$far4.$number/24" dev eth1
		in_host $host ip link set eth1 up
	done
	start cable cable "$here/delay_link.py" a b $one_way_ms
	wait_log cable "ready" 60
	in_host a ping -q -c 1 -w 60 "$far4.2" >/dev/null || fail "nothing comes through the cable"
}

test_delay()
{
	local i probe_pid

	fleet_new
	long_link
	start_collector
	start_probe a --iface eth1 --active-timeout 500ms --drain-interval 100ms
	probe_pid=$pid
	start echo b "$here/peers.py" echo "$far4.2" 7000
	wait_for 60 in_host a "$here/peers.py" ask "$far4.2" 7000 1 || fail "no echo"
	for i in 1 2 3 4 5; do
		start "ask-$i" a "$here/peers.py" ask "$far4.2" 7000 15
	done
	for i in 1 2 3 4 5; do
		wait_log "ask-$i" rtt_us 60
	done
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	query "SELECT rtt_us, data_rtt_avg_us, data_rtt_min_us FROM flows WHERE host = 'a' AND dst_port = 7000
		AND (rtt_us > 0 OR data_rtt_samples > 0)" >"$work/weir.csv"
	python3 - $((2000 * one_way_ms)) "$work/weir.csv" "$work"/ask-*.log <<-'END' || fail "not the delay"
		import csv, json, statistics, sys
		delay = int(sys.argv[1])
		rows = [[int(v or 0) for v in row] for row in csv.reader(open(sys.argv[2]))]
		kernel = min(json.load(open(log))["min_rtt_us"] for log in sys.argv[3:])
		told = {
		    "handshake": [r[0] for r in rows if r[0]],
		    "data": [r[1] for r in rows if r[1]],
		}
		wrong = 0
		def compare(what, us, whose, truth):
		    global wrong
		    off = abs(us - truth) / truth
		    wrong += off > 0.05
		    print(f"{what} {us:.0f} us, {whose} {truth:.0f} us: {off:.2%} off")
		for what, values in told.items():
		    compare(f"{what}: median of {len(values)}", statistics.median(values), "the delay", delay)
		# The least is what a busy machine leaves alone.
		compare("data: least", min(r[2] for r in rows if r[2]), "the kernel's", kernel)
		sys.exit(wrong > 0 or len(told["handshake"]) < 5 or len(told["data"]) < 10)
	END
}
