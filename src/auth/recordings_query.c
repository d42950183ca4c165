/* Listing and reading recordings: the caller's rules on kind session decide for each one, with its fields as `where` sees
 * them. */
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/lane.h"
#include "auth/recording.h"

#include <string.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 5000
#define LOOKED_AT_MAX 10000                 /* recordings for one page */
#define WORDS_MAX 32                        /* of a search */
#define ACCESS_MS ((int64_t)10 * 60 * 1000) /* reads of one person that are no further apart are one access */
#define READER_MS ((int64_t)15 * 1000)      /* a recording stays open so long for who reads on */
#define READERS_MAX 64                      /* recordings that are open for that */
#define ACCESSES_MAX 10000                  /* past it each read is an access of its own */

/* What predicates see of a recording: the members of its end event. */
static json_t *where_session(const json_t *meta)
{
    json_t *session = json_deep_copy(meta);
    json_object_set(session, "sid", json_object_get(meta, "id"));
    json_object_set(session, "server_id", json_object_get(meta, "host_id"));
    json_object_set(session, "server_hostname", json_object_get(meta, "hostname"));
    if (json_object_get(session, "proto") == NULL) {
        json_object_set_new(session, "proto", json_string("ssh"));
    }
    return session;
}

bool recordings_may(const struct call *call, const char *verb, const json_t *meta)
{
    json_t *session = where_session(meta);
    struct rbac_context context = {.session = session};
    struct tp_error ignored = {0};
    bool yes = call_rule(call, verb, "session", &context, &ignored) == TP_OK;
    json_decref(session);
    return yes;
}

struct listing {
    const struct call *call;
    json_t *items;
    int64_t from_ms;
    int64_t to_ms;
    const char *state;    /* only such recordings, or NULL; so the next two */
    const char *user;     /* exactly */
    const char *hostname; /* or name of the Kubernetes cluster, exactly */
    const json_t *search; /* words that must all stand in it */
    size_t limit;
    size_t bytes; /* of items */
    bool ascending;
    char *rows; /* where the order that is asked for stands in the store; NULL: that of time */
    size_t looked_at;
    char *last; /* key of the newest item of the page, or of what was looked at last */
    bool more;  /* the page ends before the list does */
};

static bool has_word(const json_t *doc, const char *word)
{
    static const char *const fields[] = {
        "user",    "login", "hostname", "kubernetes_cluster", "kubernetes_pod_name", "kubernetes_pod_namespace",
        "command", "id"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcasestr(json_get_text(doc, fields[i], ""), word) != NULL) {
            return true;
        }
    }
    return false;
}

/* Everything but the right to it. */
static bool wanted(const struct listing *listing, const json_t *doc)
{
    if (listing->state != NULL && strcmp(json_get_text(doc, "state", ""), listing->state) != 0) {
        return false;
    }
    if (listing->user != NULL && strcmp(json_get_text(doc, "user", ""), listing->user) != 0) {
        return false;
    }
    if (listing->hostname != NULL && strcmp(json_get_text(doc, "hostname", ""), listing->hostname) != 0 &&
        strcmp(json_get_text(doc, "kubernetes_cluster", ""), listing->hostname) != 0) {
        return false;
    }
    size_t i;
    json_t *word;
    json_array_foreach (listing->search, i, word) {
        if (!has_word(doc, json_string_value(word))) {
            return false;
        }
    }
    return true;
}

static void remember_key(struct listing *listing, const char *name)
{
    mem_free(listing->last);
    listing->last = mem_strdup(name);
}

static bool in_time(const struct listing *listing, int64_t started)
{
    return started >= listing->from_ms && (listing->to_ms == 0 || started < listing->to_ms);
}

/* Auth does nothing else meanwhile, so a page of which little is wanted ends early; the next one goes on there. */
static bool looked_at_enough(struct listing *listing)
{
    if (listing->looked_at++ >= LOOKED_AT_MAX) {
        listing->more = true;
        return true;
    }
    return false;
}

