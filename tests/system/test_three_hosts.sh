# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Three hosts on a switch, a probe on each, the collector on a fourth host. Real
# traffic; then every conversation must be in the database, from each host that
# saw it, with the packets and bytes that tcpdump and the interface counted.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

ROWS="SELECT src_addr, src_port, dst_addr, dst_port, proto, icmp_type, icmp_code, icmp_id,
             packets, bytes, rev_packets, rev_bytes FROM flows WHERE host = "

start_servers()
{
	local port

	for port in 5201 5202 5203; do # one each: a server is deaf for a moment between tests
		start "iperf-$port" a iperf3 -s -p $port --forceflush
		wait_log "iperf-$port" "listening"
	done
	start sink a "$here/peers.py" sink "$net4.1" 5000
	start http c python3 -m http.server --bind :: --directory "$here" 8080
	start dns c "$here/peers.py" dns "$net4.3" 53
	wait_for 10 in_host c curl -s -o "$work/null" "http://[::1]:8080/" ||
		fail "the HTTP server does not start"
}

talk()
{
	in_host b iperf3 -c "$net4.1" -t 2 -b 40M >/dev/null
	in_host b iperf3 -c "$net4.1" -p 5202 -u -t 1 -b 3M -l 1200 >/dev/null
	in_host c iperf3 -6 -c "$net6:1" -p 5203 -n 2M -b 100M >/dev/null
	in_host b curl -sf -o "$work/null" "http://$net4.3:8080/oracle.py"
	in_host b curl -sf -o "$work/null" "http://[$net6:3]:8080/oracle.py"
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	in_host a ping -q -c 3 -i 0.2 -6 "$net6:2" >/dev/null
	in_host a ping -q -c 2 -i 0.2 -s 3000 "$net4.3" >/dev/null # fragments
	in_host a ping -q -c 2 -i 0.2 -s 3000 -6 "$net6:3" >/dev/null
	expect "DNS answer" 192.0.2.1 "$(in_host b dig +short "@$net4.3" weir.test A)"
	in_host b dig +tries=1 +time=1 "@$net4.3" -p 999 weir.test A >/dev/null || true # closed
}

start_captures()
{
	local host

	for host; do
		start "tcpdump-$host" "$host" tcpdump -n -i eth0 -s 192 -B 65536 \
			--immediate-mode -w "$work/$host.pcap"
		tcpdump_pids+=("$pid")
		wait_log "tcpdump-$host" "listening on"
	done
}

stop_all() # PID...
{
	local p

	for p; do
		stop_pid "$p" || fail "process $p ended with status $?"
	done
}

# Everything that the probe saw is in a row or in a counter that says why not.
check_conservation() # HOST
{
	expect "packets seen by $1 and not accounted for" 0 "$(query "
		WITH c AS (SELECT c.name, value FROM probe_counter c JOIN host h ON h.id = host_id
		            WHERE h.name = '$1')
		SELECT (SELECT value FROM c WHERE name = 'packets_seen')
		     - (SELECT sum(packets + rev_packets) FROM flows WHERE host = '$1')
		     - (SELECT sum(value) FROM c WHERE name IN ('packets_seen_elsewhere',
		        'packets_not_ip', 'packets_truncated', 'packets_bad_header',
		        'packets_too_deep'))")"
}

# The sqlite3 shell reads the same as the collector's own command.
check_shell()
{
	local sql="SELECT host, count(*), sum(packets), group_concat(DISTINCT proto_name) FROM flows
		WHERE in_prefix(src_addr, '10.0.0.0/8') GROUP BY 1 ORDER BY 1"

	[ -e "$build/weir_flows.so" ] || return 0 # not made for sanitizers
	expect "by the sqlite3 shell" "$(query "$sql")" \
		"$(sqlite3 -readonly -csv "$work/weir.db" ".load $build/weir_flows" "$sql" | tr -d '\r')"
}

check_host() # HOST PACKETS BYTES, counted by its interface
{
	local packets bytes not_ip

	read -r packets bytes not_ip <<<"$("$here/oracle.py" total "$work/$1.pcap")"
	log_has "tcpdump-$1" "^$packets packets received by filter" || fail "tcpdump of $1: too few"
	log_has "tcpdump-$1" "^0 packets dropped by kernel" || fail "tcpdump of $1: packets lost"
	expect "packets of $1: interface and capture" "$2" "$packets"
	# A veth with XDP counts what it receives without the Ethernet header.
	[ "${hook[$1]}" = xdp ] || expect "bytes of $1: interface and capture" "$3" "$bytes"
	"$collector" sql --db "$work/weir.db" -o json "$ROWS'$1'" >"$work/$1.json"
	"$here/oracle.py" compare "$work/$1.pcap" "$work/$1.json" "$control_port" ||
		fail "the rows of $1 are not what its interface carried"
	expect "packets of $1 that are not IP" "$not_ip" "$(query "
		SELECT value FROM probe_counter c JOIN host h ON h.id = host_id
		 WHERE h.name = '$1' AND c.name = 'packets_not_ip'")"
	check_conservation "$1"
}

