# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What weir does when something is wrong. Exit codes: common/exit_code.h.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

run_probe_on() # HOST IFACE [WRAPPER...]: a probe that cannot start
{
	local host=$1 iface=$2

	shift 2
	enroll "$host"
	in_host "$host" "$@" "$probe" run --iface "$iface" --spool none --state-dir "$work/state-$host"
}

test_no_such_interface()
{
	workdir
	host_new a
	expect_exit 6 run_probe_on a nosuch0
	grep -q nosuch0 "$work/last.log" || fail "the message does not name the interface"
}

test_no_permission()
{
	workdir
	host_new a
	expect_exit 5 run_probe_on a lo setpriv --bounding-set -all --inh-caps -all
}

# No collector, no configuration.
test_show()
{
	fleet_new
	start ping a ping -q -i 0.2 "$net4.2"
	in_host a "$probe" show --once --interval 1s -o json --iface eth0 >"$work/show.json"
	python3 - "$work/show.json" "$net4.2" <<-END
		import json, sys
		rows = json.load(open(sys.argv[1]))
		assert any(r["dst_addr"] == sys.argv[2] and r["packets"] > 2 for r in rows), rows
	END
	in_host a "$probe" show --once --interval 1s --iface eth0
}

# Every packet of live traffic is in a record or in a counter.
test_check()
{
	fleet_new
	start flood a ping -q -i 0.01 "$net4.2"
	in_host a "$probe" check --live 2s -o json >"$work/check.json"
	python3 - "$work/check.json" <<-END
		import json, sys
		count = {r["what"]: r["packets"] for r in json.load(open(sys.argv[1]))}
		assert count["packets_seen"] > 100, count
		assert count["difference"] == 0, count
	END
}

# The id of a BPF link that a process holds on the interface of that index.
link_on() # PID IFINDEX
{
	awk -v index_wanted="$2" '
		/^link_id:/ {id = $2}
		/^ifindex:/ && $2 == index_wanted {found = id}
		END {print found}' "/proc/$1/fdinfo/"* 2>/dev/null
}

# Interfaces come, are renamed and go; somebody takes our program away.
test_interfaces_change()
{
	local link

	fleet_new
	start_collector
	start_probe a --iface all
	wait_log probe-a "connected"
	in_host a ip link add late0 type veth peer name late1
	in_host a ip link set late0 up
	in_host a ip link set late1 up
	wait_log probe-a "late0: attached"
	wait_log probe-a "late1: attached"
	in_host a ip link set late0 down
	in_host a ip link set late0 name renamed0
	in_host a ip link set renamed0 up
	in_host a ip addr add 10.78.0.1/24 dev renamed0
	in_host a ip neigh add 10.78.0.2 lladdr 02:00:00:00:00:02 dev renamed0
	in_host a ping -q -c 3 -i 0.2 -I renamed0 10.78.0.2 >/dev/null || true # nobody answers
	in_host a ip link del renamed0
	wait_log probe-a "the interface has been deleted"

	link=$(link_on "$pid" "$(in_host a cat /proc/net/dev_snmp6/eth0 | awk '/^ifIndex/ {print $2}')")
	[ -n "$link" ] || fail "the probe has no link on eth0"
	bpftool link detach id "$link"
	wait_log probe-a "somebody has detached our program" 15
	# At the start the line goes on and says how.
	wait_for 15 grep -q "eth0: attached\$" "$work/probe-a.log" || fail "not attached again"
	in_host a ping -q -c 5 -i 0.2 "$net4.2" >/dev/null
	stop_pid "$pid" || fail "the probe ended with status $?"
	expect "detached" 1 "$(query "SELECT max(value) FROM probe_counter WHERE name = 'ifaces_detached'")"
	expect "pings on the interface with another name, now gone" "renamed0,3" "$(query "SELECT iface,
		sum(packets) FROM flows WHERE dst_addr = '10.78.0.2' GROUP BY 1")"
	expect "pings after that" 5 "$(query "SELECT sum(packets) FROM flows WHERE host = 'a' AND dst_addr = '$net4.2' AND icmp_type = 8")"
}

times_in_log() # NAME TEXT TIMES
{
	[ "$(grep -c -- "$2" "$work/$1.log")" -ge "$3" ]
}

our_filter() # HOST ingress|egress
{
	in_host "$1" tc filter show dev eth0 "$2" | grep -q weir_tc
}

attached_again() # HOST TIMES
{
	wait_for 60 times_in_log "probe-$1" "somebody has detached our program" "$2" ||
		fail "not noticed: $2"
	wait_for 60 our_filter "$1" ingress || fail "no filter for ingress"
	wait_for 60 our_filter "$1" egress || fail "no filter for egress"
	# At the start the line goes on and says how.
	wait_for 60 times_in_log "probe-$1" "eth0: attached\$" "$2" || fail "not attached again: $2"
}

