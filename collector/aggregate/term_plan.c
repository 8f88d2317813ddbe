// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/term_plan.h"

#include <string.h>

/* Whether a record may have no value for it. */
static bool nullable(const struct measure *m)
{
	for (size_t i = 0; i < m->n_columns; i++)
		if (flow_column_may_be_null(m->columns[i]))
			return true;
	return m->where != NULL;
}

static bool is_text(const struct measure *m)
{
	return flow_column_info[m->columns[0]].kind == FLOW_TEXT || flow_words_of(m->columns[0]);
}

static bool equal(const struct term *a, const struct term *b)
{
	return a->kind == b->kind && a->n_columns == b->n_columns && a->where == b->where &&
	       a->pass == b->pass &&
	       memcmp(a->columns, b->columns, a->n_columns * sizeof(a->columns[0])) == 0;
}

/* The number of the term of that kind, which joins if it is new. */
static size_t add(struct term_plan *p, enum term_kind kind, const struct measure *m, size_t measure,
		  bool of)
{
	struct term t = {.kind = kind,
			 .n_columns = m->n_columns,
			 .columns = {m->columns[0], m->columns[1]},
			 .where = m->where,
			 .pass = m->pass,
			 .measure = measure,
			 .of = of};

	for (size_t i = 0; i < p->n; i++)
		if (equal(&p->terms[i], &t))
			return i;
	p->terms[p->n] = t;
	return p->n++;
}

/* With what tells whether there was any value. */
static void add_sum(struct term_plan *p, enum term_kind kind, const struct measure *m,
		    size_t measure, bool of, size_t *ret, size_t *ret_count)
{
	*ret = add(p, kind, m, measure, of);
	if (nullable(m))
		*ret_count = add(p, TERM_COUNT, m, measure, of);
}

static void add_matches(struct term_plan *p, const struct measure *m, size_t measure,
			struct measure_terms *ret)
{
	struct measure any = *m;

	ret->value = add(p, TERM_COUNT, m, measure, false);
	any.where = NULL;
	if (nullable(&any))
		ret->count = add(p, TERM_COUNT, &any, measure, false);
}

void term_plan_make(const struct measure *measures, size_t n, struct term_plan *ret)
{
	*ret = (struct term_plan){0};
	for (size_t i = 0; i < n; i++) {
		const struct measure *m = &measures[i];
		struct measure_terms t = {NO_TERM, NO_TERM, NO_TERM, NO_TERM};

		switch (m->kind) {
		case MEASURE_AVG:
			t.value = add(ret, TERM_SUM, m, i, false);
			t.count = add(ret, TERM_COUNT, m, i, false);
			break;
		case MEASURE_MIN:
			add_sum(ret, TERM_MIN, m, i, false, &t.value, &t.count);
			break;
		case MEASURE_MAX:
			if (is_text(m))
				t.value = add(ret, TERM_MAX_TEXT, m, i, false);
			else
				add_sum(ret, TERM_MAX, m, i, false, &t.value, &t.count);
			break;
		case MEASURE_QUANTILE:
			t.value = add(ret, TERM_VALUES, m, i, false);
			break;
		case MEASURE_COUNT:
			t.value = add(ret, TERM_COUNT, m, i, false);
			break;
		case MEASURE_MATCHES:
			add_matches(ret, m, i, &t);
			break;
		case MEASURE_DISTINCT:
			t.value = add(ret, TERM_DISTINCT, m, i, false);
			break;
		case MEASURE_FLOWS:
			t.value = add(ret, TERM_FLOWS, m, i, false);
			break;
		default:
			add_sum(ret, TERM_SUM, m, i, false, &t.value, &t.count);
			break;
		}
		if (m->of)
			add_sum(ret, TERM_SUM, m->of, i, true, &t.of, &t.of_count);
		ret->of_measure[i] = t;
	}
}

void term_plan_also(const struct term_plan *plan, const struct measure *also, struct term_plan *ret)
{
	*ret = *plan;
	for (size_t i = 0; i < ret->n; i++) {
		struct term *t = &ret->terms[i];
		const struct measure *m = &also[t->measure];

		m = t->of ? m->of : m;
		t->n_columns = m->n_columns;
		memcpy(t->columns, m->columns, sizeof(t->columns));
		if (t->where)
			t->where = m->where;
	}
}

void term_plan_columns(const struct term_plan *plan, struct flow_columns *columns)
{
	static const enum flow_column of_flows[] = {
		FLOW_COLUMN_host_id,	 FLOW_COLUMN_ID_OF_FEW,	    FLOW_COLUMN_packets,
		FLOW_COLUMN_rev_packets, FLOW_COLUMN_total_packets, FLOW_COLUMN_rev_total_packets,
		FLOW_COLUMN_end_reason,
	};

	for (size_t i = 0; i < plan->n; i++) {
		const struct term *t = &plan->terms[i];

		for (size_t c = 0; c < t->n_columns; c++)
			flow_columns_add_needed(columns, t->columns[c]);
		if (t->where)
			predicate_columns(t->where, columns);
		for (size_t c = 0;
		     t->kind == TERM_FLOWS && c < sizeof(of_flows) / sizeof(of_flows[0]); c++)
			flow_columns_add(columns, of_flows[c]);
	}
}

struct group_key term_key(const struct term *t)
{
	return group_key_of(t->columns[0]);
}
