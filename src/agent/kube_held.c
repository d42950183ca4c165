/*
 * Requests that are allowed for some objects only, and whose URL does not name the object: a create is decided by the name in
 * its body; a deletecollection becomes a list, and a delete of each object that may be deleted. And the question what one
 * may do, which names it in its body.
 *
 *     HOLD --body read--> create: name decided --> the exchange goes on as any other
 *            |
 *            `----------> deletecollection: SWEEP: list, then one delete after the other --> our answer
 */
#include "agent/kube_body.h"
#include "agent/kube_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "kube/kube_scan.h"

#include <string.h>

#define LIST_MAX ((size_t)16 * 1024 * 1024)
#define SWEEP_MS 30000 /* for each of its requests */

struct kube_sweep {
    struct kube_conn *conn;
    struct kube_fetch *fetch;
    char *path;
    char *query; /* NULL: none */
    json_t *names;
    size_t at;
    size_t deleted;
    int failed; /* status of the first delete that failed */
};

void kube_sweep_free(struct kube_sweep *sweep)
{
    if (sweep == NULL) {
        return;
    }
    kube_fetch_cancel(sweep->fetch);
    json_decref(sweep->names);
    mem_free(sweep->path);
    mem_free(sweep->query);
    mem_free(sweep);
}

size_t kube_sweep_kept(const struct kube_sweep *sweep)
{
    return sweep != NULL ? kube_fetch_kept(sweep->fetch) : 0;
}

/* ---- the deletes ---- */

static void next_delete(struct kube_sweep *sweep);

static void on_deleted(void *ctx, int status, const uint8_t *body, size_t size)
{
    struct kube_sweep *sweep = ctx;
    (void)body;
    (void)size;
    sweep->fetch = NULL;
    sweep->at++;
    if (status >= 200 && status < 300) {
        sweep->deleted++;
    } else if (status != 404 && sweep->failed == 0) { /* 404: somebody else was faster */
        sweep->failed = status != 0 ? status : 503;
    }
    next_delete(sweep);
}

static void finish(struct kube_sweep *sweep)
{
    struct kube_conn *conn = sweep->conn;
    size_t deleted = sweep->deleted;
    size_t wanted = json_array_size(sweep->names);
    int failed = sweep->failed;
    if (failed != 0) {
        kube_refuse(conn, failed, "%zu of %zu objects were deleted; the cluster refused the others", deleted, wanted);
    } else {
        kube_answer_success(conn);
    }
}

static void next_delete(struct kube_sweep *sweep)
{
    struct kube_conn *conn = sweep->conn;
    struct kube_exchange *x = &conn->x;
    if (sweep->at == json_array_size(sweep->names) || conn->ended) {
        finish(sweep);
        return;
    }
    char *path = mem_printf("%s/%s", sweep->path, json_string_value(json_array_get(sweep->names, sweep->at)));
    struct kube_fetch_request request = {
        .method = "DELETE",
        .path = path,
        .query = sweep->query,
        .identity = x->identity,
        .body_type = x->held_type,
        .body = buf_head(&x->held),
        .body_size = buf_size(&x->held),
        .limit = LIST_MAX,
        .within_ms = SWEEP_MS,
    };
    sweep->fetch = kube_fetch_start(conn->kube->loop, conn->cluster, &request, on_deleted, sweep);
    mem_free(path);
    if (sweep->fetch == NULL) {
        sweep->failed = 503;
        finish(sweep);
    }
}

/* ---- the list ---- */

/* Names are path segments: what is none stays out of a URL. */
static bool is_segment(const char *name)
{
    return name[0] != '\0' && strpbrk(name, "/%?#\\ ") == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           http_is_value(name);
}

/* One of the list. false: it can't be read. */
static bool take_name(struct kube_sweep *sweep, struct kube_text item)
{
    static const char *const of_item[] = {"metadata"};
    static const char *const of_metadata[] = {"name", "namespace"};
    struct kube_conn *conn = sweep->conn;
    struct kube_text metadata = {0};
    struct kube_text parts[2] = {{0}};
    if (!kube_scan_find(item, of_item, &metadata, 1, NULL) || metadata.at == NULL ||
        !kube_scan_find(metadata, of_metadata, parts, 2, NULL)) {
        return false;
    }
    char *name = kube_scan_text(parts[0]);
    char *space = kube_scan_text(parts[1]);
    struct rbac_kube_request asked;
    kube_request_rbac(conn->x.request, &asked);
    asked.name = name;
    asked.name_space = space;
    asked.collection = false;
    if (name != NULL && is_segment(name) && rbac_kube_check(conn->rules, &asked) == RBAC_KUBE_ALLOW) {
        (void)json_array_append_new(sweep->names, json_string(name));
    }
    mem_free(name);
    mem_free(space);
    return true;
}