# The same of clsact filters, which have no link: one is deleted, then the whole qdisc.
test_filter_taken_away()
{
	local probe_pid

	fleet_new
	start_collector
	start_probe a --hook tc
	probe_pid=$pid
	our_filter a egress || fail "no filter at the start"
	in_host a tc filter del dev eth0 egress
	attached_again a 1
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	in_host a tc qdisc del dev eth0 clsact
	attached_again a 2
	in_host a ping -q -c 4 -i 0.2 "$net4.2" >/dev/null
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "detached" 2 "$(query "SELECT max(value) FROM probe_counter WHERE name = 'ifaces_detached'")"
	expect "pings and replies" 7,7 "$(query "SELECT sum(packets), sum(rev_packets) FROM flows
		WHERE host = 'a' AND icmp_type = 8")"
	expect "clsact at the end" "" "$(in_host a tc qdisc show dev eth0 clsact)"
}

capabilities_of() # PID; the permitted ones of all its threads
{
	sed -n 's/^CapPrm:[[:space:]]*//p' "/proc/$1/task/"*/status | sort -u
}

# The users and capabilities that deploy/*.service give: the probe three, the
# collector none. A new interface is attached without what was given up.
test_least_privileges()
{
	local nobody=65534 caps=bpf,perfmon,net_admin

	fleet_new
	mkdir -m 755 "$work/collector" "$work/probe"
	chown $nobody:$nobody "$work/collector" "$work/probe"
	chmod 755 "$work"
	start collector d setpriv --reuid $nobody --regid $nobody --clear-groups \
		--bounding-set -all --inh-caps -all --no-new-privs \
		"$collector" serve --db "$work/collector/weir.db" --listen "$collector_url"
	collector_pid=$pid
	wait_log collector "listening" 60
	ln -s "$work/collector/weir.db" "$work/weir.db"
	ln -s "$work/collector/weir.db-control" "$work/weir.db-control"
	expect "capabilities of the collector" 0000000000000000 "$(capabilities_of "$collector_pid")"
	in_host a "$probe" enroll --state-dir "$work/probe" --name a "$(join_string)" # as root
	start probe-a a setpriv --reuid $nobody --regid $nobody --clear-groups \
		--bounding-set "-all,+${caps//,/,+}" --inh-caps "-all,+${caps//,/,+}" \
		--ambient-caps "-all,+${caps//,/,+}" --no-new-privs \
		"$probe" run --iface all --state-dir "$work/probe" --spool "$work/probe/spool.db" \
		--name a --active-timeout 1s --idle-timeout 1s --drain-interval 200ms
	wait_log probe-a "connected" 60
	# CAP_NET_ADMIN is 12, CAP_BPF 39; CAP_PERFMON, 38, is gone.
	expect "capabilities of the probe" 0000008000001000 "$(capabilities_of "$pid")"
	in_host a ip link add late0 type veth peer name late1
	in_host a ip link set late0 up
	in_host a ip link set late1 up
	wait_log probe-a "late0: attached" 60
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	stop_pid "$pid" || fail "the probe ended with status $?"
	expect "echo requests" 3 "$(query "SELECT sum(packets) FROM flows WHERE icmp_type = 8")"
	stop_pid "$collector_pid" || fail "the collector ended with status $?"
}

test_no_btf()
{
	workdir
	host_new a
	expect_exit 7 run_probe_on a lo unshare -m --propagation unchanged sh -c \
		'mount --make-rprivate /sys && mount -t tmpfs none /sys/kernel/btf && exec "$@"' sh
}

test_bad_usage()
{
	workdir
	start_on_loopback
	expect_exit 2 "$collector" flows --db "$work/weir.db" "src host"
	expect_exit 2 "$collector" flows --db "$work/weir.db" "bogus = 1"
	expect_exit 2 "$collector" flows --db "$work/weir.db" --since "last tuesday"
	expect_exit 2 "$collector" sql --db "$work/weir.db" "SELEC 1"
	expect_exit 2 "$collector" sql --db "$work/weir.db" "DELETE FROM flow_segment"
	expect_exit 2 "$collector" sql --db "$work/weir.db" "ATTACH '$work/other.db' AS other"
	[ ! -e "$work/other.db" ] || fail "SQL of a user has made a file"
	expect_exit 2 "$probe" run --iface lo
	expect_exit 2 "$probe" run --no-such-option
	expect_exit 2 "$collector" nosuchcommand
}

start_on_loopback()
{
	host_new d
	start collector d "$collector" serve --db "$work/weir.db" --listen "tcp://127.0.0.1:$control_port"
	collector_pid=$pid
	wait_log collector "listening"
}

test_collector_comes_late()
{
	local probe_pid

	fleet_new
	enroll a
	start probe-a a "$probe" run --iface eth0 --spool "$work/spool-a.db" --state-dir "$work/state-a" --name a \
		--active-timeout 1s --idle-timeout 1s --drain-interval 500ms
	probe_pid=$pid
	wait_log probe-a "no answer" 15
	in_host a ping -q -c 5 -i 0.2 "$net4.2"
	sleep 3
	alive "$probe_pid" || fail "the probe has given up"
	start_collector
	wait_log probe-a "connected" 15
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "echo requests and replies from before the collector" 5,5 "$(query "SELECT
		sum(packets), sum(rev_packets) FROM flows WHERE proto = 1")"
}