static bool is_full(const struct listing *listing)
{
    return json_array_size(listing->items) == listing->limit || listing->bytes >= LIST_BYTES_MAX;
}

/* One recording in the order of the list, which has name for it. */
static bool take(struct listing *listing, const char *name, const json_t *doc)
{
    bool full = is_full(listing);
    if (!in_time(listing, doc_ms(doc, "started")) || !wanted(listing, doc) ||
        !recordings_may(listing->call, "list", doc)) {
        if (!full) {
            remember_key(listing, name);
        }
        return true;
    }
    if (full) {
        listing->more = true;
        return false;
    }
    json_t *item = json_deep_copy(doc);
    json_object_del(item, "sorted");
    const struct recording *open = map_get(listing->call->auth->recordings, json_get_text(doc, "id", ""));
    if (open != NULL) {
        json_object_set_new(item, "size", json_integer(open->size));
    }
    listing->bytes += doc_weight(item);
    json_array_append_new(listing->items, item);
    remember_key(listing, name);
    return true;
}

static bool list_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct listing *listing = ctx;
    (void)revision;
    int64_t started = doc_ms(doc, "started");
    if ((listing->to_ms != 0 && started >= listing->to_ms && listing->ascending) ||
        (started < listing->from_ms && !listing->ascending)) {
        return false; /* keys are in order of time */
    }
    return !looked_at_enough(listing) && take(listing, name, doc);
}

/* The key of a recording begins with its time, so what is out of the range is not read. */
static bool row_in_time(const struct listing *listing, const char *key)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t started = 0;
    (void)snprintf(text, sizeof text, "%.*s", (int)strcspn(key, "_"), key);
    return clock_parse_ms(text, &started) == TP_OK && in_time(listing, started);
}

/* The same by a row. */
static bool list_row(void *ctx, const char *name, const json_t *row, uint64_t revision)
{
    struct listing *listing = ctx;
    const char *key = recording_of_row(name);
    struct tp_error ignored = {0};
    json_t *doc = NULL;
    bool more = true;
    (void)row;
    (void)revision;
    if (looked_at_enough(listing)) {
        return false;
    }
    if (row_in_time(listing, key) &&
        doc_find(listing->call->auth->state, "/recording/", key, &doc, NULL, &ignored) == TP_OK) {
        more = take(listing, name, doc);
        json_decref(doc);
    } else if (!is_full(listing)) {
        remember_key(listing, name);
    }
    return more;
}

static enum tp_err read_order(struct listing *listing, struct tp_error *error)
{
    const char *sort = json_get_text(listing->call->params, "sort", "started:desc");
    size_t length = strcspn(sort, ":");
    const char *direction = sort[length] == ':' ? sort + length + 1 : "asc";
    listing->ascending = strcmp(direction, "asc") == 0;
    if (!listing->ascending && strcmp(direction, "desc") != 0) {
        return err_set(error, TP_INVALID, "the order in \"sort\" is asc or desc, not \"%.40s\"", direction);
    }
    if (length == 7 && strncmp(sort, "started", 7) == 0) {
        return TP_OK;
    }
    listing->rows = recording_rows_of(sort, length);
    if (listing->rows == NULL) {
        return err_set(error, TP_INVALID,
                       "recordings can be sorted by \"started\", \"user\", \"where\", \"length\" or \"size\", not by "
                       "\"%.40s\"",
                       sort);
    }
    return TP_OK;
}

static enum tp_err read_listing(struct listing *listing, struct tp_error *error)
{
    const json_t *params = listing->call->params;
    int64_t limit = json_get_int(params, "limit", LIMIT_DEFAULT);
    listing->from_ms = doc_ms(params, "from");
    listing->to_ms = doc_ms(params, "to");
    listing->state = json_get_text(params, "state", NULL);
    listing->user = json_get_text(params, "user", NULL);
    listing->hostname = json_get_text(params, "hostname", NULL);
    listing->search = json_object_get(params, "search");
    listing->limit = (size_t)(limit <= 0 ? LIMIT_DEFAULT : limit > LIMIT_MAX ? LIMIT_MAX : limit);
    enum tp_err err = read_order(listing, error);
    if (err == TP_OK && listing->search != NULL) {
        err = doc_text_list(listing->search, "search", WORDS_MAX, error);
    }
    return err;
}