# A conversation of two hosts of the fleet has the same totals at both ends.
check_both_ends()
{
	local sql="WITH member(host, addr) AS (VALUES
			('a', '$net4.1'), ('a', '$net6:1'), ('b', '$net4.2'), ('b', '$net6:2'),
			('c', '$net4.3'), ('c', '$net6:3')),
		side AS (SELECT f.host, src_addr, src_port, dst_addr, dst_port, proto,
				icmp_type, icmp_code, icmp_id,
				sum(packets) p, sum(bytes) b, sum(rev_packets) rp, sum(rev_bytes) rb
			   FROM flows f
			  WHERE src_addr IN (SELECT addr FROM member)
			    AND dst_addr IN (SELECT addr FROM member)
			    AND f.host IN (SELECT host FROM member WHERE addr IN (src_addr, dst_addr))
			  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9),
		pair AS (SELECT count(*) sides, count(DISTINCT p || ' ' || b || ' ' || rp || ' ' || rb) kinds
			   FROM side
			  GROUP BY src_addr, src_port, dst_addr, dst_port, proto,
				   icmp_type, icmp_code, icmp_id)"

	expect "conversations that differ between their ends" 0 \
		"$(query "$sql SELECT count(*) FROM pair WHERE sides <> 2 OR kinds <> 1")"
	[ "$(query "$sql SELECT count(*) FROM pair")" -gt 100 ] ||
		fail "too few conversations between the hosts"
}

# What the probes told of their hosts; a has got another address meanwhile.
addrs_told()
{
	[ "$(query "SELECT group_concat(n, ' ') FROM (SELECT name || count(*) || sum(since_ms > 0) n
		FROM host_addr JOIN host ON host.id = host_id WHERE until_ms IS NULL
		GROUP BY name ORDER BY name)")" = "a31 b20 c20" ]
}

# Both ends have reported it, and it counts once.
check_once()
{
	local sql="SELECT sum(bytes + rev_bytes) FROM flows WHERE dst_port = 8080 AND host = 'b'"

	expect "bytes of HTTP, counted once" "$(query "$sql")" "$("$collector" report top \
		tcp and dst port 8080 --by dst_port --db "$work/weir.db" -q -o csv |
		python3 -c 'import csv, sys
print(next(csv.DictReader(sys.stdin))["bytes"])')"
}

check_details()
{
	local host

	expect "HTTP at its client" "client,egress" "$(query "SELECT DISTINCT role, direction
		FROM flows WHERE host = 'b' AND dst_port = 8080")"
	expect "HTTP at its server" "server,ingress" "$(query "SELECT DISTINCT role, direction
		FROM flows WHERE host = 'c' AND dst_port = 8080")"
	expect "HTTP connections without a handshake time" 0 "$(query "SELECT count(*) FROM
		(SELECT sum(rtt_us > 0 AND rtt_us = rtt_client_us + rtt_server_us) n FROM flows
		  WHERE dst_port = 8080 GROUP BY host, flow_id) WHERE n <> 1")"
	for host in a b c; do
		expect "segments that $host sent again" "$(retransmitted $host)" "$(query "SELECT
			sum(iif(direction = 'egress', retrans_pkts, rev_retrans_pkts)) FROM flows
			WHERE host = '$host' AND proto = 6")"
	done
	expect "ICMP port unreachable at its sender" 3,3 "$(query "SELECT DISTINCT icmp_type, icmp_code
		FROM flows WHERE host = 'c' AND proto = 1 AND icmp_type = 3")"
	expect "scanned ports" 100 "$(query "SELECT count(DISTINCT dst_port) FROM flows
		WHERE host = 'a' AND src_addr = '$net4.3' AND dst_port BETWEEN 1 AND 100
		AND tcp_flags = 2 AND rev_tcp_flags = 20")"
}

# Every answer is there, on the database that is being written, and is JSON.
check_answers()
{
	local command

	for command in hosts flows "flows tcp and dst port 8080" incidents "report top" \
		"report latency" "report retrans" "report protocols" "report matrix"; do
		# shellcheck disable=SC2086 # words
		"$collector" $command --db "$work/weir.db" -o json \
			>"$work/answer.json" 2>"$work/notes.txt" || fail "$command ends with status $?"
		cat "$work/notes.txt"
		if grep -q "error\|cannot" "$work/notes.txt"; then
			fail "$command could not tell everything"
		fi
		python3 -c 'import json, sys; assert json.load(sys.stdin)' <"$work/answer.json" ||
			fail "the answer of $command"
	done
}