test_collector_restarts()
{
	local probe_pid

	fleet_new
	start_collector
	start_probe a
	probe_pid=$pid
	in_host a ping -q -c 5 -i 0.2 "$net4.2"
	kill -KILL "$collector_pid"
	in_host a ping -q -c 5 -i 0.2 "$net4.2"
	sleep 2
	start_collector
	in_host a ping -q -c 5 -i 0.2 "$net4.2"
	sleep 1
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "echo requests and replies around a killed collector" 15,15 "$(query "SELECT
		sum(packets), sum(rev_packets) FROM flows WHERE proto = 1")"
}

test_foreign_database()
{
	workdir
	sqlite3 "$work/foreign.db" "CREATE TABLE theirs (x)"
	echo "these are my holiday notes, not a database" >"$work/notes.txt"
	for file in foreign.db notes.txt; do
		cp "$work/$file" "$work/before"
		expect_exit 8 "$collector" serve --db "$work/$file" --listen tcp://127.0.0.1:$control_port
		expect_exit 8 "$collector" hosts --db "$work/$file"
		cmp "$work/$file" "$work/before" || fail "$file has been changed"
	done
}

test_two_collectors()
{
	workdir
	start_on_loopback
	expect_exit 1 in_host d "$collector" serve --db "$work/weir.db" --listen tcp://127.0.0.1:9999
	expect_exit 4 in_host d "$collector" serve --db "$work/other.db" \
		--listen "tcp://127.0.0.1:$control_port"
	stop_pid "$collector_pid" || fail "the collector ended with status $?"
}

# The disk has room again after a while: nothing is missing.
test_disk_full()
{
	local probe_pid

	fleet_new
	mkdir "$work/small"
	mount -t tmpfs -o size=4m none "$work/small"
	ln -s "$work/small/weir.db" "$work/weir.db"
	start_collector
	start_probe a
	probe_pid=$pid
	dd if=/dev/zero of="$work/small/filler" bs=64k 2>/dev/null || true
	in_host b nmap -n -Pn -sS -p 1-3000 --max-retries 0 "$net4.1" >/dev/null
	wait_log collector "full" 20
	alive "$collector_pid" || fail "the collector has ended"
	rm "$work/small/filler"
	sleep 3
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "scanned ports" 3000 "$(query "SELECT count(DISTINCT dst_port) FROM flows
		WHERE src_addr = '$net4.2' AND dst_addr = '$net4.1' AND rev_packets = 1")"
	stop_pid "$collector_pid" || fail "the collector ended with status $?"
}

test_disk_full_at_start()
{
	workdir
	mkdir "$work/small"
	mount -t tmpfs -o size=64k none "$work/small"
	expect_exit 9 "$collector" serve --db "$work/small/weir.db" \
		--listen "tcp://127.0.0.1:$control_port"
}

# Who does not speak CURVE, or not even ZeroMQ, is cut off and leaves nothing behind.
test_strangers()
{
	fleet_new
	start_collector
	in_host b "$here/peers.py" stranger "$net4.4" $control_port
	in_host b "$here/peers.py" stranger "$net4.4" $((control_port + 1))
	alive "$collector_pid" || fail "the collector has ended"
	expect "hosts" 0 "$(query "SELECT count(*) FROM host")"
	start_probe a # and it still works
	stop_pid "$pid"
}

# Whatever still runs a program keeps it in the kernel, with or without a process.
test_killed_probe()
{
	local hook how

	fleet_new
	start_collector
	for hook in auto xdp tc; do
		start_probe a --hook $hook
		how=$(sed -n 's/.*eth0: attached, //p' "$work/probe-a.log")
		case $hook in
		auto) expect "hooks" tcx+tcx "$how" ;;
		xdp) expect "hooks" xdp+tcx "$how" ;;
		tc) expect "hooks" tc+tc "$how" ;;
		esac
		kill -KILL "$pid"
		wait "$pid" || true
		wait_for 30 no_orphans || fail "programs left: $(orphan_programs)"
		expect "clsact after kill -9" "" "$(in_host a tc qdisc show dev eth0 clsact)"
		expect "XDP after kill -9" 0 "$(in_host a ip link show eth0 | grep -c xdp || true)"
	done
}

test_foreign_xdp_program()
{
	local before

	fleet_new
	cat >"$work/other.bpf.c" <<-END
		__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
		char _license[] __attribute__((section("license"), used)) = "GPL";
	END
	clang -O2 -target bpf -c "$work/other.bpf.c" -o "$work/other.o"
	in_host a ip link set dev eth0 xdp obj "$work/other.o" sec xdp
	before=$(in_host a ip -j -d link show eth0 | grep -o '"prog":{[^}]*}')
	start_collector
	start_probe a --hook xdp
	in_host b ping -q -c 3 -i 0.2 "$net4.1"
	stop_pid "$pid" || fail "the probe ended with status $?"
	expect "the program that was there before" "$before" \
		"$(in_host a ip -j -d link show eth0 | grep -o '"prog":{[^}]*}')"
	expect "echo requests and replies" 3,3 "$(query "SELECT sum(packets), sum(rev_packets)
		FROM flows WHERE proto = 1")"
}
