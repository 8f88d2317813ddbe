/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/option_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"

/* What a number may end with; "" is a plain number. Ends with a NULL text. */
struct suffix {
	const char *text;
	uint64_t factor;
};

static const struct suffix counts[] = {
	{"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0},
};
static const struct suffix bytes[] = {
	{"", 1}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0},
};
static const struct suffix durations[] = {
	{"", 1000},	{"ms", 1},	 {"s", 1000}, {"m", 60000},
	{"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

/* Per type: the suffixes of whole numbers, and how a refusal describes the type. */
static const struct {
	const struct suffix *suffixes;
	const char *expected;
} types[] = {
	[OPTION_FLAG] = {NULL, "true or false"},
	[OPTION_U64] = {counts, "a whole number such as 500, 10k or 2M"},
	[OPTION_BYTES] = {bytes, "a size in bytes such as 4096, 64k or 2G"},
	[OPTION_DURATION_MS] = {durations, "a duration such as 500ms, 10s, 5m, 2h or 1d"},
	[OPTION_DOUBLE] = {NULL, "a number"},
	[OPTION_STRING] = {NULL, "a text"},
	[OPTION_LIST] = {NULL, "a list without empty items"},
	[OPTION_CHOICE] = {NULL, "one of its words"},
	[OPTION_TIME] = {NULL, "a time such as 2026-11-24, \"2026-11-24 10:42\", "
			       "2026-11-24T10:42:10Z, or an age such as 10m, 2h, 7d"},
};

static void *field_of(const struct option_row *row, void *settings)
{
	return (char *)settings + row->offset;
}

void option_value_init(const struct option_row *row, void *settings)
{
	static const size_t sizes[] = {
		[OPTION_FLAG] = sizeof(bool),
		[OPTION_U64] = sizeof(uint64_t),
		[OPTION_BYTES] = sizeof(uint64_t),
		[OPTION_DURATION_MS] = sizeof(uint64_t),
		[OPTION_DOUBLE] = sizeof(double),
		[OPTION_STRING] = sizeof(char *),
		[OPTION_LIST] = sizeof(struct option_list),
		[OPTION_CHOICE] = sizeof(int),
		[OPTION_TIME] = sizeof(int64_t),
	};

	memset(field_of(row, settings), 0, sizes[row->type]);
	if (row->type == OPTION_TIME)
		*(int64_t *)field_of(row, settings) = INT64_MIN;
}

void option_value_free(const struct option_row *row, void *settings)
{
	if (row->type == OPTION_STRING) {
		free(*(char **)field_of(row, settings));
	} else if (row->type == OPTION_LIST) {
		struct option_list *list = field_of(row, settings);

		for (size_t i = 0; i < list->n; i++)
			free(list->items[i]);
		free(list->items);
	}
	option_value_init(row, settings);
}

/* A whole number with one of the suffixes, in the unit of factor 1. */
static int parse_scaled(const char *text, const struct suffix *suffixes, uint64_t *ret)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	while (suffixes->text && strcmp(suffixes->text, end) != 0)
		suffixes++;
	if (!suffixes->text || __builtin_mul_overflow(number, suffixes->factor, ret))
		return -EINVAL;
	return 0;
}

/* The shortest way to write value: with the largest suffix that divides it. */
static void format_scaled(uint64_t value, const struct suffix *suffixes, char *ret, size_t size)
{
	struct suffix best = {"", 1};

	for (; suffixes->text; suffixes++)
		if (value % suffixes->factor == 0 && suffixes->factor >= best.factor)
			best = *suffixes;
	(void)snprintf(ret, size, "%" PRIu64 "%s", value / best.factor, value ? best.text : "");
}

static void format_number(const struct option_row *row, double value, char *ret, size_t size)
{
	if (types[row->type].suffixes)
		format_scaled((uint64_t)value, types[row->type].suffixes, ret, size);
	else
		(void)snprintf(ret, size, "%.15g", value);
}

void option_range_format(const struct option_row *row, char *ret, size_t size)
{
	char min[32], max[32];

	ret[0] = '\0';
	if (row->min == 0 && row->max == 0)
		return;
	format_number(row, row->min, min, sizeof(min));
	format_number(row, row->max, max, sizeof(max));
	(void)snprintf(ret, size, "%s to %s", min, max);
}

static int check_range(const struct option_row *row, double value)
{
	if (row->min == 0 && row->max == 0)
		return 0;
	return value >= row->min && value <= row->max ? 0 : -ERANGE;
}

static int set_whole(const struct option_row *row, const char *text, uint64_t *field)
{
	uint64_t value;
	int err = parse_scaled(text, types[row->type].suffixes, &value);

	if (!err)
		err = check_range(row, (double)value);
	if (!err)
		*field = value;
	return err;
}

static int set_double(const struct option_row *row, const char *text, double *field)
{
	char *end;
	double value = strtod(text, &end);
	int err;

	if (end == text || *end != '\0' || !isfinite(value))
		return -EINVAL;
	err = check_range(row, value);
	if (!err)
		*field = value;
	return err;
}

static int set_flag(const char *text, bool *field)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*field = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_string(const char *text, char **field)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_choice(const char *choices, const char *text, int *field)
{
	size_t len = strlen(text);
	int index = 0;

	for (const char *word = choices;; index++) {
		size_t n = strcspn(word, "|");

		if (n == len && memcmp(word, text, n) == 0) {
			*field = index;
			return 0;
		}
		if (word[n] == '\0')
			return -EINVAL;
		word += n + 1;
	}
}

static int list_append(struct option_list *list, const char *item, size_t len)
{
	char **items = realloc(list->items, (list->n + 1) * sizeof(*items));

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n] = malloc(len + 1);
	if (!items[list->n])
		return -ENOMEM;
	memcpy(items[list->n], item, len);
	items[list->n++][len] = '\0';
	return 0;
}

