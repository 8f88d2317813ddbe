/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/options.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/option_value.h"
#include "common/spelling.h"

#define MAX_ROWS       128 /* of all tables of a command */
#define NAME_MAX_BYTES 64
#define LINE_MAX_BYTES 197 /* of a configuration file; libinih holds no more */

static inline void fclose_p(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* only read from */
}

struct parse {
	const struct command *cmd;
	const char *program;
	void *settings;
	bool seen[MAX_ROWS]; /* set by the source that is being read */
};

/* The i-th row of all tables together, NULL past the last. */
static const struct option_row *row_at(const struct option_table *tables, size_t i)
{
	for (; tables->n; i -= tables->n, tables++)
		if (i < tables->n)
			return &tables->rows[i];
	return NULL;
}

/* Index of the row called name[0..len), or -1. */
static int row_find(const struct option_table *tables, const char *name, size_t len)
{
	const struct option_row *row;

	for (size_t i = 0; (row = row_at(tables, i)); i++)
		if (strlen(row->name) == len && memcmp(row->name, name, len) == 0)
			return (int)i;
	return -1;
}

/* The name most like name[0..len), NULL when none is close. */
static const char *nearest(const struct option_table *tables, const char *name, size_t len)
{
	struct spelling spelling = spelling_begin(name, len);
	const struct option_row *row;

	for (size_t i = 0; (row = row_at(tables, i)); i++)
		spelling_offer(&spelling, row->name);
	return spelling.best;
}

/* Sets a row from text. where names the option in the error line. */
static int apply(const struct option_row *row, const char *value, void *settings, const char *where)
{
	char why[OPTION_WHY_MAX];
	int err = option_value_set(row, value, settings, why);

	if (err == -EINVAL)
		log_error("%s: \"%s\" %s", where, value, why);
	else if (err)
		log_error("%s: %s", where, strerror(-err));
	return err;
}

/* apply() for a row of a source: its first value replaces, later ones add to a list. */
static int apply_next(struct parse *p, size_t i, const char *value, const char *where)
{
	const struct option_row *row = row_at(p->cmd->tables, i);

	if (row->type == OPTION_LIST && !p->seen[i])
		option_value_free(row, p->settings);
	p->seen[i] = true;
	return apply(row, value, p->settings, where);
}

int options_set(const struct option_table *table, const char *name, const char *value,
		void *settings)
{
	const struct option_table tables[] = {*table, {NULL, 0}};
	int i = row_find(tables, name, strlen(name));

	if (i < 0 || table->rows[i].cli_only) {
		log_error("%s: no such setting", name);
		return -EINVAL;
	}
	if (table->rows[i].type == OPTION_LIST)
		option_value_free(&table->rows[i], settings);
	return apply(&table->rows[i], value, settings, name);
}

void options_free(const struct option_table *tables, void *settings)
{
	const struct option_row *row;

	for (size_t i = 0; (row = row_at(tables, i)); i++)
		option_value_free(row, settings);
}

static int set_defaults(struct parse *p)
{
	const struct option_row *row;
	int err;

	for (size_t i = 0; (row = row_at(p->cmd->tables, i)); i++) {
		assert(i < MAX_ROWS);
		option_value_init(row, p->settings);
	}
	for (size_t i = 0; (row = row_at(p->cmd->tables, i)); i++) {
		err = row->fallback ? apply(row, row->fallback, p->settings, row->name) : 0;
		if (err)
			return err;
	}
	return 0;
}

/* --- configuration file --------------------------------------------------- */

struct file {
	struct parse *parse;
	const char *path;
	FILE *stream;
	unsigned line;
	int err; /* first refusal; it has been logged */
};

/* fgets() that counts lines and refuses the ones that libinih would split. */
static char *read_line(char *buf, int size, void *arg)
{
	struct file *file = arg;
	char *got = fgets(buf, size, file->stream);

	if (!got)
		return NULL;
	file->line++;
	if (strlen(buf) > LINE_MAX_BYTES && !strchr(buf, '\n') && !file->err) {
		log_error("%s:%u: the line is longer than %d bytes", file->path, file->line,
			  LINE_MAX_BYTES);
		file->err = -EINVAL;
	}
	return file->err ? NULL : got;
}

static void refuse_key(const struct file *file, const char *name)
{
	const char *like = nearest(file->parse->cmd->tables, name, strlen(name));

	log_error("%s:%u: unknown key \"%s\"%s%s%s", file->path, file->line, name,
		  like ? "; did you mean \"" : "", like ? like : "", like ? "\"?" : "");
}

/* libinih's handler; sections only group lines for people. */
static int take_key(void *arg, const char *section, const char *name, const char *value)
{
	struct file *file = arg;
	struct parse *p = file->parse;
	int i = row_find(p->cmd->tables, name, strlen(name));
	const struct option_row *row = i < 0 ? NULL : row_at(p->cmd->tables, (size_t)i);
	char where[512];

	(void)section;
	file->err = -EINVAL;
	if (!row || row->cli_only) {
		refuse_key(file, name);
	} else if (p->seen[i] && row->type != OPTION_LIST) {
		log_error("%s:%u: \"%s\" is set twice", file->path, file->line, name);
	} else {
		(void)snprintf(where, sizeof(where), "%s:%u: %s", file->path, file->line, name);
		file->err = apply_next(p, (size_t)i, value, where);
	}
	return file->err == 0;
}

