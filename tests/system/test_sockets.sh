# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Which software of the host a flow met: the process of its socket, however
# short-lived, the side that listens, and what the kernel dropped of it.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

comm_of() # PID
{
	cat "/proc/$1/comm"
}

# "port pid process role" of the flows of HOST to PORT, in order of the port.
owners_of() # HOST PORT
{
	query "SELECT DISTINCT src_port || ' ' || ifnull(pid, '-') || ' ' || ifnull(process, '-') ||
		' ' || role FROM flows WHERE host = '$1' AND dst_port = $2 AND proto IN (6, 17)
		ORDER BY src_port"
}

same_owners() # WHAT FILE-OF-EXPECTED HOST PORT
{
	owners_of "$3" "$4" | sort >"$work/got"
	sort "$2" | diff - "$work/got" >"$work/diff" || {
		head -20 "$work/diff"
		fail "$1: the lines with < were expected"
	}
	echo "ok: $1: $(wc -l <"$2")"
}

# A process in a cgroup of its own, which is gone with it: the name stays known.
shot_of_cgroup()
{
	local root

	root=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
	mkdir "$root/$prefix.service"
	in_host b sh -c "echo \$\$ >'$root/$prefix.service/cgroup.procs'
		exec '$here/socket_peers.py' shots $net4.1 5355 1" >"$work/grouped"
	rmdir "$root/$prefix.service"
}

test_processes()
{
	local probes=() web echo name tcp udp middle i

	fleet_new
	start_collector
	start web a python3 -m http.server 8080 --bind "$net4.1"
	web=$pid
	start echo a "$here/socket_peers.py" echo "$net4.1" 5353
	echo=$pid
	wait_log echo ready 60
	wait_for 60 in_host a curl -s -o /dev/null "http://$net4.1:8080/" || fail "no web server"
	start middle b "$here/socket_peers.py" midway "$net4.1" 5353 "$work/go"
	middle=$pid
	wait_log middle "$middle" 60

	for i in a b; do
		start_probe $i
		probes+=("$pid")
		wait_log "probe-$i" "processes: told by flow: TCP and UDP" 60
	done
	in_host a unshare --mount sh -c "umount -a -t cgroup2; exec '$probe' check --iface eth0" |
		tee "$work/check" | grep "new UDP sockets: no cgroup2 is mounted" ||
		fail "check does not say what is missing without cgroup2: $(cat "$work/check")"
	in_host b "$here/socket_peers.py" curls "$net4.1" 8080 200 >"$work/curls"
	in_host b "$here/socket_peers.py" shots "$net4.1" 5354 20 >"$work/shots"
	in_host b dig +tries=1 +time=1 "@$net4.1" -p 5399 example.com >"$work/dig" || true
	shot_of_cgroup
	touch "$work/go"
	wait "$middle" || fail "the exchange under way ended with status $?"
	stop_all "${probes[@]}"

	[ "$(wc -l <"$work/curls")" -eq 200 ] || fail "not 200 connections"
	name=$(comm_of "$web")
	awk '{ print $1, $2, "curl", "client" }' "$work/curls" >"$work/want"
	same_owners "clients of 200 short connections" "$work/want" b 8080
	awk -v pid="$web" -v name="$name" '{ print $1, pid, name, "server" }' "$work/curls" >"$work/want"
	same_owners "server of 200 short connections" "$work/want" a 8080

	name=$(comm_of "$echo")
	awk -v name="$name" '{ print $1, $2, name, "client" }' "$work/shots" >"$work/want"
	same_owners "processes of one datagram" "$work/want" b 5354
	expect "process of dig" "dig,client" \
		"$(query "SELECT DISTINCT process, role FROM flows WHERE host = 'b' AND dst_port = 5399")"
	expect "cgroup that is gone" "$(cut -d ' ' -f 2 "$work/grouped"),/$prefix.service" \
		"$(query "SELECT DISTINCT pid, cgroup FROM flows WHERE host = 'b' AND dst_port = 5355")"

	read -r tcp udp middle <"$work/middle.log"
	printf '%s\n' "$tcp $echo $name server" "$udp $echo $name server" >"$work/want"
	same_owners "server of what was under way" "$work/want" a 5353
	printf '%s\n' "$tcp $middle $name unknown" "$udp $middle $name client" >"$work/want"
	same_owners "client of what was under way" "$work/want" b 5353
	expect "FINs taken for drops" "" \
		"$(query "SELECT kernel_drop_reason, count(*) FROM flows WHERE dst_port IN (8080, 5353)
			AND kernel_drop_reason = 'queue_purge' GROUP BY 1")"
	expect "filter by process" 200 "$("$collector" flows --db "$work/weir.db" -q -n 0 -o ndjson \
		'host b and process curl' | grep -o '"src_port":[0-9]*' | sort -u | wc -l)"
}

