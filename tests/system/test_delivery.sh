# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Everything once, whatever becomes of the collectors.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

# A second collector, on host c, with a database of its own.
second_url=tcp://$net4.3:$control_port

start_second()
{
	start second c "$collector" serve --db "$work/second.db" --listen "$second_url" \
		--enroll-listen "tcp://$net4.3:$((control_port + 1))"
	second_pid=$pid
	wait_log second "listening"
}

echo_requests() # DATABASE; of all hosts
{
	"$collector" sql --db "$work/$1.db" -q -o csv "SELECT ifnull(sum(packets), 0) FROM flows
		WHERE icmp_type = 8" | tr -d '\r' | tail -n +2
}

has_requests() # DATABASE COUNT
{
	[ "$(echo_requests "$1")" = "$2" ]
}

nothing_waits() # in the spool of host a
{
	[ "$("$probe" spool --spool "$work/spool-a.db" -o csv | wc -l)" = 1 ]
}

ping_five()
{
	in_host a ping -q -c 5 -i 0.2 "$net4.2" >/dev/null
}

# The second takes over when the first is killed, until that one is there again.
test_fail_over_and_back()
{
	local probe_pid

	fleet_new
	start_collector
	start_second
	enroll a
	in_host a "$probe" enroll --state-dir "$work/state-a" --name a \
		"$("$collector" enroll token create --db "$work/second.db" -q --address "$net4.3" \
			--port $control_port --enroll-port $((control_port + 1)))"
	start_probe a --collector "$collector_url" --collector "$second_url"
	probe_pid=$pid
	ping_five
	wait_for 60 has_requests weir 5 || fail "the first collector has $(echo_requests weir)"
	wait_for 60 nothing_waits || fail "the probe still keeps what the collector has"
	kill -KILL "$collector_pid"
	ping_five
	wait_for 60 has_requests second 5 || fail "the second collector has $(echo_requests second)"
	start_collector
	wait_log probe-a "going back" 60
	ping_five
	wait_for 60 has_requests weir 10 || fail "the first collector has $(echo_requests weir)"
	expect "at the second, still" 5 "$(echo_requests second)"
	expect "gaps that are no loss" elsewhere "$(query "SELECT DISTINCT reason FROM loss")"
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	stop_pid "$second_pid" || fail "the second collector ended with status $?"
}

# Killed again and again under traffic.
test_many_restarts()
{
	local probe_pid traffic i

	fleet_new
	start_collector
	start_probe a --active-timeout 300ms --drain-interval 100ms
	probe_pid=$pid
	start traffic a ping -q -c 240 -i 0.05 "$net4.2"
	traffic=$pid
	for i in 1 2 3 4 5; do
		sleep "1.$i"
		kill -KILL "$collector_pid"
		wait "$collector_pid" || true
		start_collector
	done
	wait "$traffic" || fail "ping ended with status $?"
	wait_for 60 has_requests weir 240 || fail "of 240 there are $(echo_requests weir)"
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "echo requests" 240 "$(echo_requests weir)"
	expect "losses" 0 "$(query "SELECT count(*) FROM loss")"
	query "SELECT host, min(coverage_pct) AS pct, sum(lost_packets) AS lost FROM coverage GROUP BY 1"
	expect "packets that coverage misses" 0 "$(query "SELECT sum(lost_packets) FROM coverage")"
}

# An order reaches the probe and its answer comes back.
test_order()
{
	fleet_new
	start_collector
	start_probe a
	expect_exit 0 "$collector" order --db "$work/weir.db" a echo --reason "are you there?" --ttl 60s
	grep -q "done: weir-probe" "$work/last.log" || fail "no answer"
	expect_exit 3 "$collector" order --db "$work/weir.db" a block --prefix 192.0.2.1 --ttl 60s
	grep -q "cannot block" "$work/last.log" || fail "no reason"
	expect_exit 2 "$collector" order --db "$work/weir.db" nosuchhost echo
	expect "orders" "echo 0,block 95" "$(query "SELECT group_concat(kind || ' ' || status)
		FROM probe_order" | tr -d '"')"
}

ports_scanned()
{
	query "SELECT count(DISTINCT dst_port) FROM flows WHERE src_addr = '$net4.2'
		AND dst_addr = '$net4.1'"
}

has_all_ports()
{
	[ "$(ports_scanned)" = 3000 ]
}

# A probe that has more to send than it may is slowed down, and refused nothing.
test_rate_limit()
{
	fleet_new
	start collector d "$collector" serve --db "$work/weir.db" --listen "$collector_url" \
		--enroll-listen "tcp://$net4.4:$((control_port + 1))" --peer-rate 24k
	wait_log collector "listening"
	start_probe a
	in_host b nmap -n -Pn -sS -p 1-3000 --max-retries 0 "$net4.1" >/dev/null
	wait_for 60 has_all_ports || fail "of 3000 ports there are $(ports_scanned)"
	expect "refusals" 0 "$(query "SELECT ifnull(sum(count), 0) FROM refusal")"
	expect "losses" 0 "$(query "SELECT count(*) FROM loss")"
	stop_pid "$pid" || fail "the probe ended with status $?"
}