static int read_file(struct parse *p, const char *path)
{
	cleanup(fclose_p) FILE *stream = fopen(path, "re");
	struct file file = {.parse = p, .path = path, .stream = stream};
	int bad_line, err;

	if (!stream) {
		err = -errno;
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	bad_line = ini_parse_stream(read_line, &file, take_key, &file);
	if (file.err)
		return file.err;
	if (ferror(stream)) {
		log_error("%s: cannot be read", path);
		return -EIO;
	}
	if (bad_line) {
		log_error("%s:%d: neither \"key = value\" nor a [section]", path, bad_line);
		return -EINVAL;
	}
	return 0;
}

/* --- command line --------------------------------------------------------- */

#define HELP (-1) /* found.index */

/* An option on the command line. */
struct found {
	int index;	   /* row, or HELP */
	const char *value; /* NULL when none was given */
	int words;	   /* of argv that it takes, 1 or 2 */
};

static int refuse_option(const struct parse *p, const char *word, size_t len)
{
	const char *name = word + strspn(word, "-");
	const char *like = nearest(p->cmd->tables, name, len - (size_t)(name - word));

	log_error("unknown option %.*s%s%s%s (see %s %s --help)", (int)len, word,
		  like ? "; did you mean --" : "", like ? like : "", like ? "?" : "", p->program,
		  p->cmd->name);
	return -EINVAL;
}

/* "--name", "--name=value" */
static int find_long(const struct parse *p, const char *word, struct found *ret)
{
	size_t len = strcspn(word, "=");

	ret->value = word[len] ? word + len + 1 : NULL;
	ret->index = row_find(p->cmd->tables, word + 2, len - 2);
	if (ret->index >= 0)
		return 0;
	if (strcmp(word, "--help") == 0) {
		ret->index = HELP;
		return 0;
	}
	return refuse_option(p, word, len);
}

/* "-n", "-nvalue" */
static int find_short(const struct parse *p, const char *word, struct found *ret)
{
	const struct option_row *row;

	ret->value = word[2] ? word + 2 : NULL;
	for (size_t i = 0; (row = row_at(p->cmd->tables, i)); i++) {
		if (row->letter == word[1]) {
			ret->index = (int)i;
			return 0;
		}
	}
	if (strcmp(word, "-h") == 0) {
		ret->index = HELP;
		return 0;
	}
	return refuse_option(p, word, strlen(word));
}

static int find_option(const struct parse *p, const char *word, const char *next, struct found *ret)
{
	const struct option_row *row;
	int err = word[1] == '-' ? find_long(p, word, ret) : find_short(p, word, ret);

	ret->words = 1;
	if (err || ret->index == HELP)
		return err;
	row = row_at(p->cmd->tables, (size_t)ret->index);
	if (row->type == OPTION_FLAG && ret->value) {
		log_error("--%s takes no value", row->name);
		return -EINVAL;
	}
	if (row->type != OPTION_FLAG && !ret->value) {
		if (!next) {
			log_error("--%s needs a value", row->name);
			return -EINVAL;
		}
		ret->value = next;
		ret->words = 2;
	}
	return 0;
}

static bool is_config(const struct option_row *row)
{
	return strcmp(row->name, "config") == 0 && row->type == OPTION_STRING;
}

/* early: before the file is read, when only --help and --config count. */
static int use_option(struct parse *p, const struct found *found, bool early)
{
	const struct option_row *row;
	char where[NAME_MAX_BYTES + 2];

	if (found->index == HELP) {
		options_print_help(p->cmd, p->program, stdout);
		return 1;
	}
	row = row_at(p->cmd->tables, (size_t)found->index);
	if (early && !is_config(row))
		return 0;
	(void)snprintf(where, sizeof(where), "--%s", row->name);
	return apply_next(p, (size_t)found->index, row->type == OPTION_FLAG ? "true" : found->value,
			  where);
}

/* Moves argv[from] down to argv[to]. */
static void move_down(char **argv, int from, int to)
{
	char *word = argv[from];

	memmove(&argv[to + 1], &argv[to], (size_t)(from - to) * sizeof(*argv));
	argv[to] = word;
}

/* Uses the options and moves them before the positional arguments. */
static int read_args(struct parse *p, int argc, char **argv, bool early, int *ret_first)
{
	int first = 1, i = 1;

	while (i < argc) {
		struct found found = {.index = HELP};
		int err;

		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			i++;
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			move_down(argv, i, first++);
			break;
		}
		err = find_option(p, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &found);
		if (!err)
			err = use_option(p, &found, early);
		if (err)
			return err;
		for (int word = 0; word < found.words; word++)
			move_down(argv, i++, first++);
	}
	*ret_first = first;
	return 0;
}

static int read_config(struct parse *p)
{
	int i = row_find(p->cmd->tables, "config", strlen("config"));
	const struct option_row *row = i < 0 ? NULL : row_at(p->cmd->tables, (size_t)i);

	if (!row || !is_config(row) || !p->seen[i])
		return 0;
	memset(p->seen, 0, sizeof(p->seen));
	return read_file(p, *(char **)((char *)p->settings + row->offset));
}

static int read_all(struct parse *p, int argc, char **argv, int *ret_first)
{
	int first, err = set_defaults(p);

	if (!err)
		err = read_args(p, argc, argv, true, &first);
	if (!err)
		err = read_config(p);
	memset(p->seen, 0, sizeof(p->seen));
	if (!err)
		err = read_args(p, argc, argv, false, &first);
	if (err)
		return err;
	if (!p->cmd->args && first < argc) {
		log_error("unexpected argument \"%s\" (see %s %s --help)", argv[first], p->program,
			  p->cmd->name);
		return -EINVAL;
	}
	*ret_first = first;
	return 0;
}

int options_parse(const struct command *cmd, const char *program, int argc, char **argv,
		  void *settings, int *ret_first)
{
	struct parse p = {.cmd = cmd, .program = program, .settings = settings};
	int err = read_all(&p, argc, argv, ret_first);

	if (err)
		options_free(cmd->tables, settings);
	return err;
}
