// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/settings.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/output.h"
#include "common/utf8.h"
#include "probe/datapath/hooks.h"
#include "probe/spool/spool.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/link.h"
#include "proto/message.h"

#define AT(field) offsetof(struct settings, field)
#define TABLE(rows)                                                                                \
	{                                                                                          \
		rows, sizeof(rows) / sizeof(*(rows))                                               \
	}
#define PIN_HELP "folder in bpffs for what outlives a killed probe; none: nothing"
#define MS_MAX	 86400e3 /* a day */

static const struct option_row capture_rows[] = {
	{"iface", 'i', OPTION_LIST, AT(ifaces), "IFACE", NULL, "all", 0, 0,
	 "interface to watch; all: every one that is up", false},
	{"hook", 0, OPTION_CHOICE, AT(hook), "HOOK", HOOKS_MODE_CHOICES, "auto", 0, 0,
	 "how to attach; auto: XDP for ingress on hardware, TCX for the rest, TC before Linux 6.6",
	 false},
	{"max-flows", 0, OPTION_U64, AT(max_flows), "N", NULL, "131072", 1024, 4 << 20,
	 "flows that the kernel's table holds at once", false},
	{"active-timeout", 0, OPTION_DURATION_MS, AT(active_ms), "TIME", NULL, "15s", 100, MS_MAX,
	 "report a flow that goes on this often", false},
	{"idle-timeout", 0, OPTION_DURATION_MS, AT(idle_ms), "TIME", NULL, "15s", 100, MS_MAX,
	 "end a flow after this silence, where no option for its protocol says otherwise", false},
	{"tcp-idle-timeout", 0, OPTION_DURATION_MS, AT(tcp_idle_ms), "TIME", NULL, "60s", 100,
	 MS_MAX, "end a TCP connection after this silence", false},
	{"udp-idle-timeout", 0, OPTION_DURATION_MS, AT(udp_idle_ms), "TIME", NULL, NULL, 100,
	 MS_MAX, "end a UDP flow after this silence; default: --idle-timeout", false},
	{"icmp-idle-timeout", 0, OPTION_DURATION_MS, AT(icmp_idle_ms), "TIME", NULL, NULL, 100,
	 MS_MAX, "end an ICMP or ICMPv6 flow after this silence; default: --idle-timeout", false},
	{"log-level", 0, OPTION_CHOICE, AT(log_level), "LEVEL", "error|warn|info|debug", "info", 0,
	 0, "what goes to stderr", false},
};

static const struct option_row run_rows[] = {
	{"collector", 'c', OPTION_LIST, AT(collectors), "tcp://HOST:PORT", NULL, NULL, 0, 0,
	 "where to send the records: the first that answers; default: where this host has enrolled",
	 false},
	{"state-dir", 0, OPTION_STRING, AT(state_dir), "FOLDER", NULL, KEYRING_DEFAULT, 0, 0,
	 "where the key of this host is", false},
	{"name", 0, OPTION_STRING, AT(name), "NAME", NULL, NULL, 0, 0,
	 "name of this host in reports; default: the host name", false},
	{"drain-interval", 0, OPTION_DURATION_MS, AT(drain_ms), "TIME", NULL, "1s", 50, 60e3,
	 "read the flow table this often", false},
	{"spool", 0, OPTION_STRING, AT(spool), "FILE", NULL, NULL, 0, 0,
	 "file for records that the collector has not acknowledged, none: memory; "
	 "default: " SETTINGS_SPOOL,
	 false},
	{"spool-max", 0, OPTION_BYTES, AT(spool_max), "SIZE", NULL, "1G", 1 << 20, 1ll << 40,
	 "size of that file; in memory at most 64M", false},
	{"pin", 0, OPTION_STRING, AT(pin), "FOLDER", NULL, SETTINGS_PIN, 0, 0, PIN_HELP, false},
	{"config", 0, OPTION_STRING, AT(config), "FILE", NULL, NULL, 0, 0,
	 "read settings from this file (name = value)", true},
	{"check-config", 0, OPTION_FLAG, AT(check_config), NULL, NULL, NULL, 0, 0,
	 "check the settings and exit", true},
};

static const struct option_row cleanup_rows[] = {
	{"pin", 0, OPTION_STRING, AT(pin), "FOLDER", NULL, SETTINGS_PIN, 0, 0, PIN_HELP, true},
	{"all", 0, OPTION_FLAG, AT(all), NULL, NULL, NULL, 0, 0,
	 "of all network namespaces, not only of this one", true},
};

