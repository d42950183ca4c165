/*
 * Lists that people page through (nodes, Kubernetes clusters): what they asked for, item by item, and pages by key.
 *
 * Parameters of such a method, all optional: `search` (words that must all stand somewhere), `labels` {k: v}, `query` (an
 * expression in the dialect PRED_FILTER), `sort` ("COLUMN:asc", "COLUMN:desc"), `limit`, `start_key`, `total` (false: total is not counted, which makes a page cost what it shows).
 */
#ifndef AUTH_LIST_H
#define AUTH_LIST_H

#include "base/err.h"
#include "base/json.h"
#include "rbac/pred.h"

struct auth;
struct buf;
struct call;
struct pred;
struct rbac_target;

struct list {
    struct call *call;
    const json_t *search;
    const json_t *labels;
    struct pred *query; /* or NULL */
    size_t limit;
    const char *start_key;
    int column; /* what it is sorted by: of a struct list_column */
    bool descending;
    bool total;
    size_t steps;    /* of the query, over all items */
    size_t turn;     /* of them, those of this turn */
    enum tp_err err; /* of the query, at the first item for which it failed */
    struct tp_error error;
};

/* One item as filters see it. Nothing is kept. */
struct list_item {
    const struct rbac_target *target;
    const char *id;         /* metadata.name, when it is not the name */
    const json_t *resource; /* for the query: metadata, spec */
};

/* What a list can be sorted by; one column may have several names. */
struct list_column {
    const char *name;
    int column;
};

/* Reads and checks the parameters of a call. columns end with one without a name; the first one is the order of who asks for
 * none. On TP_OK list_close must follow; call and its params must live so long. TP_INVALID: a parameter is wrong; for a query
 * with the character. */
enum tp_err list_open(struct list *list, struct call *call, const struct list_column *columns,
                      struct tp_error *error) TP_MUST;
void list_close(struct list *list);
/* May the caller see it (labels decide; the local administrator sees all), and did he ask for it? After a failure of the
 * query (list->err) the answer is no. */
bool list_wants(struct list *list, const struct list_item *item) TP_MUST;

/* What pages are made of: items in ascending order of their keys. */
struct list_source {
    /* At the beginning of each turn: how many items there are. *ret_same: in the same places as in the turn before. */
    size_t (*count)(void *ctx, bool *ret_same);
    /* strcmp-like: the key of item i beside a key of an earlier page. */
    int (*compare)(void *ctx, size_t i, const char *key);
    bool (*wanted)(void *ctx, size_t i); /* by list_wants */
    /* Appends the JSON of the item that wanted was asked for last. */
    void (*item)(void *ctx, size_t i, struct buf *out);
    char *(*key)(void *ctx, size_t i); /* the caller mem_free's it */
};

/*
 * Makes the page and answers the call: {items, start_key, total}; start_key is "" with the last page. A page ends early when
 * it gets heavy (LIST_BYTES_MAX of auth/doc.h), so that it fits into a frame.
 *
 * What a query costs is the caller's to choose, so its work is done in turns of LIST_TURN_STEPS, between which the loop
 * serves everybody else: a long query takes longer, and makes nobody wait. Hosts may come and go meanwhile, as between
 * pages. source is copied; ctx is that of its functions and begins with a struct list that list_open has filled; both it and
 * the list are freed (ctx by mem_free) when the call has been answered.
 */
#define LIST_TURN_STEPS ((size_t)50000) /* 6 to 9 ms */
#define LIST_WAIT_USER ((size_t)8) /* lists of one person that wait for their turn; more are refused with TP_LIMIT */
#define LIST_WAIT_ALL ((size_t)64) /* of all */
void list_answer(const struct list_source *source, void *ctx);
/* Calls whose list is under way are refused: auth is closing. */
void list_jobs_end(struct auth *auth);

#endif
