#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# From a fresh checkout to a live report: installs what is missing, builds,
# starts a collector and a probe on this machine and shows what they see, until
# Ctrl-C. Leaves nothing behind: the database is in a temporary folder, the
# programs are detached, the processes ended, however this script ends.
#
#   deploy/quickstart.sh               a live report
#   deploy/quickstart.sh --seconds N   one report after N seconds, then the end
#
# Without a terminal it behaves as with --seconds 15. Exit status 1: no traffic.
set -euo pipefail
cd "$(dirname "$0")/.."

usage()
{
	echo "usage: $0 [--seconds N]" >&2
	exit 2
}

build=${B:-build}
seconds=
case $# in
0) [ -t 1 ] || seconds=15 ;;
2) [[ $1 = --seconds && $2 =~ ^[0-9]+$ ]] || usage; seconds=$2 ;;
*) usage ;;
esac
if [ "$(id -u)" -ne 0 ]; then
	exec sudo B="$build" deploy/quickstart.sh "$@"
fi

deploy/install-deps.sh run
make -j"$(nproc)" B="$build" all

dir=$(mktemp -d /tmp/weir-quickstart.XXXXXX)
db=$dir/weir.db
pids=()

end()
{
	trap - EXIT INT TERM HUP
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do # the collector last
		kill "${pids[i]}" 2>/dev/null || true
		wait "${pids[i]}" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Ends with this shell, even if the shell is killed without a word; Ctrl-C is
# for the shell alone, which ends the probe before its collector.
start() # LOG COMMAND...
{
	local log=$1

	shift
	setsid setpriv --pdeathsig TERM -- "$@" </dev/null >"$dir/$log" 2>&1 &
	pids+=($!)
}

wait_log() # LOG TEXT
{
	for _ in {1..100}; do
		grep -q "$2" "$dir/$1" && return 0
		kill -0 "${pids[-1]}" 2>/dev/null || break
		sleep 0.1
	done
	cat "$dir/$1" >&2
	exit 1
}

# Signals are handled while this waits, not afterwards.
pause()
{
	sleep "$1" &
	wait $! || true
}

# The next one is free as well: for enrolment.
free_port()
{
	local port=7441

	while ss -Hltn | grep -qE ":($port|$((port + 1))) "; do
		port=$((port + 1))
	done
	echo "$port"
}

url=tcp://127.0.0.1:$(free_port)
start collector.log "$build"/weir-collector serve --db "$db" --listen "$url"
wait_log collector.log "listening"
mapfile -t ifaces < <(ip -o link show up | sed -E 's/^[0-9]+: ([^:@]+).*/\1/')
join=$("$build"/weir-collector enroll token create --db "$db" --quiet)
"$build"/weir-probe enroll --state-dir "$dir/state" "$join"
start probe.log "$build"/weir-probe run --spool none --state-dir "$dir/state" "${ifaces[@]/#/--iface=}" \
	--active-timeout 2s --idle-timeout 4s --drain-interval 1s
wait_log probe.log "connected"
echo "weir watches ${ifaces[*]}; a ping of 127.0.0.1 makes sure that there is something to see"
start ping.log ping -i 1 127.0.0.1

ask() # COMMAND [OPTION...]
{
	"$build"/weir-collector "$@" --db "$db" --quiet
}

report()
{
	ask hosts
	echo
	ask report top --by proto_name,src_addr,dst_addr,dst_port --since 60s -n 8
	echo
	ask flows --since 60s -n 10
}

if [ -n "$seconds" ]; then
	pause "$seconds"
	report
	[ "$(ask flows -n 1 -o json)" != "[]" ] || { echo "no traffic seen" >&2; exit 1; }
	exit 0
fi
while true; do
	screen=$(report)
	printf '\033[H\033[J%s\n\nCtrl-C ends it and leaves nothing behind.\n' "$screen"
	pause 2
done
