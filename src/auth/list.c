#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/list.h"

#include <string.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 5000
#define WORDS_MAX 32
#define WORD_MAX 256
#define QUERY_MAX 2000               /* bytes */
#define STEPS_MAX ((size_t)10000000) /* of the query over the whole list: auth serves others meanwhile */

static enum tp_err read_search(struct list *list, struct tp_error *error)
{
    list->search = json_object_get(list->call->params, "search");
    if (list->search == NULL || json_is_null(list->search)) {
        list->search = NULL;
        return TP_OK;
    }
    enum tp_err err = doc_text_list(list->search, "search", WORDS_MAX, error);
    for (size_t i = 0; err == TP_OK && i < json_array_size(list->search); i++) {
        if (json_string_length(json_array_get(list->search, i)) > WORD_MAX) {
            err = err_set(error, TP_INVALID, "a word of \"search\" is longer than %d bytes", WORD_MAX);
        }
    }
    return err;
}

/* The columns' names as a sentence has them: "name", "hostname" or "since". */
static char *names_of(const struct list_column *columns)
{
    struct buf text;
    buf_init(&text, 0);
    for (const struct list_column *one = columns; one->name != NULL; one++) {
        const char *between = one == columns ? "" : one[1].name == NULL ? " or " : ", ";
        (void)buf_printf(&text, "%s\"%s\"", between, one->name);
    }
    return buf_take(&text);
}

static enum tp_err read_sort(struct list *list, const struct list_column *columns, struct tp_error *error)
{
    const char *sort = json_get_text(list->call->params, "sort", "");
    size_t length = strcspn(sort, ":");
    const char *direction = sort[length] == ':' ? sort + length + 1 : "asc";
    const struct list_column *found = sort[0] == '\0' ? columns : NULL;
    for (const struct list_column *one = columns; one->name != NULL && found == NULL; one++) {
        if (strlen(one->name) == length && strncmp(one->name, sort, length) == 0) {
            found = one;
        }
    }
    if (found == NULL) {
        char *names = names_of(columns);
        enum tp_err err = err_set(error, TP_INVALID, "this list can be sorted by %s, not by \"%.40s\"", names, sort);
        mem_free(names);
        return err;
    }
    list->column = found->column;
    if (strcasecmp(direction, "asc") != 0 && strcasecmp(direction, "desc") != 0) {
        return err_set(error, TP_INVALID, "the order in \"sort\" is asc or desc, not \"%.40s\"", direction);
    }
    list->descending = strcasecmp(direction, "desc") == 0;
    return TP_OK;
}

static enum tp_err read_query(struct list *list, struct tp_error *error)
{
    const char *query = json_get_text(list->call->params, "query", "");
    if (query[0] == '\0') {
        return TP_OK;
    }
    if (strlen(query) > QUERY_MAX) {
        return err_set(error, TP_INVALID, "the query is longer than %d bytes", QUERY_MAX);
    }
    struct tp_error why = {0};
    return pred_parse(query, PRED_FILTER, &list->query, &why) == TP_OK
               ? TP_OK
               : err_set(error, TP_INVALID, "\"query\": %s", why.text);
}

enum tp_err list_open(struct list *list, struct call *call, const struct list_column *columns, struct tp_error *error)
{
    int64_t limit = json_get_int(call->params, "limit", LIMIT_DEFAULT);
    *list = (struct list){.call = call,
                          .labels = json_object_get(call->params, "labels"),
                          .limit = (size_t)(limit <= 0          ? LIMIT_DEFAULT
                                            : limit > LIMIT_MAX ? LIMIT_MAX
                                                                : limit),
                          .start_key = json_get_text(call->params, "start_key", ""),
                          .total = json_get_bool(call->params, "total", true)};
    enum tp_err err = read_search(list, error);
    if (err == TP_OK) {
        err = read_sort(list, columns, error);
    }
    return err == TP_OK ? read_query(list, error) : err;
}

void list_close(struct list *list)
{
    pred_free(list->query);
    list->query = NULL;
}

static bool text_has(const char *text, const char *word)
{
    return text != NULL && strcasestr(text, word) != NULL;
}

static bool has_word(const struct list_item *item, const char *word)
{
    const struct rbac_target *target = item->target;
    if (text_has(target->name, word) || text_has(item->id, word) ||
        text_has(json_get_text(json_object_get(item->resource, "spec"), "addr", NULL), word)) {
        return true;
    }
    for (size_t i = 0; i < target->label_count; i++) {
        if (rbac_label_shows(&target->labels[i], word)) {
            return true;
        }
    }
    return false;
}

static bool has_label(const struct rbac_target *target, const char *name, const char *value)
{
    for (size_t i = 0; i < target->label_count && value != NULL; i++) {
        if (strcmp(target->labels[i].name, name) == 0) {
            return strcmp(target->labels[i].value, value) == 0;
        }
    }
    return false;
}

