# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Somebody sets the wall clock of a host: its records follow, and every step is
# counted. The clock of this machine stays as it is: see shift_clock.c.

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

set_shift() # MS
{
	python3 -c 'import os, struct, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.pwrite(fd, struct.pack("<q", int(sys.argv[2])), 0)' "$work/shift" "$1"
}

clock_counter() # NAME
{
	query "SELECT value FROM probe_counter WHERE name = '$1'"
}

steps_stored() # TIMES
{
	[ "$(clock_counter clock_steps)" = "$1" ]
}

test_clock_set()
{
	local probe_pid now_ms

	fleet_new
	start_collector
	"${CC:-cc}" -shared -fPIC -O2 -o "$work/shift_clock.so" "$here/shift_clock.c"
	set_shift 0
	enroll a
	start probe-a a env LD_PRELOAD="$work/shift_clock.so" SHIFT_CLOCK="$work/shift" \
		ASAN_OPTIONS=verify_asan_link_order=0 \
		"$probe" run --iface eth0 --spool "$work/spool-a.db" --state-dir "$work/state-a" --name a \
		--active-timeout 2s --idle-timeout 1s --drain-interval 500ms
	probe_pid=$pid
	wait_log probe-a "connected" 60
	wait_for 60 steps_stored 0 || fail "the counters do not come"
	set_shift 900 # below a second: no step
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	set_shift 3600900
	wait_log probe-a "wall clock was set by +3" 60
	wait_for 60 steps_stored 1 || fail "the first step is not stored"
	now_ms=$(date +%s000)
	in_host a ping -q -c 3 -i 0.2 "$net4.2" >/dev/null
	set_shift 600900
	wait_log probe-a "wall clock was set by -[23]" 60
	wait_for 60 steps_stored 2 || fail "the second step is not stored"
	stop_pid "$probe_pid" || fail "the probe ended with status $?"
	expect "echo requests and replies" 6,6 "$(query "SELECT sum(packets), sum(rev_packets)
		FROM flows WHERE icmp_type = 8")"
	expect "records an hour ahead, of what came after the first step" 1 "$(query "SELECT
		count(*) > 0 FROM flows WHERE end_ms > $now_ms + 3500000")"
	"$collector" hosts --db "$work/weir.db" --since 2h -q -o csv | tr -d '\r' >"$work/hosts.csv"
	python3 - "$work/hosts.csv" <<-'END' || fail "hosts does not tell: $(cat "$work/hosts.csv")"
		import csv, sys
		(host,) = csv.DictReader(open(sys.argv[1]))
		assert host["clock_steps"] == "2", host
		assert abs(int(host["clock_step_ms"]) - 600000) < 100, host
	END
}
