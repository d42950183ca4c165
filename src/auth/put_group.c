/*
 * Roles that several calls of one loop turn write go into one commit: a change costs an fsync, and a hundred that come
 * together cost one. Each call has passed all its checks when it comes here; it is answered after the commit and its event
 * are on the disk, and until then nobody has seen the change.
 *
 *     resources.put --checked--> queue --end of the turn, or any other call--> one commit --> caches, sessions, events, answers
 */
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/put_group.h"
#include "auth/resources.h"

#include <string.h>

struct put {
    struct call *call;
    const struct kind *kind;
    char *key;
    char *text;
    uint64_t expected;
    struct role *role;
    json_t *doc;
    struct tp_error error; /* TP_OK: written */
    struct put *next;
};

struct put_group {
    struct auth *auth;
    struct later flush;
    struct put *first;
    struct put **last;
    size_t count;
};

static void on_turn_end(void *ctx)
{
    struct put_group *group = ctx;
    put_group_flush(group->auth);
}

struct put_group *put_group_new(struct auth *auth)
{
    struct put_group *group = mem_alloc(sizeof *group);
    group->auth = auth;
    group->flush.fn = on_turn_end;
    group->flush.ctx = group;
    group->last = &group->first;
    return group;
}

void put_group_free(struct put_group *group)
{
    if (group != NULL) {
        later_cancel(&group->flush);
        mem_free(group);
    }
}

bool put_group_has(const struct put_group *group, const char *prefix, const char *name)
{
    size_t size = strlen(prefix);
    for (const struct put *put = group->first; put != NULL; put = put->next) {
        if (strncmp(put->key, prefix, size) == 0 && strcmp(put->key + size, name) == 0) {
            return true;
        }
    }
    return false;
}

void put_group_add(struct call *call, const struct kind *kind, const json_t *doc, uint64_t expected, struct role *role)
{
    struct put_group *group = call->auth->puts;
    struct put *put = mem_alloc(sizeof *put);
    *put = (struct put){.call = call,
                        .kind = kind,
                        .key = mem_printf("%s%s", kind->prefix, resource_name(doc)),
                        .text = json_text(doc),
                        .expected = expected,
                        .role = role,
                        .doc = json_incref((json_t *)(uintptr_t)doc)};
    *group->last = put;
    group->last = &put->next;
    group->count++;
    later_run(group->auth->loop, &group->flush);
}

static struct store_op op_of(const struct put *put)
{
    return (struct store_op){put->key, put->text, strlen(put->text), put->expected};
}

/* All in one commit; when that fails, each by itself, so that one that cannot be written takes no other with it. */
static void commit(struct auth *auth, struct put *first, size_t count)
{
    struct store_op *ops = mem_array(count, sizeof *ops);
    struct tp_error error = {0};
    size_t i = 0;
    for (const struct put *put = first; put != NULL; put = put->next) {
        ops[i++] = op_of(put);
    }
    if (store_commit(auth->state, ops, count, NULL, &error) != TP_OK) {
        for (struct put *put = first; put != NULL; put = put->next) {
            struct store_op op = op_of(put);
            enum tp_err err =
                count > 1 ? store_commit(auth->state, &op, 1, NULL, &put->error) : (put->error = error, error.code);
            put->error.code = err;
        }
    }
    mem_free(ops);
}

static void answer(struct put *put)
{
    bool created = put->expected == STORE_ABSENT;
    const char *name = resource_name(put->doc);
    if (put->error.code != TP_OK) {
        call_fail(put->call, &put->error);
        return;
    }
    json_t *event = resource_event(put->call, created ? put->kind->created : put->kind->updated, put->doc, name);
    json_t *result = json_pack("{s:b, s:s, s:s}", "created", created, "kind", put->kind->name, "name", name);
    if (role_warnings(put->role)[0] != '\0') {
        json_object_set_new(result, "warnings", json_string(role_warnings(put->role)));
    }
    call_reply_audited(put->call, event, result);
}

void put_group_flush(struct auth *auth)
{
    struct put_group *group = auth->puts;
    struct put *first = group->first;
    json_t *names = json_array();
    if (first == NULL) {
        json_decref(names);
        return;
    }
    size_t count = group->count;
    group->first = NULL;
    group->last = &group->first;
    group->count = 0;
    commit(auth, first, count);
    for (struct put *put = first; put != NULL; put = put->next) {
        if (put->error.code == TP_OK) {
            resources_role_changed(auth, resource_name(put->doc), role_ref(put->role));
            json_array_append_new(names, json_string(resource_name(put->doc)));
        }
    }
    /* Before the answers: who reads one finds the sessions decided. */
    sessions_recheck_roles(auth, names);
    json_decref(names);
    while (first != NULL) {
        struct put *put = first;
        first = put->next;
        answer(put);
        role_unref(put->role);
        json_decref(put->doc);
        mem_free(put->key);
        secret_free(put->text);
        mem_free(put);
    }
}
