# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Hosts as network namespaces, for the tests of this folder. Everything that a
# test makes is known by $prefix, a pid in $pids or its folder $work: cleanup()
# removes that, and only that.

here=${here:-$(dirname "$(realpath "${BASH_SOURCE[0]}")")}
build=$(realpath -m "${B:-build}")
probe=$build/weir-probe
collector=$build/weir-collector
prefix=weir-$$
net4=10.77.0
net6=fd77:
control_port=7311

work=
pids=()

fail()
{
	echo "FAILED: $*" >&2
	exit 1
}

workdir()
{
	work=$(mktemp -d "/tmp/$prefix.XXXXXX")
}

# --- hosts -------------------------------------------------------------------
# Only the network is another one: `ip netns exec` would hide cgroups as well.
in_host()
{
	local host=$1

	shift
	nsenter --net="/run/netns/$prefix-$host" -- "$@"
}

set_sysctl() # HOST NAME=VALUE...
{
	local host=$1 setting

	shift
	for setting; do
		in_host "$host" tee "/proc/sys/net/${setting%%=*}" <<<"${setting#*=}" >/dev/null
	done
}

# A host says nothing by itself, so that all packets are the test's: no router
# solicitation, no link-local address, no second thoughts about neighbours.
host_new() # HOST...
{
	local host

	for host; do
		ip netns add "$prefix-$host"
		set_sysctl "$host" ipv6/conf/default/addr_gen_mode=1 \
			ipv6/conf/default/accept_ra=0 \
			ipv6/conf/default/router_solicitations=0
		in_host "$host" ip link set lo up
	done
}

# The switch of the fleet: a host called "switch" with a bridge.
switch_new()
{
	ip netns add "$prefix-switch"
	set_sysctl switch ipv6/conf/default/disable_ipv6=1
	in_host switch ip link add br0 type bridge mcast_snooping 0
	in_host switch ip link set br0 up
}

# eth0 of HOST gets the addresses that end in NUMBER; its other end is the port
# HOST of the switch.
plug_in() # HOST NUMBER
{
	in_host "$1" ip link add eth0 type veth peer name "$1" netns "$prefix-switch"
	in_host switch ip link set dev "$1" master br0 up
	set_sysctl "$1" ipv4/neigh/eth0/base_reachable_time_ms=3600000 \
		ipv6/neigh/eth0/base_reachable_time_ms=3600000 \
		ipv4/neigh/eth0/delay_first_probe_time=1 \
		ipv6/neigh/eth0/delay_first_probe_time=1
	in_host "$1" ip address add "$net4.$2/24" dev eth0
	in_host "$1" ip address add "$net6:$2/64" dev eth0 nodad
	in_host "$1" ip link set eth0 up
}

# Each packet on the veth is one packet on the wire.
no_offloads() # HOST...
{
	local host

	for host; do
		in_host "$host" ethtool -K eth0 tso off gso off gro off
		in_host switch ethtool -K "$host" tso off gso off gro off
	done
}

# a, b, c, and the collector's host d, on one switch. Returns when d is known as
# a neighbour and the kernel has finished announcing the new addresses.
fleet_new()
{
	local host

	workdir
	switch_new
	host_new a b c d
	plug_in a 1
	plug_in b 2
	plug_in c 3
	plug_in d 4
	for host in a b c; do
		in_host $host ping -q -c 1 "$net4.4" >/dev/null
	done
	wait_quiet a b c d
}

# --- the kernel's own counters -----------------------------------------------
iface_packets() # HOST
{
	in_host "$1" cat /proc/net/dev | awk '$1 == "eth0:" { print $3 + $11 }'
}

iface_bytes() # HOST
{
	in_host "$1" cat /proc/net/dev | awk '$1 == "eth0:" { print $2 + $10 }'
}

# Segments that TCP has sent again since the host was made.
retransmitted() # HOST
{
	in_host "$1" nstat -asz TcpRetransSegs | awk '$1 == "TcpRetransSegs" { print $2 }'
}

