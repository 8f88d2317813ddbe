/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "tests/unit/capture.h"
#include "tests/unit/fail_alloc.h"

struct settings {
	char *config, *name;
	bool verbose;
	uint64_t limit, cache, idle_ms;
	double ratio;
	struct option_list ifaces;
	int format;
	int64_t since_ms;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row common_rows[] = {
	{.name = "config",
	 .letter = 'c',
	 .type = OPTION_STRING,
	 .offset = AT(config),
	 .arg = "FILE",
	 .help = "configuration file",
	 .cli_only = true},
	{.name = "verbose",
	 .letter = 'v',
	 .type = OPTION_FLAG,
	 .offset = AT(verbose),
	 .help = "say more"},
};
static const struct option_row rows[] = {
	{.name = "limit",
	 .letter = 'n',
	 .type = OPTION_U64,
	 .offset = AT(limit),
	 .arg = "N",
	 .fallback = "10",
	 .min = 1,
	 .max = 1000000,
	 .help = "rows to print"},
	{.name = "cache",
	 .type = OPTION_BYTES,
	 .offset = AT(cache),
	 .arg = "BYTES",
	 .fallback = "64M",
	 .help = "page cache"},
	{.name = "idle",
	 .type = OPTION_DURATION_MS,
	 .offset = AT(idle_ms),
	 .arg = "TIME",
	 .fallback = "15s",
	 .min = 1000,
	 .max = 3600000,
	 .help = "a flow that has been quiet for so long is ended and a record of it is sent"},
	{.name = "ratio",
	 .type = OPTION_DOUBLE,
	 .offset = AT(ratio),
	 .arg = "X",
	 .fallback = "0.5",
	 .min = 0,
	 .max = 1,
	 .help = "a share"},
	{.name = "iface",
	 .letter = 'i',
	 .type = OPTION_LIST,
	 .offset = AT(ifaces),
	 .arg = "NAME",
	 .fallback = "lo",
	 .help = "interfaces"},
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_CHOICE,
	 .offset = AT(format),
	 .arg = "FORMAT",
	 .choices = "table|json|ndjson|csv",
	 .fallback = "table",
	 .help = "how to print"},
	{.name = "since",
	 .type = OPTION_TIME,
	 .offset = AT(since_ms),
	 .arg = "TIME",
	 .help = "not before this"},
	{.name = "name",
	 .type = OPTION_STRING,
	 .offset = AT(name),
	 .arg = "TEXT",
	 .fallback = "unnamed",
	 .help = "a name"},
};
static const struct command cmd = {
	.name = "run",
	.args = "[FILTER...]",
	.summary = "try the options",
	.examples = "weir-test run -n 5\nweir-test run --iface eth0",
	.tables = {{rows, sizeof(rows) / sizeof(rows[0])},
		   {common_rows, sizeof(common_rows) / sizeof(common_rows[0])}},
};

/* --- a configuration file and a command line -------------------------------- */

static char config_path[] = "/tmp/test_options.XXXXXX";
static struct capture capture;

