/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * line_editor.h - lines that somebody types on a terminal: editing, and a
 * history that outlives the program (libedit).
 *
 * The history is a file of its own, mode 0600, of the last
 * LINE_EDITOR_HISTORY lines. If it cannot be read or written the editor works
 * without; line_editor_close() tells why. Threads: one editor in a process,
 * used by one thread; libedit has globals.
 */
#ifndef WEIR_COLLECTOR_COMMAND_LINE_EDITOR_H
#define WEIR_COLLECTOR_COMMAND_LINE_EDITOR_H

#include <stddef.h>

#define LINE_EDITOR_HISTORY 1000

struct line_editor;

/*
 * Prompts go to stderr, since stdout carries answers. history: the file, copied;
 * NULL: none. Returns -ENOMEM; -ELIBACC, -ELIBBAD: libedit is not there, or another one.
 */
int line_editor_open(const char *history, struct line_editor **ret);

/* Writes the history. Returns 0 or -errno of that. NULL is a no-op. */
int line_editor_close(struct line_editor *e);

/*
 * Reads a line without its end. *ret: free() it. Returns 0, -ENODATA at the end
 * of the input.
 */
int line_editor_read(struct line_editor *e, const char *prompt, char **ret);

/* Notes text for the history, unless it is blank or the same as the last. */
void line_editor_remember(struct line_editor *e, const char *text);

#endif /* WEIR_COLLECTOR_COMMAND_LINE_EDITOR_H */
