#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Installs what the tests need, then runs them all: lint, build, unit tests,
# BPF programs on crafted packets, and the fleet of network namespaces. Needs
# root for the last two; takes sudo when it is not.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
	exec sudo deploy/selftest.sh
fi
deploy/install-deps.sh test
make -j"$(nproc)" all
exec make check </dev/null