/* Where the walk begins: behind the page before, else at the end of the range that it comes from. */
static char *first_key(const struct listing *listing)
{
    char text[CLOCK_TEXT_SIZE];
    const char *start = json_get_text(listing->call->params, "start_key", "");
    int64_t edge = listing->ascending ? listing->from_ms : listing->to_ms;
    if (start[0] != '\0') {
        return mem_strdup(start);
    }
    if (edge == 0 || listing->rows != NULL) {
        return mem_strdup("");
    }
    clock_format_ms(edge, text);
    return mem_strdup(text);
}

/* Pages by key: what comes new meanwhile moves nothing. How many there are in all is not told: auth would stand still for it. */
void do_recordings_list(struct call *call)
{
    struct tp_error error = {0};
    struct listing listing = {.call = call, .items = json_array()};
    enum tp_err err = read_listing(&listing, &error);
    if (err == TP_OK) {
        char *key = first_key(&listing);
        err = (listing.ascending ? doc_each : doc_each_back)(
            call->auth->state, listing.rows != NULL ? listing.rows : "/recording/", key,
            listing.rows != NULL ? list_row : list_one, &listing, &error);
        mem_free(key);
    }
    mem_free(listing.rows);
    if (err != TP_OK) {
        json_decref(listing.items);
        mem_free(listing.last);
        call_fail(call, &error);
        return;
    }
    json_t *result = json_pack("{s:o, s:s}", "items", listing.items, "start_key",
                               listing.more && listing.last != NULL ? listing.last : "");
    mem_free(listing.last);
    call_reply(call, result);
}

struct reading {
    struct call *call;
    struct auth *auth; /* of the call, which may be gone first */
    char *part;
    char *final;
    int64_t offset;
    int64_t total;
    bool live;
    json_t *event; /* NULL: this read belongs to an access that is on record */
    bool joined;   /* of struct recording_piece */
    json_t *result;
    char *access;
    struct recording_reader *reader; /* of this access, or NULL */
    bool had_reader;                 /* it came from the read before */
    uint8_t *data;
    size_t want;
    size_t size;
    enum tp_err err;
    struct tp_error error;
};

static void read_work(void *ctx)
{
    struct reading *reading = ctx;
    reading->err = recording_file_read(reading->part, reading->final, reading->offset, reading->data, reading->want,
                                       &reading->size, &reading->reader, &reading->error);
    if (reading->err == TP_NOT_FOUND && reading->live) {
        reading->err = TP_OK; /* its host has sent nothing yet */
    }
}

/* What one person reads of one recording. It counts as recorded once its event is on the disk, whatever offset it began at. */
struct access {
    int64_t last_ms;                 /* wall */
    struct recording_reader *reader; /* where he stands; NULL: not open, or a read has it */
};

static bool access_recorded(const struct auth *auth, const char *key)
{
    const struct access *access = map_get(auth->accesses, key);
    return access != NULL && clock_wall_ms() - access->last_ms < ACCESS_MS;
}

static void reader_drop(struct auth *auth, struct recording_reader *reader)
{
    if (reader != NULL) {
        auth->readers--;
        recording_reader_free(reader);
    }
}

static struct recording_reader *reader_take(const struct auth *auth, const char *key)
{
    struct access *access = key != NULL ? map_get(auth->accesses, key) : NULL;
    struct recording_reader *reader = access != NULL ? access->reader : NULL;
    if (reader != NULL) {
        access->reader = NULL;
    }
    return reader;
}