wait_quiet() # HOST...
{
	local before after i

	for i in $(seq 10); do
		before=$(for host; do iface_packets "$host"; done)
		sleep 1.2
		after=$(for host; do iface_packets "$host"; done)
		[ "$before" != "$after" ] || return 0
	done
	fail "interfaces of $* do not come to rest after $i rounds"
}

# --- processes ---------------------------------------------------------------
# Starts a command in the background; its pid is in $pid, its output in
# $work/NAME.log.
start() # NAME HOST COMMAND...
{
	local name=$1 host=$2

	shift 2
	: >"$work/$name.log" # now, not when the command starts
	nsenter --net="/run/netns/$prefix-$host" -- "$@" </dev/null >"$work/$name.log" 2>&1 &
	pid=$!
	pids+=("$pid")
}

alive()
{
	kill -0 "$1" 2>/dev/null
}

# Ends a command that start() began, and gives its exit status.
stop_pid() # PID [SIGNAL]
{
	local i

	kill -"${2:-TERM}" "$1" 2>/dev/null || true
	for i in $(seq 150); do
		alive "$1" || break
		sleep 0.1
	done
	if alive "$1"; then
		echo "process $1 is still there after $((i / 10)) s" >&2
		kill -KILL "$1"
		wait "$1" || true
		return 124
	fi
	wait "$1"
}

wait_for() # SECONDS COMMAND...
{
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

log_has() # NAME TEXT
{
	grep -q -- "$2" "$work/$1.log"
}

wait_log() # NAME TEXT [SECONDS]
{
	wait_for "${3:-60}" log_has "$1" "$2" && return 0
	cat "$work/$1.log" >&2
	fail "$1 does not say \"$2\""
}

# --- weir --------------------------------------------------------------------
collector_url=tcp://$net4.4:$control_port

# shellcheck disable=SC2034 # collector_pid is for the tests
start_collector()
{
	start collector d "$collector" serve --db "$work/weir.db" --listen "$collector_url" \
		--detect-interval 5s --detect-delay 4s
	collector_pid=$pid
	wait_log collector "listening"
}

# shellcheck disable=SC2120 # tests do pass some
join_string() # [OPTION...]
{
	"$collector" enroll token create --db "$work/weir.db" -q --address "$net4.4" \
		--port $control_port --enroll-port $((control_port + 1)) "$@"
}

# Makes a host known to the collector, once: over the network if the collector
# runs, else on paper. Its key is in $work/state-HOST.
enroll() # HOST
{
	local dir=$work/state-$1 line

	[ ! -e "$dir/collectors" ] || return 0
	if [ -S "$work/weir.db-control" ]; then
		in_host "$1" "$probe" enroll --state-dir "$dir" --name "$1" "$(join_string --uses 1)"
	else
		"$collector" init --db "$work/weir.db"
		line=$("$probe" enroll --offline --state-dir "$dir" --name "$1" "$(join_string --uses 1)")
		# shellcheck disable=SC2086 # two words
		"$collector" enroll add --db "$work/weir.db" $line
	fi
}

# Short times, so that the tests are, too. $pins: the folder that outlives it, if a test has one.
start_probe() # HOST [OPTION...]
{
	local host=$1

	shift
	enroll "$host"
	start "probe-$host" "$host" "$probe" run --iface "${probe_iface:-eth0}" \
		--state-dir "$work/state-$host" \
		--name "$host" --spool "$work/spool-$host.db" --pin "${pins:-none}" \
		--active-timeout 2s --idle-timeout 1s --drain-interval 500ms "$@"
	wait_log "probe-$host" "connected" 60
}

query() # SQL; one value a line, columns by comma, no header
{
	"$collector" sql --db "$work/weir.db" -o csv "$1" | tr -d '\r' | tail -n +2
}

expect() # WHAT WANTED GOT
{
	[ "$2" = "$3" ] || fail "$1: expected $2, got $3"
	echo "ok: $1: $3"
}

json_field() # NAME JSON, of a flat object with numbers
{
	sed -E "s/.*\"$1\": *([0-9]+).*/\1/" <<<"$2"
}

expect_exit() # STATUS COMMAND...; the output is in $work/last.log
{
	local wanted=$1 got=0

	shift
	"$@" </dev/null >"$work/last.log" 2>&1 || got=$?
	cat "$work/last.log"
	[ "$got" -eq "$wanted" ] || fail "exit status $got, expected $wanted: $*"
}

# --- the end -----------------------------------------------------------------
namespaces()
{
	ip netns list | awk -v prefix="$prefix-" 'index($1, prefix) == 1 { print $1 }'
}

sanitizer_reports()
{
	grep -lE 'AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:' \
		"$work"/*.log 2>/dev/null
}

# Whatever a test is about: every packet that a probe of it saw is in a record or
# in a counter that says why not. Asked of hosts whose probe began once, ended as
# it should and had nothing to drop.
hosts_that_ended()
{
	local log host

	for log in "$work"/probe-*.log; do
		host=${log##*/probe-}
		grep -qs "the collector has everything" "$log" && query "SELECT name FROM host h
			WHERE name = '${host%.log}'
			  AND (SELECT count(*) FROM epoch e WHERE e.host_id = h.id) = 1
			  AND NOT EXISTS (SELECT 1 FROM loss l WHERE l.host_id = h.id)"
	done
}

