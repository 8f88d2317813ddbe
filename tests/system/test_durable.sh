# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What a killed probe loses: nothing. Each test has a bpffs of its own.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ALL_ROWS="SELECT src_addr, src_port, dst_addr, dst_port, proto, icmp_type, icmp_code, icmp_id,
                 packets, bytes, rev_packets, rev_bytes FROM flows WHERE host = "

bpffs_new()
{
	mkdir "$work/bpf"
	mount -t bpf none "$work/bpf"
	pins=$work/bpf/weir
}

kill_pid() # PID
{
	kill -KILL "$1"
	wait "$1" || true
}

expect_nothing_pinned() # but the folder for all
{
	expect "what is left in bpffs" "" "$(find "$work/bpf" -mindepth 2)"
}

# Over all starts of the probe, difference of what was seen and what was told.
unaccounted() # HOST
{
	query "WITH c AS (SELECT c.name, value FROM probe_counter c JOIN host h ON h.id = host_id
		           WHERE h.name = '$1')
		SELECT (SELECT sum(value) FROM c WHERE name = 'packets_seen')
		     - (SELECT sum(packets + rev_packets) FROM flows WHERE host = '$1')
		     - (SELECT sum(value) FROM c WHERE name IN ('packets_seen_elsewhere',
		        'packets_not_ip', 'packets_truncated', 'packets_bad_header',
		        'packets_too_deep'))"
}

start_capture() # HOST
{
	start "tcpdump-$1" "$1" tcpdump -n -i eth0 -s 192 -B 65536 --immediate-mode \
		-w "$work/$1.pcap"
	wait_log "tcpdump-$1" "listening on"
}

# All that the interface of HOST has carried is in rows, once.
check_rows() # HOST
{
	log_has "tcpdump-$1" "^0 packets dropped by kernel" || fail "tcpdump of $1: packets lost"
	"$collector" sql --db "$work/weir.db" -o json "$ALL_ROWS'$1'" >"$work/$1.json"
	"$here/oracle.py" compare "$work/$1.pcap" "$work/$1.json" "$control_port" ||
		fail "the rows of $1 are not what its interface carried"
	expect "packets seen by $1 and not accounted for" 0 "$(unaccounted "$1")"
}

# Traffic that goes on, and scans while no probe runs; killed at any moment.
test_kill9_loses_no_packet()
{
	local probe_pid capture_pid traffic=() kills=6 i

	echo "seed ${SEED:=$RANDOM}"
	RANDOM=$SEED
	fleet_new
	bpffs_new
	no_offloads a b d
	start_collector
	enroll a
	start_capture a
	capture_pid=$pid
	start_probe a
	probe_pid=$pid
	start iperf-server a iperf3 -s -p 5201 --forceflush
	wait_log iperf-server "listening"
	traffic+=("$pid")
	start iperf b iperf3 -c "$net4.1" -t 600 -b 4M
	traffic+=("$pid")
	start ping a ping -q -i 0.005 "$net4.2"
	traffic+=("$pid")
	for i in $(seq $kills); do
		sleep "0.$((RANDOM % 900 + 100))"
		kill_pid "$probe_pid"
		in_host b nmap -n -Pn -sS -T5 -p "$((i * 100))-$((i * 100 + 20))" --max-retries 0 \
			"$net4.1" >/dev/null
		start_probe a
		probe_pid=$pid
	done
	for ((i = ${#traffic[@]} - 1; i >= 0; i--)); do
		stop_pid "${traffic[i]}" INT || true
	done
	sleep 1.5 # the last FIN
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	sleep 0.3
	stop_pid "$capture_pid"
	[ "$(query "SELECT count(DISTINCT epoch) FROM probe_counter")" -ge 2 ] ||
		fail "hardly a start has lived long enough to tell anything"
	check_rows a
	expect_nothing_pinned
}

# What a killed probe leaves is counted on, and taken away on request.
test_cleanup()
{
	fleet_new
	bpffs_new
	start_collector
	start_probe a
	in_host a "$probe" cleanup --pin "$pins" # it runs: nothing happens
	[ -n "$(find "$work/bpf" -name slots)" ] || fail "nothing is pinned"
	kill_pid "$pid"
	[ -n "$(orphan_programs)" ] || fail "no program goes on"
	in_host a "$probe" cleanup --pin "$pins"
	expect_nothing_pinned
	wait_for 30 no_orphans || fail "programs left: $(orphan_programs)"
}

# Another layout, or only a part of one: discarded, counted, and it goes on.
test_other_layout()
{
	local folder

	fleet_new
	bpffs_new
	start_collector
	start_probe a
	kill_pid "$pid"
	folder=$(dirname "$(find "$work/bpf" -name slots)")
	rm "$folder/perf"
	in_host a ping -q -c 20 -i 0.05 "$net4.2" >/dev/null
	start_probe a
	in_host a ping -q -c 5 -i 0.05 "$net4.2" >/dev/null
	log_has probe-a "discarding it" || fail "the probe does not say it"
	stop_pid "$pid" || fail "the probe ended with status $?"
	expect "tables discarded" 1 "$(query "SELECT sum(value) FROM probe_counter
		WHERE name = 'pins_discarded'")"
	expect "lost packets are counted" 1 "$(query "SELECT sum(value) >= 40 FROM probe_counter
		WHERE name = 'pins_discarded_packets'")"
	expect "echo requests after that" 5 "$(query "SELECT sum(packets) FROM flows
		WHERE host = 'a' AND icmp_type = 8")"
	expect_nothing_pinned
}