# --- drops --------------------------------------------------------------------------

counted() # HOST NAME, of the kernel
{
	in_host "$1" nstat -asz "$2" | awk -v name="$2" '$1 == name { print $2 }'
}

drop_counter() # HOST NAME
{
	query "SELECT value FROM probe_counter c JOIN host h ON h.id = c.host_id
		WHERE h.name = '$1' AND c.name = '$2'"
}

drops_of() # HOST PORT; packets, reason, process
{
	query "SELECT sum(kernel_drops), kernel_drop_reason, process FROM flows
		WHERE host = '$1' AND dst_port = $2 GROUP BY 2, 3 HAVING sum(kernel_drops)"
}

# More may be refused while we look.
refused_as_counted() # COUNTER
{
	[ "$(drop_counter a "$1")" = "$(counted a TcpExtListenDrops)" ]
}

send_udp() # HOST ADDR PORT COUNT
{
	in_host "$1" python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[3])):
    s.sendto(bytes(500), (sys.argv[1], int(sys.argv[2])))' "$2" "$3" "$4"
}

# The kernel says why it threw packets away, and of which flow; only this host's count.
test_drops()
{
	local probes=() listener refused i

	fleet_new
	start_collector
	start deaf a "$here/socket_peers.py" deaf "$net4.1" 5400
	start busy a "$here/socket_peers.py" busy "$net4.1" 5401
	listener=$pid
	start guarded a "$here/socket_peers.py" deaf "$net4.1" 9999
	for i in deaf busy guarded; do
		wait_log $i ready 60
	done
	listener=$(comm_of "$listener")
	for i in a b; do
		start_probe $i
		probes+=("$pid")
	done
	in_host a nft -f - <<-END
		table inet weirtest {
			chain input {
				type filter hook input priority 0;
				udp dport 9999 drop
			}
		}
	END
	send_udp b "$net4.1" 9999 20 # the firewall
	send_udp b "$net4.1" 9998 7  # nobody listens
	send_udp b "$net4.1" 5400 50 # who listens does not read
	in_host b "$here/socket_peers.py" knock "$net4.1" 5401 8
	wait_for 60 refused_as_counted "listen_drop_5401_$listener" ||
		fail "listen_drop_5401_$listener: $(drop_counter a "listen_drop_5401_$listener"), kernel $(counted a TcpExtListenDrops)"
	stop_all "${probes[@]}"

	refused=$(drop_counter a "listen_drop_5401_$listener")
	[ "$refused" -ge 4 ] || fail "only $refused connections were refused"
	expect "netfilter_drop" 20 "$(drop_counter a drop_netfilter_drop)"
	expect "no_socket" 7 "$(drop_counter a drop_no_socket)"
	expect "netfilter_drop of the other host" "" "$(drop_counter b drop_netfilter_drop)"
	expect "by flow: netfilter_drop" "20,netfilter_drop,$listener" "$(drops_of a 9999)"
	expect "by flow: no_socket" "7,no_socket," "$(drops_of a 9998)"
	expect "by flow: socket_rcvbuff" "$(counted a UdpRcvbufErrors),socket_rcvbuff,$listener" \
		"$(drops_of a 5400)"
	"$collector" report drops --db "$work/weir.db" -q -o csv | cut -d , -f 1-6 >"$work/report"
	cat "$work/report"
	for i in "a,netfilter_drop,(all),,,20" "a,netfilter_drop,$listener,,1,20" \
		"a,no_socket,,,1,7" "a,listen_queue,$listener,5401,,$refused"; do
		grep -qxF -- "$i" "$work/report" || fail "report drops does not tell $i"
	done
}
