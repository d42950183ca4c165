/* What people read of the audit log itself: its events, and how far it is signed. */
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/lane.h"

#include <string.h>

struct audit_read {
    struct call *call;
    struct audit_query query;
    char *dir;
    const char **types;
    json_t *items;
    size_t bytes; /* of them */
    char *next;
    enum tp_err err;
    struct tp_error error;
};

static bool take_event(void *ctx, const json_t *event)
{
    struct audit_read *audit = ctx;
    audit->bytes += doc_weight(event);
    json_array_append_new(audit->items, json_deep_copy(event));
    return audit->bytes < LIST_BYTES_MAX;
}

static void audit_work(void *ctx)
{
    struct audit_read *audit = ctx;
    audit->err = audit_log_query(audit->dir, &audit->query, take_event, audit, &audit->next, &audit->error);
}

static void audit_done(void *ctx)
{
    struct audit_read *audit = ctx;
    if (audit->err != TP_OK) {
        call_fail(audit->call, &audit->error);
    } else {
        size_t count = json_array_size(audit->items);
        call_reply(audit->call, json_pack("{s:O, s:s, s:I}", "items", audit->items, "start_key",
                                          audit->next != NULL ? audit->next : "", "total", (json_int_t)count));
    }
    json_decref(audit->items);
    mem_free(audit->next);
    mem_free(audit->types);
    mem_free(audit->dir);
    mem_free(audit);
}

void do_audit_list(struct call *call)
{
    const json_t *params = call->params;
    struct tp_error error = {0};
    json_t *types = json_object_get(params, "types");
    if (types != NULL && !json_is_null(types) && doc_text_list(types, "types", 100, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    const char *order = json_get_text(params, "order", "desc");
    if (strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        call_fail_text(call, TP_INVALID, "\"order\" is asc (oldest first) or desc (newest first), not \"%.40s\"",
                       order);
        return;
    }
    struct audit_read *audit = mem_alloc(sizeof *audit);
    audit->call = call;
    audit->dir = mem_strdup(audit_dir(call->auth));
    audit->items = json_array();
    size_t count = json_array_size(types);
    if (count > 0) {
        audit->types = mem_array(count + 1, sizeof *audit->types);
        for (size_t i = 0; i < count; i++) {
            audit->types[i] = json_string_value(json_array_get(types, i));
        }
    }
    int64_t limit = json_get_int(params, "limit", 500);
    audit->query = (struct audit_query){
        .from_ms = doc_ms(params, "from"),
        .to_ms = doc_ms(params, "to"),
        .types = audit->types,
        .user = json_get_text(params, "user", NULL),
        .text = json_get_text(params, "text", NULL),
        .ascending = strcmp(order, "asc") == 0,
        .limit = (size_t)(limit <= 0 || limit > 5000 ? 5000 : limit),
        .start_key = json_get_text(params, "start_key", NULL),
    };
    audit->err = lane_run(call->auth->reads, lane_of(call), audit_work, audit_done, audit, &audit->error);
    if (audit->err != TP_OK) {
        audit_done(audit);
    }
}

void do_audit_checkpoint(struct call *call)
{
    const struct audit_log *log = audit_log_of(call->auth);
    char *key = audit_log_verifier_key(log);
    const char *checkpoint = audit_log_checkpoint(log);
    call_reply(call, json_pack("{s:s, s:s}", "checkpoint", checkpoint != NULL ? checkpoint : "", "key", key));
    mem_free(key);
}