static bool take_names(struct kube_sweep *sweep, struct kube_text list)
{
    static const char *const names[] = {"items"};
    struct kube_text items = {0};
    struct kube_text item;
    struct kube_scan scan;
    sweep->names = json_array();
    if (!kube_scan_find(list, names, &items, 1, NULL) || items.at == NULL) {
        return false;
    }
    if (*items.at != '[') { /* null: none */
        return true;
    }
    kube_scan_init(&scan, items);
    kube_scan_open(&scan, '[');
    while (kube_scan_element(&scan, &item)) {
        if (!take_name(sweep, item)) {
            return false;
        }
    }
    return kube_scan_done(&scan);
}

static bool list_has_room(void *ctx, size_t size)
{
    const struct kube_sweep *sweep = ctx;
    struct kube_conn *conn = sweep->conn;
    conn->x.no_room = !kube_has_room(conn, size);
    return !conn->x.no_room;
}

static void on_list(void *ctx, int status, const uint8_t *body, size_t size)
{
    struct kube_sweep *sweep = ctx;
    struct kube_conn *conn = sweep->conn;
    sweep->fetch = NULL;
    if (conn->x.no_room) {
        kube_refuse(conn, 503, "%s", KUBE_NO_ROOM);
        return;
    }
    if (status != 200) {
        kube_refuse(conn, status >= 400 ? status : 502,
                    "the objects to delete could not be listed; delete them one by one");
        return;
    }
    if (!take_names(sweep, (struct kube_text){body, size})) {
        kube_refuse(conn, 502, "the API server's list is no proper JSON");
        return;
    }
    next_delete(sweep);
}

static void sweep_begin(struct kube_conn *conn)
{
    const struct http_request *request = http_parser_request(conn->parser);
    struct kube_sweep *sweep = mem_alloc(sizeof(*sweep));
    conn->state = KUBE_SWEEP;
    conn->x.sweep = sweep;
    sweep->conn = conn;
    sweep->path = mem_strdup(request->path);
    sweep->query = request->query != NULL ? mem_strdup(request->query) : NULL;
    struct kube_fetch_request list = {.method = "GET",
                                      .path = sweep->path,
                                      .query = sweep->query,
                                      .identity = conn->x.identity,
                                      .limit = LIST_MAX,
                                      .within_ms = SWEEP_MS,
                                      .has_room = list_has_room};
    sweep->fetch = kube_fetch_start(conn->kube->loop, conn->cluster, &list, on_list, sweep);
    if (sweep->fetch == NULL) {
        kube_refuse(conn, 503, "the agent has no credentials for the cluster now; see its log");
    }
}

/* ---- the body ---- */

void kube_held_begin(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    const char *type = http_request_header(http_parser_request(conn->parser), "content-type");
    conn->state = KUBE_HOLD;
    x->held_type = mem_strdup(type != NULL ? type : "application/json");
    buf_init(&x->held, KUBE_HELD_MAX);
    kube_deadline(conn, SWEEP_MS);
    if (x->body_done) {
        kube_held_end(conn);
    }
}

/* The body is as it came: it goes up behind the head. */
static void send_held(struct kube_conn *conn)
{
    (void)buf_printf(&conn->x.head, "Content-Length: %zu\r\n\r\n", buf_size(&conn->x.held));
    kube_send(conn);
}

static void decide_review(struct kube_conn *conn)
{
    char *refusal = kube_review_refusal(conn);
    if (refusal != NULL) {
        kube_answer_object(conn, 201, refusal);
    } else {
        send_held(conn);
    }
    mem_free(refusal);
}

static void decide_create(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct rbac_kube_request asked;
    struct tp_error error = {0};
    char *name = NULL;
    if (kube_body_name(x->held_type, buf_head(&x->held), buf_size(&x->held), &name, &error) != TP_OK) {
        kube_refuse(conn, error.code == TP_DENIED ? 403 : 400, "%s", error.text);
        return;
    }
    kube_request_rbac(x->request, &asked);
    asked.name = name;
    asked.collection = false;
    bool allowed = rbac_kube_check(conn->rules, &asked) == RBAC_KUBE_ALLOW;
    kube_named_as(conn, name); /* for the event */
    if (!allowed) {
        kube_refuse_forbidden(conn, name);
    } else {
        send_held(conn);
    }
    mem_free(name);
}

void kube_held_end(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    kube_deadline(conn, 0);
    if (x->no_room) {
        kube_refuse(conn, 503, "%s", KUBE_NO_ROOM);
    } else if (x->held.failed) {
        kube_refuse(conn, 413, "the object is larger than %zu bytes", KUBE_HELD_MAX);
    } else if (kube_request_is_access_review(x->request)) {
        decide_review(conn);
    } else if (kube_request_is_create(x->request)) {
        decide_create(conn);
    } else {
        sweep_begin(conn);
    }
}