conserved()
{
	local host difference wrong=0

	[ -f "$work/weir.db" ] || return 0
	for host in $(hosts_that_ended); do
		difference=$(query "WITH c AS (SELECT c.name, value FROM probe_counter c
			JOIN host h ON h.id = c.host_id WHERE h.name = '$host')
			SELECT (SELECT value FROM c WHERE name = 'packets_seen')
			     - (SELECT ifnull(sum(packets + rev_packets), 0) FROM flows
			         WHERE host = '$host')
			     - (SELECT sum(value) FROM c WHERE name IN ('packets_seen_elsewhere',
			        'packets_not_ip', 'packets_truncated', 'packets_bad_header',
			        'packets_too_deep'))")
		echo "packets seen by $host and not accounted for: $difference"
		[ "$difference" = 0 ] || wrong=1
	done
	return $wrong
}

# Runs at the end of a test's shell, however it ends.
cleanup()
{
	local status=$? i p ns

	trap - EXIT TERM
	set +e
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		alive "${pids[i]}" && stop_pid "${pids[i]}"
	done
	for ns in $(namespaces); do
		for p in $(ip netns pids "$ns"); do
			kill -KILL "$p"
		done
		ip netns delete "$ns"
	done
	if [ -n "$work" ]; then
		conserved || status=1
		if sanitizer_reports; then
			cat "$work"/*.log
			status=1
		elif [ "$status" -ne 0 ]; then
			tail -n 20 "$work"/*.log
		fi
		mountpoint -q "$work/small" && umount "$work/small"
		mountpoint -q "$work/bpf" && umount "$work/bpf"
		rm -rf "$work"
	fi
	exit "$status"
}

# BPF programs of weir, by id, that no living process holds: what a probe would
# leave behind. A probe that runs elsewhere on this machine is not ours.
orphan_programs()
{
	local id

	bpftool prog show | sed -n 's/^\([0-9]*\): .* name weir_.*/\1/p' | while read -r id; do
		grep -qsE "^prog_id:[[:space:]]+$id\$" /proc/[0-9]*/fdinfo/* || echo "$id"
	done
}

no_orphans()
{
	[ -z "$(orphan_programs)" ]
}

# Checks that the test has left nothing. Programs are freed a moment after
# their last user is gone.
leftovers()
{
	if [ -n "$(namespaces)" ]; then
		echo "left behind: namespaces $(namespaces)"
		return 1
	fi
	if ! wait_for 30 no_orphans; then
		echo "left behind: BPF programs $(orphan_programs)"
		return 1
	fi
}