static int make_config(void **state)
{
	int fd = mkstemp(config_path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int drop_config(void **state)
{
	(void)state;
	return unlink(config_path);
}

static void write_config(const char *text)
{
	FILE *f = fopen(config_path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

#define MAX_ARGS 16

struct line {
	char *argv[MAX_ARGS];
	int argc, first;
};

/* Parses words split at spaces; what is said is in capture. */
static int parse(const char *words, struct settings *s, struct line *ret)
{
	static char buf[512];
	char *save = NULL;
	int err;

	*ret = (struct line){.argv = {"run"}, .argc = 1, .first = -1};
	(void)snprintf(buf, sizeof(buf), "%s", words);
	for (char *w = strtok_r(buf, " ", &save); w; w = strtok_r(NULL, " ", &save))
		ret->argv[ret->argc++] = w;
	capture_start(&capture);
	err = options_parse(&cmd, "weir-test", ret->argc, ret->argv, s, &ret->first);
	capture_stop(&capture);
	return err;
}

static void parse_ok(const char *words, struct settings *s, struct line *ret)
{
	memset(s, 0xa5, sizeof(*s)); /* the parser sets every field itself */
	if (parse(words, s, ret) != 0)
		fail_msg("%s: %s", words, capture.err);
	assert_string_equal(capture.err, "");
}

static void check_refused(const char *words, const char *message)
{
	struct settings s;
	struct line line;

	assert_int_equal(parse(words, &s, &line), -EINVAL);
	if (!strstr(capture.err, message))
		fail_msg("%s: %s", words, capture.err);
	assert_ptr_equal(strchr(capture.err, '\n'),
			 capture.err + strlen(capture.err) - 1); /* one line */
	assert_null(s.name);
	assert_null(s.ifaces.items);
}

/* --- tests ------------------------------------------------------------------- */

static void defaults_hold(void **state)
{
	struct settings s;
	struct line line;

	(void)state;
	parse_ok("", &s, &line);
	assert_int_equal(line.first, 1);
	assert_null(s.config);
	assert_false(s.verbose);
	assert_int_equal(s.limit, 10);
	assert_int_equal(s.cache, 64 << 20);
	assert_int_equal(s.idle_ms, 15000);
	assert_true(s.ratio == 0.5);
	assert_int_equal(s.ifaces.n, 1);
	assert_string_equal(s.ifaces.items[0], "lo");
	assert_int_equal(s.format, 0);
	assert_true(s.since_ms == INT64_MIN);
	assert_string_equal(s.name, "unnamed");
	options_free(cmd.tables, &s);
	assert_null(s.name);
	assert_int_equal(s.ifaces.n, 0);
	options_free(cmd.tables, &s);
}

static void every_spelling_is_read(void **state)
{
	static const char *const spellings[] = {"--limit 25", "--limit=25", "-n 25", "-n25",
						"-n 7 --limit 25"};
	struct settings s;
	struct line line;

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		parse_ok(spellings[i], &s, &line);
		assert_int_equal(s.limit, 25);
		options_free(cmd.tables, &s);
	}
	parse_ok("-v -i eth0,eth1 --iface=eth2 -o csv --name= --ratio 1e-1", &s, &line);
	assert_true(s.verbose);
	assert_int_equal(s.ifaces.n, 3); /* the default is replaced, not added to */
	assert_string_equal(s.ifaces.items[0], "eth0");
	assert_string_equal(s.ifaces.items[2], "eth2");
	assert_int_equal(s.format, 3);
	assert_string_equal(s.name, "");
	assert_true(s.ratio == 0.1);
	options_free(cmd.tables, &s);
}

static void suffixes_scale(void **state)
{
	struct settings s;
	struct line line;

	(void)state;
	parse_ok("--limit 2k --cache 2k --idle 1500ms", &s, &line);
	assert_int_equal(s.limit, 2000);
	assert_int_equal(s.cache, 2048);
	assert_int_equal(s.idle_ms, 1500);
	options_free(cmd.tables, &s);
	parse_ok("--limit 1M --cache 3G --idle 1h", &s, &line);
	assert_int_equal(s.limit, 1000000);
	assert_true(s.cache == 3ull << 30);
	assert_int_equal(s.idle_ms, 3600000);
	options_free(cmd.tables, &s);
	parse_ok("--idle 2m", &s, &line);
	assert_int_equal(s.idle_ms, 120000);
	options_free(cmd.tables, &s);
	parse_ok("--idle 5", &s, &line);
	assert_int_equal(s.idle_ms, 5000);
	options_free(cmd.tables, &s);
}

static void positional_arguments_mix_with_options(void **state)
{
	struct settings s;
	struct line line;

	(void)state;
	parse_ok("host web -n 5 and --verbose port -o json - -- 80 -n 9 --", &s, &line);
	assert_int_equal(s.limit, 5);
	assert_true(s.verbose);
	assert_int_equal(line.first, 7);
	assert_int_equal(line.argc - line.first, 9);
	assert_string_equal(line.argv[line.first], "host");
	assert_string_equal(line.argv[line.first + 1], "web");
	assert_string_equal(line.argv[line.first + 2], "and");
	assert_string_equal(line.argv[line.first + 3], "port");
	assert_string_equal(line.argv[line.first + 4], "-");
	assert_string_equal(line.argv[line.first + 5], "80");
	assert_string_equal(line.argv[line.first + 6], "-n");
	assert_string_equal(line.argv[line.first + 8], "--");
	options_free(cmd.tables, &s);
}

static int64_t parse_since(const char *text)
{
	const struct option_table *table = &cmd.tables[0];
	struct settings s = {.since_ms = INT64_MIN};

	capture_start(&capture);
	(void)options_set(table, "since", text, &s);
	capture_stop(&capture);
	return s.since_ms;
}

static void times_are_read(void **state)
{
	int64_t now = (int64_t)(clock_real_ns() / NS_PER_MS), ago;

	(void)state;
	assert_int_equal(parse_since("2025-11-24"), 1763942400000);
	assert_int_equal(parse_since("2025-11-24 10:42"), 1763980920000);
	assert_int_equal(parse_since("2025-11-24 10:42:10"), 1763980930000);
	assert_int_equal(parse_since("2025-11-24T10:42:10Z"), 1763980930000);
	assert_int_equal(parse_since("2025-11-24T10:42:10.1239Z"), 1763980930123);
	assert_int_equal(parse_since("2025-11-24T10:42:10+01:00"), 1763977330000);
	assert_int_equal(parse_since("2025-11-24T10:42:10-02:30"), 1763989930000);
	assert_int_equal(parse_since("2024-02-29"), 1709164800000);
	ago = now - parse_since("10m");
	assert_in_range(ago, 590000, 600000);
	ago = now - parse_since("7d");
	assert_in_range(ago, 604790000, 604800000);
}

static void bad_times_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"10",
		"yesterday",
		"2025-02-29",
		"2025-13-01",
		"2025-11-24T",
		"2025-11-24 10",
		"2025-11-24 25:00",
		"2025-11-24T10:42:10+0100",
		"2025-11-24T10:42:10+25:00",
		"2025-11-24 10:42:10 x",
		"2025-11-24x",
		"-5m",
		"999999999d",
		"5y",
		"2025-11-24T10:42:10.Z",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (parse_since(texts[i]) != INT64_MIN)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_non_null(strstr(capture.err, "since: \""));
	}
}

static void bad_command_lines_are_refused(void **state)
{
	(void)state;
	check_refused("--limt 5", "unknown option --limt; did you mean --limit?");
	check_refused("--ifcae=x", "unknown option --ifcae; did you mean --iface?");
	check_refused("--frobnicate", "unknown option --frobnicate (see weir-test run --help)");
	check_refused("-z", "unknown option -z (see");
	check_refused("-5", "unknown option -5");
	check_refused("--limi 5", "did you mean --limit?"); /* no abbreviations */
	check_refused("--limit", "--limit needs a value");
	check_refused("-n", "--limit needs a value");
	check_refused("--verbose=yes", "--verbose takes no value");
	check_refused("-vx", "--verbose takes no value");
	check_refused("--limit 0", "--limit: \"0\" is not within 1 to 1M");
	check_refused("--limit 1000001", "is not within 1 to 1M");
	check_refused("--limit -1", "is not a whole number");
	check_refused("--limit 5x", "\"5x\" is not a whole number");
	check_refused("--limit 99999999999999999999", "is not a whole number");
	check_refused("--cache 99999999999999999G", "is not a size");
	check_refused("--idle 500ms", "\"500ms\" is not within 1s to 1h");
	check_refused("--idle soon",
		      "is not a duration such as 500ms, 10s, 5m, 2h or 1d (1s to 1h)");
	check_refused("--ratio nan", "is not a number (0 to 1)");
	check_refused("--ratio 1.5", "is not within 0 to 1");
	check_refused("--output xml", "\"xml\" is not one of table|json|ndjson|csv");
	check_refused("--output tab", "is not one of");
	check_refused("--iface a,,b", "is not a list without empty items");
}

static void unwanted_arguments_are_refused(void **state)
{
	struct command bare = cmd;
	char *argv[] = {"run", "-v", "stray", NULL};
	struct settings s;
	int first;

	(void)state;
	bare.args = NULL;
	capture_start(&capture);
	assert_int_equal(options_parse(&bare, "weir-test", 3, argv, &s, &first), -EINVAL);
	capture_stop(&capture);
	assert_non_null(strstr(capture.err, "unexpected argument \"stray\""));
}

static void file_stands_between_default_and_command_line(void **state)
{
	char words[128];
	struct settings s;
	struct line line;

	(void)state;
	write_config("# comment\n"
		     "limit = 77\n"
		     "name=from file ; comment\n"
		     "iface = eth5, eth6\n"
		     "\n"
		     "[any section]\n"
		     "iface = eth7\n"
		     "verbose = on\n"
		     "idle : 30s\n");
	(void)snprintf(words, sizeof(words), "--idle 40s --config %s", config_path);
	parse_ok(words, &s, &line);
	assert_int_equal(s.limit, 77);
	assert_string_equal(s.name, "from file");
	assert_true(s.verbose);
	assert_int_equal(s.idle_ms, 40000); /* although --config came last */
	assert_int_equal(s.ifaces.n, 3);
	assert_string_equal(s.ifaces.items[2], "eth7");
	assert_string_equal(s.config, config_path);
	options_free(cmd.tables, &s);

	(void)snprintf(words, sizeof(words), "-c%s -i wlan0", config_path);
	parse_ok(words, &s, &line);
	assert_int_equal(s.ifaces.n, 1); /* the command line replaces the file's list */
	assert_string_equal(s.ifaces.items[0], "wlan0");
	options_free(cmd.tables, &s);
}

static void check_config_refused(const char *text, unsigned line_no, const char *message)
{
	char words[128], expected[256];

	write_config(text);
	(void)snprintf(words, sizeof(words), "--config %s", config_path);
	(void)snprintf(expected, sizeof(expected), "%s:%u: %s", config_path, line_no, message);
	check_refused(words, expected);
}

static void bad_files_are_refused(void **state)
{
	char longest[400];
	struct settings s;
	struct line line;

	(void)state;
	check_config_refused("limit = 5\nlimti = 6\n", 2,
			     "unknown key \"limti\"; did you mean \"limit\"?");
	check_config_refused("[a]\n\nfrobnicate = 6\n", 3, "unknown key \"frobnicate\"");
	check_config_refused("config = x\n", 1, "unknown key \"config\"");
	check_config_refused("limit = 0\n", 1, "limit: \"0\" is not within 1 to 1M");
	check_config_refused("verbose = maybe\n", 1, "verbose: \"maybe\" is not true or false");
	check_config_refused("name = a\nname = b\n", 2, "\"name\" is set twice");
	check_config_refused("name = a\njust words\n", 2, "neither \"key = value\"");
	check_config_refused("[open\n", 1, "neither \"key = value\"");
	check_config_refused("name = a\nlimit = 0\nlimit = x\nfoo = 1\n", 2, "limit: \"0\"");
	(void)snprintf(longest, sizeof(longest), "name = %0300d\n", 1);
	check_config_refused(longest, 1, "the line is longer than 197 bytes");

	assert_int_equal(parse("--config /nonexistent/weir.conf", &s, &line), -ENOENT);
	assert_non_null(strstr(capture.err, "/nonexistent/weir.conf: No such file"));
	assert_int_equal(parse("--config /tmp", &s, &line), -EIO);
	assert_non_null(strstr(capture.err, "/tmp: "));
}

static void set_is_one_option(void **state)
{
	const struct option_table *table = &cmd.tables[0];
	struct settings s = {0};

	(void)state;
	capture_start(&capture);
	assert_int_equal(options_set(table, "name", "a", &s), 0);
	assert_int_equal(options_set(table, "name", "b", &s), 0);
	assert_int_equal(options_set(table, "iface", "a,b", &s), 0);
	assert_int_equal(options_set(table, "iface", "c", &s), 0);
	assert_int_equal(options_set(table, "nothing", "c", &s), -EINVAL);
	assert_int_equal(options_set(&cmd.tables[1], "config", "c", &s), -EINVAL);
	capture_stop(&capture);
	assert_string_equal(s.name, "b");
	assert_int_equal(s.ifaces.n, 1);
	options_free(cmd.tables, &s);
}

static void help_fits_and_tells_all(void **state)
{
	char *text = NULL;
	size_t size, longest = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	options_print_help(&cmd, "weir-test", out);
	(void)fclose(out);
	assert_non_null(strstr(text, "Usage: weir-test run [OPTION...] [FILTER...]\n"));
	assert_non_null(strstr(text, "\n  weir-test run --iface eth0\n"));
	assert_non_null(strstr(
		text, "\n  -n, --limit N             rows to print (default 10; 1 to 1M)\n"));
	assert_non_null(strstr(text, "      --since TIME          not before this\n"));
	assert_non_null(strstr(text, "  -h, --help                "));
	assert_non_null(strstr(text, "(table|json|ndjson|csv; default table)"));
	assert_true(strstr(text, "Examples:") < strstr(text, "Options:"));
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
		if (strcspn(p, "\n") > longest)
			longest = strcspn(p, "\n");
	assert_in_range(longest, 60, 80);
	free(text);
}

static void help_ends_parsing(void **state)
{
	char *argv[] = {"run", "--limit", "5", "--help", NULL};
	struct settings s;
	int first, err;

	(void)state;
	capture_start(&capture);
	err = options_parse(&cmd, "weir-test", 4, argv, &s, &first);
	capture_stop(&capture);
	assert_int_equal(err, 1);
	assert_non_null(strstr(capture.out, "Usage: weir-test run"));
	assert_string_equal(capture.err, "");
	assert_null(s.name);
}

static void every_failed_allocation_is_reported(void **state)
{
	struct settings s;
	struct line line;
	char words[128];
	unsigned n;
	int err;

	(void)state;
	write_config("iface = a, b\nname = x\n");
	(void)snprintf(words, sizeof(words), "-i c,d --name y --config %s", config_path);
	for (n = 1;; n++) {
		fail_alloc_at(n);
		err = parse(words, &s, &line);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_non_null(strstr(capture.err, "Cannot allocate memory"));
		assert_null(s.name);
	}
	assert_int_equal(err, 0);
	assert_true(n > 10);
	options_free(cmd.tables, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold),
		cmocka_unit_test(every_spelling_is_read),
		cmocka_unit_test(suffixes_scale),
		cmocka_unit_test(positional_arguments_mix_with_options),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(bad_times_are_refused),
		cmocka_unit_test(bad_command_lines_are_refused),
		cmocka_unit_test(unwanted_arguments_are_refused),
		cmocka_unit_test(file_stands_between_default_and_command_line),
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(set_is_one_option),
		cmocka_unit_test(help_fits_and_tells_all),
		cmocka_unit_test(help_ends_parsing),
		cmocka_unit_test(every_failed_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, make_config, drop_config);
}
