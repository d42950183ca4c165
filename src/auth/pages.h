/*
 * Pages of lists whose items a call has made as JSON (users, roles, tokens, locks, running sessions): searched, filtered by
 * labels, sorted and paged by key.
 *
 * Parameters of such a method, all optional: `search` (words that must all stand somewhere in what is shown), `labels` {k: v},
 * `sort` ("COLUMN:asc", "COLUMN:desc"), `limit`, `start_key`. Without `sort` the items keep their order, and the key is their
 * number. With it the key is the place itself: items may come and go between pages without another one being shown twice or
 * left out.
 */
#ifndef AUTH_PAGES_H
#define AUTH_PAGES_H

#include "base/err.h"
#include "base/json.h"

/* Where a text stands in an item: names with dots between them. What is a list or a map there is all of its texts (a map's
 * as NAME=VALUE); "a@b" is both with an @ between them. */
#define PAGES_PATHS 4
struct pages_column {
    const char *name;
    const char *paths[PAGES_PATHS]; /* what is sorted by: the first ones first; NULL-ended when fewer */
};

struct pages {
    const struct pages_column *columns; /* the last one has no name */
    const char *const *search;          /* paths, NULL-ended */
    const char *id;                     /* path of what no two items share */
    const char *labels;                 /* path of a map of texts or lists of texts, or NULL: there are none */
};

/* Makes {items, start_key, total} of items (stolen). TP_INVALID: a parameter is wrong. A page ends early when it gets heavy,
 * so that it fits into a frame. */
enum tp_err pages_make(const struct pages *pages, json_t *items, const json_t *params, json_t **ret_page,
                       struct tp_error *error) TP_MUST;

#endif