/* reader, which is taken over, stays open for the next read, unless there are too many. */
static void access_remember(struct auth *auth, const char *key, struct recording_reader *reader)
{
    struct access *access = map_get(auth->accesses, key);
    if (access == NULL && map_count(auth->accesses) < ACCESSES_MAX) {
        access = mem_alloc(sizeof *access);
        map_set(auth->accesses, key, access);
    }
    if (access != NULL) {
        access->last_ms = clock_wall_ms();
    }
    if (access != NULL && access->reader == NULL && auth->readers <= READERS_MAX) {
        access->reader = reader;
    } else {
        reader_drop(auth, reader);
    }
}

static void forget_access(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    struct access *access = value;
    int64_t idle_ms = clock_wall_ms() - access->last_ms;
    if (auth->stopping || idle_ms >= READER_MS) {
        reader_drop(auth, access->reader);
        access->reader = NULL;
    }
    if (auth->stopping || idle_ms >= ACCESS_MS) {
        (void)map_remove(auth->accesses, key);
        mem_free(access);
    }
}

void recordings_accesses_sweep(struct auth *auth)
{
    map_each(auth->accesses, forget_access, auth);
}

static void reading_free(struct reading *reading)
{
    reader_drop(reading->auth, reading->reader);
    if (reading->event != NULL && reading->joined) {
        audit_emit(reading->auth, reading->event, NULL, NULL);
    } else {
        json_decref(reading->event);
    }
    json_decref(reading->result);
    mem_free(reading->part);
    mem_free(reading->final);
    mem_free(reading->data);
    mem_free(reading->access);
    mem_free(reading);
}

static void read_recorded(void *ctx, const struct tp_error *error)
{
    struct reading *reading = ctx;
    struct call *call = reading->call;
    if (error != NULL) {
        call_fail(call, error);
    } else {
        if (reading->access != NULL) {
            access_remember(call->auth, reading->access, reading->reader);
            reading->reader = NULL;
        }
        call_reply(call, json_incref(reading->result));
    }
    reading_free(reading);
}

static void read_done(void *ctx)
{
    struct reading *reading = ctx;
    struct call *call = reading->call;
    if (!reading->had_reader && reading->reader != NULL) {
        call->auth->readers++;
    } else if (reading->had_reader && reading->reader == NULL) {
        call->auth->readers--;
    }
    if (reading->err != TP_OK) {
        call_fail(call, &reading->error);
    } else if (call->auth->stopping) {
        call_fail_text(call, TP_UNAVAILABLE, "the auth process is stopping");
    } else {
        char *text = enc_base64(reading->data, reading->size);
        bool done = !reading->live && reading->offset + (int64_t)reading->size >= reading->total;
        reading->result = json_pack("{s:s, s:I, s:b}", "data", text, "size", (json_int_t)reading->total, "done",
                                    done || (!reading->live && reading->size == 0));
        mem_free(text);
        if (reading->event != NULL) {
            json_t *event = reading->event;
            reading->event = NULL;
            audit_emit(call->auth, event, read_recorded, reading);
        } else {
            read_recorded(reading, NULL);
        }
        return;
    }
    reading_free(reading);
}

void recordings_answer(struct call *call, const json_t *meta, const struct recording_piece *piece, json_t *event)
{
    const char *id = json_get_text(meta, "id", "");
    struct reading *reading = mem_alloc(sizeof *reading);
    reading->call = call;
    reading->auth = call->auth;
    reading->reader = reader_take(call->auth, piece->access);
    reading->had_reader = reading->reader != NULL;
    reading->part = recording_path(call->auth, id, ".cast.part");
    reading->final = recording_path(call->auth, id, ".cast.gz");
    reading->offset = piece->offset;
    reading->want = (size_t)(piece->limit > RECORDING_PIECE_MAX ? RECORDING_PIECE_MAX : piece->limit);
    reading->data = mem_alloc(reading->want);
    reading->total = json_get_int(meta, "size", 0);
    reading->live = strcmp(json_get_text(meta, "state", ""), "live") == 0;
    reading->access = piece->access != NULL ? mem_strdup(piece->access) : NULL;
    reading->event = event;
    reading->joined = piece->joined;
    struct tp_error error = {0};
    if (lane_run(call->auth->reads, lane_of(call), read_work, read_done, reading, &error) != TP_OK) {
        if (reading->had_reader) {
            access_remember(call->auth, reading->access, reading->reader);
            reading->reader = NULL;
        }
        reading_free(reading);
        call_fail(call, &error);
    }
}