static int set_list(const char *text, struct option_list *list)
{
	for (;;) {
		size_t n = strcspn(text, ","), skip = strspn(text, " \t"), end = n;
		int err;

		while (end > skip && isspace((unsigned char)text[end - 1]))
			end--;
		if (end <= skip)
			return -EINVAL;
		err = list_append(list, text + skip, end - skip);
		if (err || text[n] == '\0')
			return err;
		text += n + 1;
	}
}

/* "Z", "+01:00", "-0530" or nothing: seconds east of UTC. */
static int parse_zone(const char *text, int64_t *ret_s)
{
	unsigned hours, minutes;
	int used = -1;

	*ret_s = 0;
	if (strcmp(text, "") == 0 || strcasecmp(text, "Z") == 0)
		return 0;
	if (sscanf(text, "%*1[+-]%2u%*[:]%2u%n", &hours, &minutes, &used) != 2 || used < 0 ||
	    text[used] != '\0' || hours > 23 || minutes > 59)
		return -EINVAL;
	*ret_s = (int64_t)(hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
	return 0;
}

/* ".123456": ms, cut. */
static const char *parse_fraction(const char *text, int64_t *ret_ms)
{
	int64_t unit = 100;

	*ret_ms = 0;
	if (text[0] != '.' || !isdigit((unsigned char)text[1]))
		return text;
	for (text++; isdigit((unsigned char)*text); text++, unit /= 10)
		*ret_ms += (*text - '0') * unit;
	return text;
}

static int parse_date(const char *text, int64_t *ret_ms)
{
	struct tm tm = {0}, back;
	const char *rest = strptime(text, "%Y-%m-%d", &tm), *seconds;
	int64_t ms = 0, zone_s = 0;
	time_t at;

	if (!rest)
		return -EINVAL;
	if (*rest != '\0') {
		if (*rest != ' ' && *rest != 'T' && *rest != 't')
			return -EINVAL;
		rest = strptime(rest + 1, "%H:%M", &tm);
		if (!rest)
			return -EINVAL;
		seconds = strptime(rest, ":%S", &tm);
		if (seconds)
			rest = parse_fraction(seconds, &ms);
		if (parse_zone(rest, &zone_s) < 0)
			return -EINVAL;
	}
	back = tm;
	at = timegm(&back);
	if (back.tm_mday != tm.tm_mday) /* 31 February */
		return -EINVAL;
	*ret_ms = ((int64_t)at - zone_s) * 1000 + ms;
	return 0;
}

static int set_time(const char *text, int64_t *field)
{
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);
	uint64_t age_ms;

	/* durations + 1: an age has a unit, a plain number could mean anything */
	if (parse_scaled(text, durations + 1, &age_ms) < 0)
		return parse_date(text, field);
	if (age_ms > (uint64_t)now_ms)
		return -EINVAL;
	*field = now_ms - (int64_t)age_ms;
	return 0;
}

static int set_field(const struct option_row *row, const char *text, void *field)
{
	switch (row->type) {
	case OPTION_FLAG:
		return set_flag(text, field);
	case OPTION_U64:
	case OPTION_BYTES:
	case OPTION_DURATION_MS:
		return set_whole(row, text, field);
	case OPTION_DOUBLE:
		return set_double(row, text, field);
	case OPTION_STRING:
		return set_string(text, field);
	case OPTION_LIST:
		return set_list(text, field);
	case OPTION_CHOICE:
		return set_choice(row->choices, text, field);
	case OPTION_TIME:
		return set_time(text, field);
	}
	return -EINVAL;
}

int option_value_set(const struct option_row *row, const char *text, void *settings,
		     char ret_why[OPTION_WHY_MAX])
{
	int err = set_field(row, text, field_of(row, settings));
	char range[80];

	option_range_format(row, range, sizeof(range));
	if (err == -ERANGE)
		(void)snprintf(ret_why, OPTION_WHY_MAX, "is not within %s", range);
	else if (err == -EINVAL && row->type == OPTION_CHOICE)
		(void)snprintf(ret_why, OPTION_WHY_MAX, "is not one of %s", row->choices);
	else if (err == -EINVAL)
		(void)snprintf(ret_why, OPTION_WHY_MAX, "is not %s%s%s%s",
			       types[row->type].expected, range[0] ? " (" : "", range,
			       range[0] ? ")" : "");
	return err == -ERANGE ? -EINVAL : err;
}
