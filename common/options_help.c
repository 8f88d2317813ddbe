/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options_help.c - --help of a command, from the rows that parse it. */
#include "common/options.h"

#include <string.h>

#include "common/option_value.h"

#define WIDTH	    80
#define HELP_COLUMN 28

static void print_indent(FILE *out, size_t n)
{
	(void)fprintf(out, "%*s", (int)n, "");
}

/* Prints text from column at, broken at spaces to stay within WIDTH. */
static void print_wrapped(FILE *out, size_t at, const char *text)
{
	size_t indent = at;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (at > indent && at + 1 + n > WIDTH) {
			(void)fputc('\n', out);
			print_indent(out, indent);
			at = indent;
		} else if (at > indent) {
			(void)fputc(' ', out);
			at++;
		}
		(void)fwrite(text, 1, n, out);
		at += n;
		text += n;
		text += strspn(text, " ");
	}
	(void)fputc('\n', out);
}

/* Prints one option: what to write, then from HELP_COLUMN what it does. */
static void print_option(FILE *out, char letter, const char *name, const char *arg,
			 const char *help)
{
	char left[128];
	char dash[] = {'-', letter, ',', '\0'};
	size_t len;

	(void)snprintf(left, sizeof(left), "  %3s --%s%s%s", letter ? dash : "", name,
		       arg ? " " : "", arg ? arg : "");
	len = strlen(left);
	(void)fputs(left, out);
	if (len + 2 > HELP_COLUMN) {
		(void)fputc('\n', out);
		len = 0;
	}
	print_indent(out, HELP_COLUMN - len);
	print_wrapped(out, HELP_COLUMN, help);
}

/* "help (choices; default x; 1 to 9; repeatable)" */
static void print_row(FILE *out, const struct option_row *row)
{
	char text[512], range[80];
	const char *parts[] = {
		row->type == OPTION_CHOICE ? row->choices : "",
		row->fallback ? row->fallback : "",
		range,
		row->type == OPTION_LIST ? "repeatable" : "",
	};
	const char *separator = " (";
	size_t n, left = sizeof(text);
	char *at = text;

	option_range_format(row, range, sizeof(range));
	at += snprintf(at, left, "%.300s", row->help);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!parts[i][0])
			continue;
		left = sizeof(text) - (size_t)(at - text);
		n = (size_t)snprintf(at, left, "%s%s%.60s", separator, i == 1 ? "default " : "",
				     parts[i]);
		at += n < left ? n : left - 1;
		separator = "; ";
	}
	if (separator[0] == ';')
		(void)snprintf(at, sizeof(text) - (size_t)(at - text), ")");
	print_option(out, row->letter, row->name, row->arg, text);
}

static void print_examples(FILE *out, const char *examples)
{
	(void)fprintf(out, "\nExamples:\n");
	while (*examples) {
		size_t n = strcspn(examples, "\n");

		(void)fprintf(out, "  %.*s\n", (int)n, examples);
		examples += n;
		examples += *examples == '\n';
	}
}

void options_print_help(const struct command *cmd, const char *program, FILE *out)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s %s - %s", program, cmd->name, cmd->summary);
	print_wrapped(out, 0, text);
	(void)fprintf(out, "\nUsage: %s %s [OPTION...]%s%s\n", program, cmd->name,
		      cmd->args ? " " : "", cmd->args ? cmd->args : "");
	if (cmd->examples)
		print_examples(out, cmd->examples);
	for (const struct option_table *table = cmd->tables; table->n; table++) {
		(void)fprintf(out, "%s", table == cmd->tables ? "\nOptions:\n" : "\n");
		for (size_t i = 0; i < table->n; i++)
			print_row(out, &table->rows[i]);
	}
	(void)fputc('\n', out);
	print_option(out, 'h', "help", NULL, "print this help");
}