static const struct option_row show_rows[] = {
	{"once", '1', OPTION_FLAG, AT(once), NULL, NULL, NULL, 0, 0,
	 "print one snapshot and exit; the default unless stdout is a terminal", true},
	{"interval", 0, OPTION_DURATION_MS, AT(interval_ms), "TIME", NULL, NULL, 100, 60e3,
	 "what rates are measured over; default: 1s on a terminal, 2s for a snapshot", true},
	{"rows", 'n', OPTION_U64, AT(rows), "N", NULL, NULL, 1, 4 << 20,
	 "flows to print, the busiest first; default: all, or what fits the terminal", true},
	{"output", 'o', OPTION_CHOICE, AT(format), "FORMAT", OUTPUT_FORMAT_CHOICES, "table", 0, 0,
	 "form of a snapshot", true},
};

static const struct option_row check_rows[] = {
	{"pin", 0, OPTION_STRING, AT(pin), "FOLDER", NULL, SETTINGS_PIN, 0, 0, PIN_HELP, true},
	{"live", 0, OPTION_DURATION_MS, AT(live_ms), "TIME", NULL, NULL, 100, MS_MAX,
	 "measure for this long, and account for every packet", true},
	{"output", 'o', OPTION_CHOICE, AT(format), "FORMAT", OUTPUT_FORMAT_CHOICES, "table", 0, 0,
	 "form of the answer", true},
};

const struct command run_command = {
	.name = "run",
	.summary = "measure the flows of this host and send them to a collector",
	.examples = "  weir-probe run\n"
		    "  weir-probe run --iface eth0,wg0 --collector tcp://[fd00::1]:7441\n",
	.tables = {TABLE(capture_rows), TABLE(run_rows)},
};

const struct command show_command = {
	.name = "show",
	.summary = "the live flow table of this host, no collector needed",
	.examples = "  weir-probe show\n"
		    "  weir-probe show --once -n 10 -o json --iface eth0\n",
	.tables = {TABLE(capture_rows), TABLE(show_rows)},
};

const struct command check_command = {
	.name = "check",
	.summary = "what this kernel lets weir do; --live: is every packet accounted for",
	.examples = "  weir-probe check\n"
		    "  weir-probe check --live 10s\n",
	.tables = {TABLE(capture_rows), TABLE(check_rows)},
};

const struct command cleanup_command = {
	.name = "cleanup",
	.summary = "remove what a killed probe has left in the kernel",
	.examples = "  weir-probe cleanup\n"
		    "  weir-probe cleanup --all\n",
	.tables = {TABLE(cleanup_rows)},
};

/* As the protocol wants it, and printable. */
static bool is_host_name(const char *name)
{
	size_t len = strlen(name), n;
	uint32_t code;

	if (len == 0 || len > HOST_NAME_MAX_BYTES)
		return false;
	for (; *name; name += n) {
		n = utf8_next(name, strlen(name), &code);
		if (n == 0 || !utf8_printable(code))
			return false;
	}
	return true;
}

static int check_run(const struct settings *s)
{
	if (s->collectors.n > KEYRING_MAX) {
		log_error("--collector: more than %d", KEYRING_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < s->collectors.n; i++) {
		if (link_check_url(s->collectors.items[i]) == 0)
			continue;
		log_error("--collector \"%s\" is not tcp://HOST:PORT", s->collectors.items[i]);
		return -EINVAL;
	}
	if (s->name && !is_host_name(s->name)) {
		log_error("--name must be 1 to %d bytes of printable UTF-8", HOST_NAME_MAX_BYTES);
		return -EINVAL;
	}
	return 0;
}

int settings_parse(const struct command *cmd, int argc, char **argv, struct settings *ret)
{
	int first, err;

	err = options_parse(cmd, "weir-probe", argc, argv, ret, &first);
	if (err)
		return err;
	if (cmd == &cleanup_command)
		return 0;
	log_set_level((enum log_level)ret->log_level);
	if (ret->ifaces.n == 0) {
		log_error("--iface is empty");
		return -EINVAL;
	}
	return cmd == &run_command ? check_run(ret) : 0;
}

const char *settings_spool(const struct settings *s)
{
	if (!s->spool)
		return SETTINGS_SPOOL;
	return strcmp(s->spool, "none") == 0 ? SPOOL_IN_MEMORY : s->spool;
}

const char *settings_pins(const struct settings *s)
{
	return !s->pin || strcmp(s->pin, "none") == 0 ? NULL : s->pin;
}

void settings_free(const struct command *cmd, struct settings *s)
{
	options_free(cmd->tables, s);
}