static bool query_holds(struct list *list, const struct list_item *item)
{
    json_t *more = json_pack("{s:s}", "name", item->target->name);
    struct rbac_context context = {.resource = item->resource, .more = more};
    struct pred_env env = {.context = &context,
                           .labels = item->target->labels,
                           .label_count = item->target->label_count,
                           .spent = &list->steps};
    size_t before = list->steps;
    enum pred_result result = pred_eval(list->query, &env);
    json_decref(more);
    list->turn += list->steps - before + 1;
    if (list->steps > STEPS_MAX) {
        list->err = err_set(&list->error, TP_LIMIT,
                            "this query is too long for so many resources; narrow the list with labels or --search");
    } else if (result == PRED_FAILED) {
        list->err = err_set(&list->error, TP_INVALID,
                            "the query cannot be evaluated for \"%s\": it compares values of different types or has no "
                            "true or false as its result",
                            item->target->name);
    }
    return list->err == TP_OK && result == PRED_TRUE;
}

bool list_wants(struct list *list, const struct list_item *item)
{
    const struct rbac_set *set = list->call->caller.set;
    size_t i;
    json_t *word;
    const char *name;
    json_t *value;
    if (list->err != TP_OK) {
        return false;
    }
    json_object_foreach ((json_t *)(uintptr_t)list->labels, name, value) {
        if (!has_label(item->target, name, json_string_value(value))) {
            return false;
        }
    }
    json_array_foreach (list->search, i, word) {
        if (!has_word(item, json_string_value(word))) {
            return false;
        }
    }
    /* The query comes last: its failures must not tell of what the caller may not see. */
    return (set == NULL || rbac_can_list(set, item->target)) && (list->query == NULL || query_holds(list, item));
}

static void append_json(struct buf *out, json_t *value)
{
    char *text = json_text(value);
    (void)buf_append_text(out, text);
    mem_free(text);
    json_decref(value);
}

/* ---- a page, in turns ---- */

struct list_job {
    struct list *list; /* the first member of what ctx points at */
    struct list_source source;
    void *ctx;
    struct timer *timer;   /* the next turn; of the first one that waits */
    struct list_job *next; /* that waits */
    bool waits;
    struct buf out;
    size_t at;      /* items that were looked at, in the order of the list */
    char *at_key;   /* of the last one, between turns; NULL: none yet */
    size_t last;    /* the last one that is shown, */
    char *last_key; /* or its key, from an earlier turn */
    char *end_key;  /* the page is full: its last key. NULL: it is not */
    size_t shown;
    size_t total;
};

/* May one more wait? What a call asks for is kept until its turn, so that neither one person nor all of them may fill auth. */
static bool may_wait(const struct call *call)
{
    size_t all = 0;
    size_t own = 0;
    for (const struct list_job *job = call->auth->list_jobs; job != NULL; job = job->next) {
        const char *user = job->list->call->caller.user;
        all++;
        own += call->caller.user != NULL && user != NULL && strcmp(user, call->caller.user) == 0;
    }
    return all < LIST_WAIT_ALL && own < LIST_WAIT_USER;
}

/* One turn of one job in a turn of the loop, in the order in which they came: many long queries make nobody wait either. */
static void wait_for_turn(struct list_job *job)
{
    struct auth *auth = job->list->call->auth;
    struct list_job **at = &auth->list_jobs;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = job;
    job->next = NULL;
    job->waits = true;
}

static void wake_next(const struct auth *auth)
{
    if (auth->list_jobs != NULL) {
        timer_start(auth->list_jobs->timer, 0, 0);
    }
}

static void stop_waiting(struct list_job *job)
{
    if (job->waits) {
        struct list_job **at = &job->list->call->auth->list_jobs;
        while (*at != job) {
            at = &(*at)->next;
        }
        *at = job->next;
        job->waits = false;
    }
}

static void job_free(struct list_job *job)
{
    stop_waiting(job);
    timer_free(job->timer);
    buf_free(&job->out);
    mem_free(job->at_key);
    mem_free(job->last_key);
    mem_free(job->end_key);
    list_close(job->list);
    mem_free(job->ctx);
    mem_free(job);
}

static void job_fail(struct list_job *job, const struct tp_error *error)
{
    struct call *call = job->list->call;
    const struct tp_error why = *error; /* may stand in what is freed */
    job_free(job);
    call_fail(call, &why);
}

/* Where item number n of the list's own order stands. */
static size_t place_of(const struct list *list, size_t count, size_t n)
{
    return list->descending ? count - 1 - n : n;
}

