/* Writing resources: rights on what is there and on what comes, the checks of the kind, one commit. */
#include "auth/agentless.h"
#include "auth/delegate.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/locks.h"
#include "auth/put_group.h"
#include "auth/resources.h"
#include "auth/tokens.h"
#include "auth/users.h"
#include "rbac/resource.h"

#include <string.h>

/* What is kept in memory of a document comes back in role or lock. */
static enum tp_err validate(const struct call *call, const struct kind *kind, const json_t *doc, struct role **ret_role,
                            struct lock **ret_lock, struct tp_error *error)
{
    enum tp_err err = resource_check_json(doc, error);
    if (err == TP_OK && strcmp(kind->name, "role") == 0) {
        err = role_parse_json(doc, ROLE_WRITTEN, ret_role, error);
    } else if (err == TP_OK && strcmp(kind->name, "lock") == 0) {
        err = locks_read(call, doc, ret_lock, error);
    } else if (err == TP_OK && strcmp(kind->name, "user") == 0) {
        json_t *roles = json_object_get(json_object_get(doc, "spec"), "roles");
        if (strlen(resource_name(doc)) > 200) {
            err = err_set(error, TP_INVALID, "a user name has 1 to 200 letters, digits or . _ - @ +");
        } else if (json_array_size(roles) > 0) {
            err = users_check_roles(call->auth, roles, error);
        }
    } else if (err == TP_OK && strcmp(kind->name, "node") == 0) {
        err = agentless_check(call, doc, error);
    }
    if (err == TP_OK && strlen(resource_name(doc)) > 255) {
        err = err_set(error, TP_INVALID, "a name has at most 255 bytes");
    }
    return err;
}

/* Who writes back what he read without secrets loses none: a secret that is left out stays, unless the place where it is
 * sent has changed (else whoever may update, but not read, could have it sent to himself). */
static enum tp_err keep_secrets(const struct kind *kind, const json_t *old, json_t *doc, struct tp_error *error)
{
    json_t *spec = json_object_get(doc, "spec");
    const json_t *before = json_object_get(old, "spec");
    bool moved = false;
    for (size_t i = 0; kind->places != NULL && kind->places[i] != NULL; i++) {
        moved |= strcmp(json_get_text(spec, kind->places[i], ""), json_get_text(before, kind->places[i], "")) != 0;
    }
    for (size_t i = 0; old != NULL && kind->secrets != NULL && kind->secrets[i] != NULL; i++) {
        json_t *secret = json_object_get(before, kind->secrets[i]);
        if (secret == NULL || json_object_get(spec, kind->secrets[i]) != NULL) {
            continue;
        }
        if (moved) {
            return err_set(error, TP_INVALID, "spec.%s must be given again, because the address it is sent to changes",
                           kind->secrets[i]);
        }
        json_object_set_new(spec, kind->secrets[i], json_deep_copy(secret));
    }
    return TP_OK;
}

/* Which revision the write expects: the one given, absent without force, any with force. */
static enum tp_err expected_of(const struct call *call, const json_t *doc, bool exists, uint64_t current,
                               uint64_t *ret_expected, struct tp_error *error)
{
    const char *revision = json_get_text(call->params, "revision", NULL);
    if (revision == NULL || revision[0] == '\0') {
        revision = NULL;
    }
    if (revision != NULL) {
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)current);
        /* Defaults that nobody has written have the revision 0. */
        if (strcmp(text, revision) != 0) {
            return err_set(error, TP_CONFLICT, "%s was changed by someone else in the meantime; get it again",
                           resource_name(doc));
        }
        *ret_expected = exists ? current : STORE_ABSENT;
    } else if (exists && !json_get_bool(call->params, "force", false)) {
        return err_set(error, TP_EXISTS, "%s \"%s\" exists already; use -f to replace it",
                       json_get_text(doc, "kind", ""), resource_name(doc));
    } else {
        *ret_expected = exists ? current : STORE_ABSENT;
    }
    return TP_OK;
}

