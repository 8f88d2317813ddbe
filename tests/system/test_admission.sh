# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Who is let in, by whom, and who no longer is.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

admin() # COMMAND...
{
	"$collector" "$@" --db "$work/weir.db"
}

enroll_with() # HOST JOINSTRING [OPTION...]
{
	local host=$1 join=$2

	shift 2
	in_host "$host" "$probe" enroll --state-dir "$work/state-$host" --name "$host" "$@" "$join"
}

run_probe() # HOST NAME
{
	start "probe-$1" "$1" "$probe" run --iface eth0 --state-dir "$work/state-$1" --name "$2" \
		--active-timeout 1s --idle-timeout 1s --drain-interval 200ms
}

pings_of() # HOST; how many echo requests are in the database
{
	query "SELECT ifnull(sum(packets), 0) FROM flows WHERE host = '$1' AND icmp_type = 8"
}

has_pings() # HOST COUNT
{
	[ "$(pings_of "$1")" = "$2" ]
}

# A token lets in as many as it says, until it says, unless it is revoked.
test_tokens()
{
	local join

	fleet_new
	start_collector
	join=$(join_string --uses 1)
	enroll_with a "$join"
	enroll_with a "$join" # the same host again is no other use
	expect_exit 5 enroll_with b "$join"
	expect_exit 2 enroll_with b "${join%?}"
	expect_exit 5 enroll_with b "$(join_string --ttl 1ms)"
	join=$(join_string --uses 10)
	admin enroll token revoke 3
	expect_exit 5 enroll_with b "$join"
	expect "tokens" "used up/expired/revoked" \
		"$(query "SELECT group_concat(CASE WHEN revoked_ms THEN 'revoked'
			WHEN uses >= max_uses THEN 'used up' ELSE 'expired' END, '/') FROM token")"
	expect "keys that are known" 1 "$(query "SELECT count(*) FROM host_key")"
	run_probe b b
	wait_log probe-b "not enrolled" # it ends
	# Somebody else's collector, though its address is right: the key is another one.
	"$collector" init --db "$work/other.db"
	join=$("$collector" enroll token create --db "$work/other.db" -q --address "$net4.4" \
		--port $control_port --enroll-port $((control_port + 1)))
	expect_exit 4 enroll_with b "$join"
}

waits()
{
	[ "$(query "SELECT count(*) FROM host_key WHERE state = 'pending'")" = "$1" ]
}

# One waits for an approval, one is sent away, and a name that is taken waits as well.
test_approval()
{
	local join enrolling rejected

	fleet_new
	start_collector
	join=$(join_string --uses 5 --approve)
	start enroll-a a "$probe" enroll --state-dir "$work/state-a" --name a "$join"
	enrolling=$pid
	start enroll-b b "$probe" enroll --state-dir "$work/state-b" --name b "$join"
	rejected=$pid
	wait_for 60 waits 2 || fail "nobody waits"
	admin enroll pending
	admin enroll approve a
	admin enroll reject "$(query "SELECT fingerprint FROM host_key WHERE name = 'b'")"
	wait "$enrolling" || fail "a is not let in: status $?"
	wait "$rejected" && fail "b is let in"
	enroll_with c "$(join_string)"
	run_probe c a # its own name is c: names are claims
	wait_log probe-c connected 60
	stop_pid "$pid" || fail "the probe ended with status $?"
	rm -r "$work/state-b"
	start enroll-b b "$probe" enroll --state-dir "$work/state-b" --name a "$(join_string)"
	wait_for 60 waits 1 || fail "a second host of a name does not wait"
	stop_pid "$pid" && fail "it did not wait"
	return 0
}

turned_away() # how often, a
{
	query "SELECT ifnull(sum(count), 0) FROM refusal WHERE peer = '$net4.1'
		AND reason = 'its key is not admitted'"
}

turned_away_after() # COUNT
{
	[ "$(turned_away)" -gt "$1" ]
}

# Nothing of a revoked host comes in, over the connection that it has, until it
# is admitted again; then nothing is missing. A new name or key is no new host.
test_revoke_and_rotate()
{
	local first before

	fleet_new
	start_collector
	enroll a
	run_probe a a
	first=$pid
	wait_log probe-a connected 60
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	wait_for 60 has_pings a 3 || fail "nothing comes in"
	admin hosts revoke a
	in_host a ping -q -c 4 -i 0.2 "$net4.2" >/dev/null
	wait_log probe-a "not admitted" 60
	expect "state" revoked "$("$collector" hosts --db "$work/weir.db" -q -o csv |
		tr -d '\r' | tail -n +2 | cut -d, -f2)"
	sleep 2 # longer than a record takes
	expect "echo requests" 3 "$(pings_of a)"
	admin hosts admit a
	wait_for 60 has_pings a 7 || fail "what was measured meanwhile does not come"
	in_host a "$probe" key rotate --state-dir "$work/state-a"
	in_host a ping -q -c 2 -i 0.2 "$net4.2" >/dev/null
	wait_for 60 has_pings a 9 || fail "the old key is no longer good before the new one is used"
	stop_pid "$first" || fail "the probe ended with status $?"
	run_probe a renamed
	wait_log probe-a connected 60
	stop_pid "$pid" || fail "the probe ended with status $?"
	expect "hosts" renamed "$(query "SELECT name FROM host")"
	admin hosts revoke renamed
	before=$(turned_away)
	run_probe a renamed # turned away at the door: it says so, and so does the collector
	wait_log probe-a "not admitted" 60
	stop_pid "$pid" || fail "the probe ended with status $?"
	wait_for 60 turned_away_after "$before" || fail "nobody counts who is turned away"
	admin hosts admit renamed
	expect "echo requests of the host's new name" 9 "$(pings_of renamed)"
	expect "keys" "admitted/retired" "$(query "SELECT group_concat(state, '/') FROM
		(SELECT state FROM host_key ORDER BY state)")"
}
