#include "rbac/lock.h"

#include "base/mem.h"
#include "rbac/schema.h"

#include <string.h>

/* Where each key of a target is kept. */
static const struct {
    const char *key;
    size_t offset;
} fields[] = {{"user", offsetof(struct lock_target, user)},
              {"role", offsetof(struct lock_target, role)},
              {"login", offsetof(struct lock_target, login)},
              {"node", offsetof(struct lock_target, server_id)},
              {"server_id", offsetof(struct lock_target, server_id)},
              {"mfa_device", offsetof(struct lock_target, mfa_device)},
              {"windows_desktop", offsetof(struct lock_target, windows_desktop)},
              {"access_request", offsetof(struct lock_target, access_request)},
              {"device", offsetof(struct lock_target, device)},
              {"bot_instance_id", offsetof(struct lock_target, bot_instance_id)},
              {"join_token", offsetof(struct lock_target, join_token)}};

#define FIELD_COUNT (sizeof fields / sizeof *fields)

static const char *const kinds[] = {"lock", NULL};
static const char *const versions[] = {"v2", NULL};

static const struct schema metadata_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, true},        {"description", SCHEMA_TEXT, NULL, NULL, false},
    {"labels", SCHEMA_TEXT_MAP, NULL, NULL, false}, {"expires", SCHEMA_TIME, NULL, NULL, false},
    {"id", SCHEMA_TEXT, NULL, NULL, false},         {"revision", SCHEMA_TEXT, NULL, NULL, false},
    {"namespace", SCHEMA_TEXT, NULL, NULL, false},  {0},
};
static const struct schema target_schema[] = {
    {"user", SCHEMA_TEXT, NULL, NULL, false},
    {"role", SCHEMA_TEXT, NULL, NULL, false},
    {"login", SCHEMA_TEXT, NULL, NULL, false},
    {"node", SCHEMA_TEXT, NULL, NULL, false},
    {"server_id", SCHEMA_TEXT, NULL, NULL, false},
    {"mfa_device", SCHEMA_TEXT, NULL, NULL, false},
    {"windows_desktop", SCHEMA_TEXT, NULL, NULL, false},
    {"access_request", SCHEMA_TEXT, NULL, NULL, false},
    {"device", SCHEMA_TEXT, NULL, NULL, false},
    {"bot_instance_id", SCHEMA_TEXT, NULL, NULL, false},
    {"join_token", SCHEMA_TEXT, NULL, NULL, false},
    {0},
};
static const struct schema spec_schema[] = {
    {"target", SCHEMA_MAP, target_schema, NULL, true}, {"message", SCHEMA_TEXT, NULL, NULL, false},
    {"expires", SCHEMA_TIME, NULL, NULL, false},       {"created_at", SCHEMA_TIME, NULL, NULL, false},
    {"created_by", SCHEMA_TEXT, NULL, NULL, false},    {0},
};
static const struct schema lock_schema[] = {
    {"kind", SCHEMA_WORD, NULL, kinds, true},      {"version", SCHEMA_WORD, NULL, versions, true},
    {"sub_kind", SCHEMA_TEXT, NULL, NULL, false},  {"metadata", SCHEMA_MAP, metadata_schema, NULL, true},
    {"spec", SCHEMA_MAP, spec_schema, NULL, true}, {0},
};

static const char *field_get(const struct lock_target *target, size_t index)
{
    const char *text;
    memcpy(&text, (const char *)target + fields[index].offset, sizeof text);
    return text && *text ? text : NULL;
}

static void field_set(struct lock_target *target, size_t index, const char *text)
{
    memcpy((char *)target + fields[index].offset, &text, sizeof text);
}

enum tp_err lock_parse(const struct node *document, struct lock **ret_lock, struct tp_error *error)
{
    const struct node *spec;
    const struct node *target;
    const char *message;
    struct lock *lock;
    size_t set = 0;
    enum tp_err result = schema_check(document, lock_schema, "", error);
    if (result)
        return result;
    spec = schema_get(document, "spec");
    target = schema_get(spec, "target");
    lock = mem_alloc(sizeof *lock);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *text = node_get_text(target, fields[i].key, "");
        if (!*text || node_is_null(node_get(target, fields[i].key)))
            continue;
        if (field_get(&lock->target, i) && strcmp(field_get(&lock->target, i), text) != 0) {
            result =
                err_set(error, TP_INVALID, "line %d: \"node\" and \"server_id\" mean the same; give one", target->line);
            break;
        }
        if (!field_get(&lock->target, i))
            field_set(&lock->target, i, mem_strdup(text));
        set++;
    }
    if (!result && set == 0)
        result = err_set(error, TP_INVALID, "line %d: a lock needs a target, for example user: NAME", target->line);
    if (result) {
        lock_free(lock);
        return result;
    }
    lock->name = mem_strdup(node_get_text(node_get(document, "metadata"), "name", ""));
    message = node_get_text(spec, "message", "");
    lock->message = *message ? mem_strdup(message) : NULL;
    lock->expires_ms = schema_time(spec, "expires");
    if (lock->expires_ms == 0)
        lock->expires_ms = schema_time(node_get(document, "metadata"), "expires");
    *ret_lock = lock;
    return TP_OK;
}

enum tp_err lock_parse_json(const json_t *value, struct lock **ret_lock, struct tp_error *error)
{
    struct node *document = NULL;
    enum tp_err result = node_from_json(value, "lock", &document, error);
    if (!result)
        result = lock_parse(document, ret_lock, error);
    node_free(document);
    return result;
}

void lock_free(struct lock *lock)
{
    if (!lock)
        return;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        char *text = (char *)(uintptr_t)field_get(&lock->target, i);
        field_set(&lock->target, i, NULL); /* node and server_id share one place */
        mem_free(text);
    }
    mem_free(lock->name);
    mem_free(lock->message);
    mem_free(lock);
}

bool lock_matches(const struct lock *lock, const struct lock_target *checked)
{
    bool any = false;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *want = field_get(checked, i);
        const char *have = field_get(&lock->target, i);
        if (!want)
            continue;
        any = true;
        if (!have || strcmp(want, have) != 0)
            return false;
    }
    return any;
}

bool lock_active(const struct lock *lock, int64_t now_ms)
{
    return lock->expires_ms == 0 || now_ms < lock->expires_ms;
}
