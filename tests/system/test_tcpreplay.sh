# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# The same packets from a file and from a wire: captures sent over a veth pair
# by tcpreplay give the conversations, packets and bytes that replay gives.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

captures=${CAPTURES:-$here/../../../shared/captures}

# IPv4, IPv6, VLANs, tunnels, fragments, TCP, UDP, ICMP, SCTP.
replayed=(zeek__methods.pcap zeek__nmap-vsn.pcap zeek__sctp.pcap zeek__gre-sample.pcap
	nDPI__vxlan.pcap nDPI__6in4tunnel.pcap zeek__vlan-collisions.pcap
	sanders__ip_frag_source.pcapng sanders__ipv6_fragments.pcapng nDPI__teams.pcap)

same_conversations() # FILE
{
	"$probe" replay --log-level warn "$captures/$1" >"$work/file.ndjson"
	query "SELECT src_addr, src_port, dst_addr, dst_port, proto, sum(packets), sum(bytes),
		sum(rev_packets), sum(rev_bytes) FROM flows WHERE iface = 'wire1'
		GROUP BY 1, 2, 3, 4, 5" >"$work/wire.csv"
	python3 - "$1" "$work/file.ndjson" "$work/wire.csv" <<-'END'
		import collections, csv, json, sys
		def add(table, a, a_port, b, b_port, proto, counts):
		    ends = sorted([(a, int(a_port), counts[:2]), (b, int(b_port), counts[2:])])
		    key = (int(proto), ends[0][:2], ends[1][:2])
		    table[key] = [x + int(y) for x, y in zip(table[key], ends[0][2] + ends[1][2])]
		file, wire = (collections.defaultdict(lambda: [0] * 4) for _ in range(2))
		for line in open(sys.argv[2]):
		    r = json.loads(line)
		    add(file, r["src_addr"], r["src_port"], r["dst_addr"], r["dst_port"], r["proto"],
		        [r[c] for c in ("packets", "bytes", "rev_packets", "rev_bytes")])
		for row in csv.reader(open(sys.argv[3])):
		    add(wire, *row[:5], row[5:])
		for key in file.keys() | wire.keys():
		    if file[key] != wire[key]:
		        print(key, "file", file[key], "wire", wire[key])
		print(f"{sys.argv[1]}: {len(file)} conversations, {sum(map(sum, file.values()))} counts")
		sys.exit(dict(file) != dict(wire) or not file)
	END
}

test_tcpreplay()
{
	local file

	if [ ! -d "$captures" ]; then
		echo "skipped: no folder $captures (CAPTURES=DIR)"
		return
	fi
	fleet_new
	in_host a ip link add wire0 mtu 9000 type veth peer name wire1
	in_host a ip link set wire0 up
	in_host a ip link set wire1 mtu 9000 up
	for file in "${replayed[@]}"; do
		rm -rf "$work"/weir.db* "$work/state-a" "$work"/spool-a.db* # another collector, another host
		start_collector
		start_probe a --iface wire1
		in_host a tcpreplay --intf1=wire0 --pps=4000 "$captures/$file" >"$work/tcpreplay.log" 2>&1
		stop_pid "$pid" || fail "the probe ended with status $?"
		stop_pid "$collector_pid" || fail "the collector ended with status $?"
		same_conversations "$file" || fail "$file is not the same on the wire"
	done
}