static bool is_before(const struct list_job *job, size_t i, const char *key)
{
    int order = job->source.compare(job->ctx, i, key);
    return job->list->descending ? order >= 0 : order <= 0;
}

/* How many items stand up to that key in the order of the list: found by halves. */
static size_t count_until(const struct list_job *job, size_t count, const char *key)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(job, place_of(job->list, count, middle), key)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static char *last_key(const struct list_job *job)
{
    return job->last_key != NULL ? mem_strdup(job->last_key) : job->source.key(job->ctx, job->last);
}

static void show(struct list_job *job, size_t i)
{
    if (job->shown++ > 0) {
        (void)buf_append(&job->out, ",", 1);
    }
    job->source.item(job->ctx, i, &job->out);
    job->last = i;
    mem_free(job->last_key);
    job->last_key = NULL;
}

/* One item; false when nothing is left to do. */
static bool take(struct list_job *job, size_t i)
{
    struct list *list = job->list;
    bool counted_only = list->total && list->start_key[0] != '\0' && is_before(job, i, list->start_key);
    if (!job->source.wanted(job->ctx, i)) {
        return true;
    }
    job->total++;
    if (counted_only || job->end_key != NULL) {
        return true;
    }
    if (job->shown == list->limit || buf_size(&job->out) > LIST_BYTES_MAX) {
        job->end_key = last_key(job);
        return list->total;
    }
    show(job, i);
    return true;
}

static void job_done(struct list_job *job)
{
    struct list *list = job->list;
    (void)buf_append_text(&job->out, "],\"start_key\":");
    append_json(&job->out, json_string(job->end_key != NULL ? job->end_key : ""));
    if (list->total) {
        (void)buf_printf(&job->out, ",\"total\":%zu", job->total);
    }
    (void)buf_append_text(&job->out, "}");
    if (job->out.failed) {
        (void)err_set(&list->error, TP_TOO_LARGE, "a page of this list is too large; ask for fewer at once");
        job_fail(job, &list->error);
        return;
    }
    struct call *call = list->call;
    struct buf page = job->out;
    buf_init(&job->out, 0);
    job_free(job);
    call_reply_text(call, &page);
}

/* Places may mean other items in the next turn, keys do not. */
static void keep_keys(struct list_job *job, size_t i)
{
    mem_free(job->at_key);
    job->at_key = job->source.key(job->ctx, i);
    if (job->shown > 0 && job->last_key == NULL) {
        job->last_key = job->source.key(job->ctx, job->last);
    }
}

/* False: it goes on in another turn. */
static bool job_turn(struct list_job *job)
{
    struct list *list = job->list;
    bool same = true;
    size_t count = job->source.count(job->ctx, &same);
    list->turn = 0;
    if (job->at_key != NULL && !same) {
        job->at = count_until(job, count, job->at_key);
    } else if (job->at_key == NULL && list->start_key[0] != '\0' && !list->total) {
        job->at = count_until(job, count, list->start_key);
    }
    while (job->at < count) {
        size_t i = place_of(list, count, job->at++);
        if (!take(job, i)) {
            job->at = count;
        }
        if (list->err != TP_OK) {
            job_fail(job, &list->error);
            return true;
        }
        if (list->turn >= list->call->auth->list_turn && job->at < count) {
            keep_keys(job, i);
            return false;
        }
    }
    job_done(job);
    return true;
}

static void on_turn(void *ctx)
{
    struct list_job *job = ctx;
    struct auth *auth = job->list->call->auth;
    stop_waiting(job);
    if (!job_turn(job)) {
        wait_for_turn(job);
    }
    wake_next(auth);
}

void list_answer(const struct list_source *source, void *ctx)
{
    struct list_job *job = mem_alloc(sizeof *job);
    struct auth *auth;
    job->list = ctx;
    job->source = *source;
    job->ctx = ctx;
    auth = job->list->call->auth;
    job->timer = timer_new(auth->loop, on_turn, job);
    buf_init(&job->out, RPC_FRAME_MAX);
    (void)buf_append_text(&job->out, "{\"items\":[");
    /* Without a query a list costs little. One with a query gets its first turn when no other waits for one. */
    if ((job->list->query == NULL || auth->list_jobs == NULL) && job_turn(job)) {
        return;
    }
    if (job->at == 0 && !may_wait(job->list->call)) {
        const struct tp_error error = {.code = TP_LIMIT,
                                       .text = "too many lists with a query are under way; wait for one of them"};
        job_fail(job, &error);
        return;
    }
    wait_for_turn(job);
    wake_next(auth);
}

void list_jobs_end(struct auth *auth)
{
    const struct tp_error error = {.code = TP_UNAVAILABLE, .text = "auth is stopping; try again in a moment"};
    while (auth->list_jobs != NULL) {
        job_fail(auth->list_jobs, &error);
    }
}