static void put_token(struct call *call, const struct kind *kind, json_t *doc)
{
    struct tp_error error = {0};
    bool created = false;
    bool force = json_get_bool(call->params, "force", false);
    enum tp_err err = tokens_put(call->auth, doc, force ? STORE_ANY : STORE_ABSENT, &created, &error);
    if (err == TP_EXISTS) {
        err = err_set(&error, TP_EXISTS, "this token exists already; use -f to replace it");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    char *mask = tokens_mask(resource_name(doc));
    json_t *event = resource_event(call, kind->created, NULL, mask);
    call_reply_audited(call, event, json_pack("{s:b, s:s, s:s}", "created", created, "kind", kind->name, "name", mask));
    mem_free(mask);
}

/* The right on what is there and on what is to stand there; for new ones the right to create. */
static enum tp_err put_check(struct call *call, const struct kind *kind, json_t *doc, bool *ret_exists,
                             uint64_t *ret_revision, struct tp_error *error)
{
    const char *name = kind->single ? kind->name : resource_name(doc);
    json_t *old = NULL;
    struct tp_error none = {0};
    enum tp_err err = doc_find(kind_store(call->auth, kind), kind->prefix, name, &old, ret_revision, &none);
    *ret_exists = err == TP_OK;
    if (err != TP_OK && err != TP_NOT_FOUND) {
        return err_set(error, err, "%s", none.text);
    }
    const char *verb = *ret_exists || kind->single ? "update" : "create";
    err = old != NULL ? resource_rule(call, verb, kind, old, error) : TP_OK;
    if (err == TP_OK) {
        err = resource_rule(call, verb, kind, doc, error);
    }
    if (err == TP_OK && ((old != NULL && !resource_reached(call, kind, old)) || !resource_reached(call, kind, doc))) {
        err = err_set(error, TP_DENIED, "access denied to %s \"%s\": its labels are not among those of your roles",
                      kind->name, name);
    }
    if (err == TP_OK && strcmp(kind->name, "user") == 0) {
        err = delegate_user(call, old, doc, error);
    } else if (err == TP_OK && (kind->family != NULL || strcmp(kind->name, "trusted_cluster") == 0)) {
        err = delegate_mapping(call, old, doc, error);
    }
    if (err == TP_OK) {
        err = keep_secrets(kind, old, doc, error);
    }
    json_decref(old);
    return err;
}

static enum tp_err may_write(const struct call *call, const struct kind *kind, struct tp_error *error)
{
    static const char *const verbs[] = {"create", "update"};
    struct rbac_decision decision;
    for (size_t i = 0; i < 2; i++) {
        if (call->caller.set == NULL ||
            rbac_rule_possible(call->caller.set, verbs[i], kind->name, &decision) == TP_OK ||
            (kind->family != NULL &&
             rbac_rule_possible(call->caller.set, verbs[i], kind->family, &decision) == TP_OK)) {
            return TP_OK;
        }
    }
    return err_set(error, TP_DENIED, "access denied to perform action \"create\" on \"%s\"", kind->name);
}

/* A name for what may come without one. */
static void make_name(const struct kind *kind, json_t *doc)
{
    bool by_id = strcmp(kind->name, "lock") == 0 || strcmp(kind->name, "node") == 0;
    json_t *metadata = json_object_get(doc, "metadata");
    if ((!kind->single && !by_id) || resource_name(doc)[0] != '\0') {
        return;
    }
    if (!json_is_object(metadata)) {
        metadata = json_object();
        json_object_set_new(doc, "metadata", metadata);
    }
    if (by_id) {
        char id[UUID_TEXT_SIZE];
        crypt_uuid(id);
        json_object_set_new(metadata, "name", json_string(id));
    } else {
        char *written = resource_single_name(kind);
        json_object_set_new(metadata, "name", json_string(written));
        mem_free(written);
    }
}

static void put_document(struct call *call, const struct kind *kind, json_t *doc)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    bool exists = false;
    uint64_t revision = 0;
    uint64_t expected = 0;
    struct role *role = NULL;
    struct lock *lock = NULL;
    make_name(kind, doc);
    const char *name = kind->single ? kind->name : resource_name(doc);
    bool grouped = strcmp(kind->name, "role") == 0;
    if (!grouped || put_group_has(auth->puts, kind->prefix, name)) {
        put_group_flush(auth);
    }
    /* Whoever may not write this kind learns nothing about what is in it. */
    enum tp_err err = may_write(call, kind, &error);
    if (err == TP_OK) {
        err = validate(call, kind, doc, &role, &lock, &error);
    }
    if (err == TP_OK) {
        err = put_check(call, kind, doc, &exists, &revision, &error);
    }
    if (err == TP_OK) {
        err = expected_of(call, doc, exists, revision, &expected, &error);
    }
    json_object_del(json_object_get(doc, "metadata"), "revision");
    if (err == TP_OK && !exists && strcmp(kind->name, "user") == 0) {
        err = users_mark_since(auth, name, &error);
    }
    if (err == TP_OK && grouped) {
        put_group_add(call, kind, doc, expected, role);
        return;
    }
    if (err == TP_OK) {
        err = doc_put(kind_store(auth, kind), kind->prefix, name, doc, expected, NULL, &error);
    }
    if (err != TP_OK) {
        role_unref(role);
        lock_free(lock);
        call_fail(call, &error);
        return;
    }
    json_t *event = resource_event(call, exists ? kind->updated : kind->created, doc, name);
    json_t *result = json_pack("{s:b, s:s, s:s}", "created", !exists, "kind", kind->name, "name", resource_name(doc));
    char *odd = lock != NULL ? locks_warning(auth, lock) : NULL;
    if (odd != NULL) {
        json_object_set_new(result, "warnings", json_string(odd));
        mem_free(odd);
    }
    if (kind->target == ROLE_NODE) {
        agentless_changed(auth, name, doc);
    }
    resource_changed(auth, kind, name, role, lock);
    call_reply_audited(call, event, result);
}

void do_resources_put(struct call *call)
{
    struct tp_error error = {0};
    json_t *resource = NULL;
    const char *kind_name = NULL;
    enum tp_err err = json_need_object(call->params, "resource", &resource, &error);
    if (err == TP_OK) {
        err = json_need_text(resource, "kind", &kind_name, &error);
    }
    const struct kind *kind = err == TP_OK ? kind_find(kind_name, &error) : NULL;
    if (kind == NULL) {
        call_fail(call, &error);
        return;
    }
    if (kind->created == NULL) {
        call_fail_text(call, TP_INVALID, "resources of kind \"%s\" can't be written", kind->name);
        return;
    }
    json_t *doc = json_deep_copy(resource);
    if (strcmp(kind->name, "token") == 0) {
        /* With force it may turn out either way, so both rights are needed; the answer tells nothing about what exists. */
        if (call_rule(call, "create", "token", NULL, &error) != TP_OK ||
            (json_get_bool(call->params, "force", false) &&
             call_rule(call, "update", "token", NULL, &error) != TP_OK)) {
            call_fail(call, &error);
        } else {
            put_token(call, kind, doc);
        }
    } else {
        put_document(call, kind, doc);
    }
    json_decref(doc);
}