scan_reported()
{
	[ "$(query "SELECT count(*) FROM incident WHERE kind = 'port_scan'
		AND src_addr = '$net4.3' AND value >= 100")" -ge 1 ]
}

check_incidents()
{
	# The detectors judge whole minutes.
	wait_for 75 scan_reported || fail "the port scan is not an incident"
	expect "kinds of incidents" port_scan "$(query "SELECT DISTINCT kind FROM incident")"
	"$collector" incidents --db "$work/weir.db"
}

test_three_hosts()
{
	local host tcpdump_pids=() probe_pids=()
	declare -A p0 b0 hook=([a]=auto [b]=xdp [c]=tc)

	fleet_new
	no_offloads a b c d
	start_servers
	start_collector
	for host in a b c; do
		enroll $host
	done
	wait_quiet a b c d
	for host in a b c; do
		p0[$host]=$(iface_packets $host) b0[$host]=$(iface_bytes $host)
	done
	start_captures a b c
	for host in a b c; do
		start_probe $host --hook "${hook[$host]}"
		probe_pids+=("$pid")
	done
	in_host a ip address add "$net4.100/32" dev lo
	talk
	in_host c nmap -n -Pn -sS -p 1-100 --max-retries 0 "$net4.1" >/dev/null
	sleep 3 # neighbour probes, the last FIN
	wait_for 60 addrs_told || fail "the addresses of the hosts: $(query "SELECT name, hex(addr),
		since_ms FROM host_addr JOIN host ON host.id = host_id")"
	stop_all "${probe_pids[@]}"
	sleep 0.3
	stop_all "${tcpdump_pids[@]}"
	for host in a b c; do
		check_host $host $(($(iface_packets $host) - p0[$host])) \
			$(($(iface_bytes $host) - b0[$host]))
	done
	check_shell
	check_both_ends
	check_once
	check_details
	check_incidents
	check_answers
	stop_all "$collector_pid"
}

# With segmentation offload the capture sees packets that are not those of the
# wire. The sender's TCP knows how many segments it sent.
test_offloads()
{
	local carried counts segs port host probe_pids=()

	fleet_new
	start_collector
	for host in a b; do
		start_probe $host
		probe_pids+=("$pid")
	done
	start sink a "$here/peers.py" sink "$net4.1" 5000
	sleep 0.5
	carried=$(iface_packets b)
	counts=$(in_host b "$here/peers.py" send "$net4.1" 5000 50000000)
	carried=$(($(iface_packets b) - carried))
	stop_all "${probe_pids[@]}"
	segs=$(json_field segs_out "$counts") port=$(json_field port "$counts")
	[ $carried -lt $((segs / 2)) ] || fail "no offload: $carried packets, $segs segments"
	for host in a b; do
		expect "segments from b, seen by $host" "$segs" "$(query "SELECT sum(packets) FROM flows
			WHERE host = '$host' AND src_port = $port AND dst_port = 5000")"
		check_conservation $host
	done
	expect "byte counts of the two ends" 1 "$(query "SELECT count(DISTINCT n) FROM
		(SELECT sum(bytes) n FROM flows WHERE src_port = $port GROUP BY host)")"
	# Ethernet, IP, TCP with timestamps; the SYN has 8 bytes of options more.
	expect "bytes from b" $((50000000 + segs * (14 + 20 + 32) + 8)) "$(query "SELECT
		sum(bytes - retrans_bytes) FROM flows WHERE host = 'a' AND src_port = $port")"
	stop_all "$collector_pid"
}

# A probe on every interface of the switch meets each packet on both ports and the
# bridge, with segmentation offload as one buffer, and counts its segments once.
test_bridge()
{
	local counts segs port pid_switch

	fleet_new
	in_host switch ip address add "$net4.9/24" dev br0
	start_collector
	probe_iface=all start_probe switch
	pid_switch=$pid
	start sink a "$here/peers.py" sink "$net4.1" 5000
	wait_for 60 in_host a bash -c "exec 3<>/dev/tcp/$net4.1/5000" || fail "the sink does not listen"
	in_host b ping -q -c 20 -i 0.05 "$net4.1" >/dev/null
	counts=$(in_host b "$here/peers.py" send "$net4.1" 5000 20000000)
	stop_all "$pid_switch"
	segs=$(json_field segs_out "$counts") port=$(json_field port "$counts")
	expect "echo requests and replies through the bridge" 20,20 "$(query "SELECT sum(packets),
		sum(rev_packets) FROM flows WHERE host = 'switch' AND icmp_type = 8")"
	expect "segments through the bridge" "$segs" "$(query "SELECT sum(packets) FROM flows
		WHERE host = 'switch' AND src_port = $port AND dst_port = 5000")"
	expect "met again elsewhere" 1 "$(query "SELECT value >= $segs FROM probe_counter
		WHERE name = 'packets_seen_elsewhere'")"
	check_conservation switch
}