static enum tp_err find_meta(struct auth *auth, const char *id, json_t **ret_meta, struct tp_error *error)
{
    const struct recording *open = map_get(auth->recordings, id);
    if (open != NULL) {
        *ret_meta = json_deep_copy(open->meta);
        json_object_set_new(*ret_meta, "size", json_integer(open->size));
        return TP_OK;
    }
    json_t *index = NULL;
    enum tp_err err = doc_find(auth->state, "/recording_at/", id, &index, NULL, error);
    if (err == TP_OK) {
        err = doc_find(auth->state, "/recording/", json_get_text(index, "key", ""), ret_meta, NULL, error);
    }
    json_decref(index);
    return err;
}

void do_recordings_read(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *id = NULL;
    json_t *meta = NULL;
    json_t *joined = NULL;
    struct recording_piece piece = {.offset = json_get_int(call->params, "offset", 0),
                                    .limit = json_get_int(call->params, "limit", RECORDING_PIECE_MAX)};
    enum tp_err err = json_need_text(call->params, "id", &id, &error);
    if (err == TP_OK && (strlen(id) != UUID_TEXT_SIZE - 1 || strspn(id, "0123456789abcdef-") != UUID_TEXT_SIZE - 1)) {
        err = err_set(&error, TP_INVALID, "id must be that of a session");
    }
    if (err == TP_OK) {
        err = find_meta(auth, id, &meta, &error);
    }
    /* Whoever may not read it learns no more than that it is not there for him. */
    if (err == TP_NOT_FOUND || (err == TP_OK && !recordings_may(call, "read", meta))) {
        err = err_set(&error, TP_NOT_FOUND, "there is no recording %s that you may read", id);
    }
    if (err == TP_OK && (piece.offset < 0 || piece.limit <= 0)) {
        err = err_set(&error, TP_INVALID, "offset and limit must be positive");
    }
    if (err == TP_OK && map_get(auth->recordings, id) == NULL && json_is_false(json_object_get(meta, "recorded"))) {
        err =
            err_set(&error, TP_NOT_FOUND,
                    "the session %s was not recorded (a Kubernetes command without a terminal, or recording was off); "
                    "`tportctl audit ls --text=%s` shows what is on record about it",
                    id, id);
    }
    if (err == TP_OK) {
        struct recording *open = map_get(auth->recordings, id);
        piece.limit = piece.limit < RECORDING_PIECE_MAX ? piece.limit : RECORDING_PIECE_MAX;
        err = open != NULL ? watchers_read(open, call, &piece, &joined, &error) : TP_OK;
    }
    if (err != TP_OK) {
        json_decref(meta);
        call_fail(call, &error);
        return;
    }
    const char *type = strcmp(json_get_text(meta, "proto", "ssh"), "kube") == 0 ? "k8s" : "ssh";
    char *access = mem_printf("%u\n%s\n%s", call->caller.who, call->caller.user, id);
    json_t *event = NULL;
    if (piece.offset == 0 || !access_recorded(auth, access)) {
        event = call_event(call, "session.recording.access", true);
        json_object_set_new(event, "sid", json_string(id));
        json_object_set_new(event, "session_type", json_string(type));
        json_object_set_new(event, "format", json_string("asciicast"));
    }
    if (event != NULL && joined != NULL) { /* durable before the other, which the answer waits for */
        audit_emit(auth, joined, NULL, NULL);
        joined = NULL;
    }
    piece.access = access;
    piece.joined = event == NULL;
    recordings_answer(call, meta, &piece, event != NULL ? event : joined);
    mem_free(access);
    json_decref(meta);
}
