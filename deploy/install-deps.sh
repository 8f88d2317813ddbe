#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Installs the Debian 12 packages that weir needs. Does nothing, and needs no
# network, when all of them are there.
#
#   deploy/install-deps.sh run     to build and run (the default)
#   deploy/install-deps.sh test    also to lint and test
set -eu

run="gcc make clang bpftool libbpf-dev libelf-dev zlib1g-dev
     protobuf-c-compiler libprotobuf-c-dev libzmq3-dev libsodium-dev
     libsqlite3-dev libzstd-dev libedit-dev libinih-dev libsmartcols-dev
     nettle-dev pkg-config
     iproute2 iputils-ping"
test="libcmocka-dev clang-format clang-tidy cppcheck shellcheck sqlite3
      bind9-dnsutils curl ethtool iperf3 nftables nmap python3 tcpdump
      tcpreplay"

case "${1:-run}" in
run) wanted=$run ;;
test) wanted="$run $test" ;;
*) echo "usage: $0 [run|test]" >&2; exit 2 ;;
esac

missing=
for package in $wanted; do
	case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" in
	installed) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # lists of words
{
	$as_root apt-get update -qq
	$as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
