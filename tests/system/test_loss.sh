# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Packets are lost on the switch; the sender's record must say how many
# segments TCP sent again, as the kernel of the sender counts them.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

drop_on_switch() # PORT PERMILLE, of what the host at PORT sends
{
	in_host switch nft -f - <<-END
		table netdev loss
		delete table netdev loss
		table netdev loss {
			chain lossy {
				type filter hook ingress device "$1" priority 0;
				meta length > 1000 numgen random mod 1000 < $2 drop
			}
		}
	END
}

check_loss() # OFFLOADS PERMILLE BYTES
{
	local before counts port truth kernel weir probe_pid

	drop_on_switch b "$2"
	start_probe b
	probe_pid=$pid
	before=$(retransmitted b)
	counts=$(in_host b "$here/peers.py" send "$net4.1" 5000 "$3")
	kernel=$(($(retransmitted b) - before))
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	port=$(json_field port "$counts") truth=$(json_field total_retrans "$counts")
	weir=$(query "SELECT sum(retrans_pkts) FROM flows
		WHERE host = 'b' AND src_port = $port AND dst_port = 5000")
	echo "offloads $1, $2 of 1000 lost: TcpRetransSegs $kernel, the connection's own count $truth, weir $weir"
	# Fewer would prove nothing: 2 % of 100 are 2 segments.
	[ "$truth" -ge 100 ] || fail "only $truth segments were sent again"
	within "$weir" "$truth" || fail "retransmitted segments: weir $weir, kernel $truth"
	[ "$truth" -le "$kernel" ] || fail "the connection counts more than its host"
	weir=$(query "SELECT sum(kernel_retrans_pkts) FROM flows
		WHERE host = 'b' AND src_port = $port AND dst_port = 5000")
	echo "sent again, as the sender's kernel told the probe: $weir"
	within "$weir" "$truth" || fail "the tracepoint told $weir of $truth"
}

# 2 %
within() # GOT TRUTH
{
	[ $((50 * $1)) -ge $((49 * $2)) ] && [ $((50 * $1)) -le $((51 * $2)) ]
}

test_loss()
{
	fleet_new
	no_offloads a b d
	start_collector
	start sink a "$here/peers.py" sink "$net4.1" 5000
	check_loss off 1 300000000
	check_loss off 10 30000000
	check_loss off 50 5000000
	in_host b ethtool -K eth0 tso on gso on
	check_loss on 20 50000000
}
