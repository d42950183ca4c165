/* Decisions that a case may ask for: rules, resources, Kubernetes objects, locks, impersonation, requests, joining. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/tportctl/access_case.h"
#include "rbac/join.h"
#include "rbac/kube.h"
#include "rbac/lock.h"
#include "rbac/request.h"

#include <stdio.h>
#include <string.h>

/* ---- rules ---- */

/* The resource as `where` sees it: a whole document stays as it is, the short form of a case becomes one. */
static json_t *rule_resource(const json_t *resource)
{
    json_t *document = json_object_get(resource, "metadata") ? json_copy((json_t *)(uintptr_t)resource) : json_object();
    json_t *metadata, *spec;
    const char *key;
    json_t *value;
    if (json_object_get(resource, "metadata"))
        return document;
    metadata = json_object();
    spec = json_object();
    json_object_set_new(document, "metadata", metadata);
    json_object_set_new(document, "spec", spec);
    json_object_foreach ((json_t *)(uintptr_t)resource, key, value) {
        if (strcmp(key, "name") == 0 || strcmp(key, "namespace") == 0 || strcmp(key, "labels") == 0)
            json_object_set(metadata, key, value);
        else if (strcmp(key, "hostname") == 0 || strcmp(key, "addr") == 0 || strcmp(key, "protocol") == 0)
            json_object_set(spec, key, value);
        else
            json_object_set(document, key, value);
    }
    return document;
}

static enum tp_err decide_rule(const struct access_case *one, struct rbac_decision *decision)
{
    const json_t *resource = json_object_get(one->json, "resource");
    const json_t *more = json_object_get(one->json, "context");
    const char *verb = json_get_text(one->json, "verb", "");
    const char *kind = json_get_text(resource, "kind", "");
    json_t *document = rule_resource(resource);
    struct rbac_context context = {.resource =
                                       json_object_get(more, "resource") ? json_object_get(more, "resource") : document,
                                   .session = json_object_get(more, "session"),
                                   .more = more,
                                   .can_view = json_get_bool(more, "can_view", false),
                                   .name_space = one->target.name_space};
    enum tp_err answer = json_get_bool(one->json, "guess", false) ? rbac_rule_possible(one->set, verb, kind, decision)
                                                                  : rbac_rule(one->set, verb, kind, &context, decision);
    json_decref(document);
    return answer;
}

/* ---- locks ---- */

static struct lock_target target_of(const json_t *map)
{
    const char *server = json_get_text(map, "server_id", json_get_text(map, "node", NULL));
    return (struct lock_target){.user = json_get_text(map, "user", NULL),
                                .role = json_get_text(map, "role", NULL),
                                .login = json_get_text(map, "login", NULL),
                                .server_id = server,
                                .mfa_device = json_get_text(map, "mfa_device", NULL),
                                .windows_desktop = json_get_text(map, "windows_desktop", NULL),
                                .access_request = json_get_text(map, "access_request", NULL),
                                .device = json_get_text(map, "device", NULL),
                                .bot_instance_id = json_get_text(map, "bot_instance_id", NULL),
                                .join_token = json_get_text(map, "join_token", NULL)};
}

/* Has the lock ended? expires_in counts from now, expires is a time. */
static bool in_force(const json_t *lock, const json_t *spec)
{
    const char *in = json_get_text(lock, "expires_in", json_get_text(spec, "expires_in", NULL));
    const char *at = json_get_text(lock, "expires", json_get_text(spec, "expires", NULL));
    int64_t ms = 1;
    if (in)
        return *in != '-' && clock_parse_duration_ms(in, &ms) == TP_OK && ms > 0;
    return !at || clock_parse_ms(at, &ms) != TP_OK || ms > clock_wall_ms();
}

static bool lock_hits(const json_t *lock, const struct lock_target *checked)
{
    const json_t *spec = json_object_get(lock, "spec");
    const json_t *target = json_object_get(lock, "target");
    struct lock entry = {0};
    if (!target)
        target = spec ? json_object_get(spec, "target") : lock;
    entry.target = target_of(target);
    return in_force(lock, spec) && lock_matches(&entry, checked);
}

static bool any_lock_hits(const json_t *locks, const json_t *target)
{
    struct lock_target checked = target_of(target);
    for (size_t i = 0; i < json_array_size(locks); i++)
        if (lock_hits(json_array_get(locks, i), &checked))
            return true;
    return false;
}

/* Without lock_target the caller himself is checked, thing by thing. */
static bool caller_locked(const struct access_case *one, const json_t *locks)
{
    const json_t *roles = one->user.roles;
    struct lock_target checks[3] = {{.user = one->user.name},
                                    {.login = one->access.login},
                                    {.server_id = one->has_target ? one->target.name : NULL}};
    for (size_t i = 0; i < json_array_size(locks); i++) {
        const json_t *lock = json_array_get(locks, i);
        for (size_t j = 0; j < 3; j++)
            if (lock_hits(lock, &checks[j]))
                return true;
        for (size_t j = 0; j < one->role_count + json_array_size(roles); j++) {
            const char *name = j < one->role_count ? role_name(one->roles[j])
                                                   : json_string_value(json_array_get(roles, j - one->role_count));
            struct lock_target check = {.role = name};
            if (name && lock_hits(lock, &check))
                return true;
        }
    }
    return false;
}

static enum tp_err decide_lock(const struct access_case *one, struct rbac_decision *decision)
{
    const json_t *locks = json_object_get(one->json, "locks");
    const json_t *target = json_object_get(one->json, "lock_target");
    const char *mode = json_get_text(one->json, "locking_mode", NULL);
    struct rbac_options options;
    bool strict, locked;
    rbac_merge_options(one->set, &one->cluster, &options);
    strict = mode ? strcmp(mode, "strict") == 0 : options.locking_mode == ROLE_LOCK_STRICT;
    locked = target ? any_lock_hits(locks, target) : caller_locked(one, locks);
    for (size_t i = 0; json_is_array(target) && i < json_array_size(target); i++)
        locked |= any_lock_hits(locks, json_array_get(target, i));
    if (!locked && json_get_bool(one->json, "locks_stale", false) && strict) {
        snprintf(decision->detail, sizeof decision->detail, "the view of locks is too old and the mode is strict");
        return TP_DENIED;
    }
    snprintf(decision->detail, sizeof decision->detail, "%s", locked ? "a lock is in force" : "no lock");
    decision->reason = locked ? RBAC_NO_GRANT : RBAC_GRANTED;
    return locked ? TP_DENIED : TP_OK;
}

/* ---- impersonation ---- */

static enum tp_err decide_impersonation(struct access_case *one, const json_t *wanted, struct rbac_decision *decision)
{
    const json_t *user = json_object_get(wanted, "user");
    const json_t *list = json_object_get(wanted, "roles");
    struct role **roles = mem_array(json_array_size(list) + 1, sizeof *roles);
    struct rbac_impersonation ask = {.roles = roles};
    struct tp_error error = {0};
    json_t *object = NULL;
    enum tp_err answer = TP_OK;
    for (size_t i = 0; i < json_array_size(list) && !answer; i++) {
        json_t *item = json_array_get(list, i);
        json_t *document = json_is_string(item) ? json_pack("{s:s, s:s, s:{s:O}, s:{}}", "kind", "role", "version",
                                                            "v5", "metadata", "name", item, "spec")
                                                : json_incref(item);
        answer = role_parse_json(document, ROLE_STORED, &roles[i], &error);
        ask.role_count += !answer;
        json_decref(document);
    }
    if (json_is_string(user)) {
        ask.user = json_string_value(user);
        object = json_pack("{s:{s:s}, s:{}}", "metadata", "name", ask.user, "spec");
    } else if (json_is_object(user)) {
        ask.user = json_get_text(user, "name", json_get_text(json_object_get(user, "metadata"), "name", ""));
        object = json_object_get(user, "metadata")
                     ? json_incref((json_t *)(uintptr_t)user)
                     : json_pack("{s:{s:s, s:O*}, s:{s:O*, s:O*}}", "metadata", "name", ask.user, "labels",
                                 json_object_get(user, "labels"), "spec", "roles", json_object_get(user, "roles"),
                                 "traits", json_object_get(user, "traits"));
    }
    ask.user_object = object;
    if (answer)
        snprintf(decision->detail, sizeof decision->detail, "%.200s", error.text);
    else
        answer = rbac_impersonate(one->set, &ask, decision);
    for (size_t i = 0; i < ask.role_count; i++)
        role_unref(roles[i]);
    mem_free(roles);
    json_decref(object);
    return answer;
}

/* ---- requests and reviews ---- */

static struct rbac_request request_of(const json_t *asked)
{
    return (struct rbac_request){.user = json_get_text(asked, "user", ""),
                                 .roles = json_object_get(asked, "roles"),
                                 .reason = json_get_text(asked, "reason", NULL),
                                 .annotations = json_object_get(asked, "annotations")};
}

/* Every role of the request must be one that may be asked for. */
static enum tp_err decide_request(const struct access_case *one, const json_t *asked, struct rbac_decision *decision)
{
    const json_t *names = json_object_get(asked, "roles");
    enum tp_err answer = json_array_size(names) ? TP_OK : TP_DENIED;
    if (rbac_request_needs_reason(one->set, names) && !*json_get_text(asked, "reason", "")) {
        snprintf(decision->detail, sizeof decision->detail, "a reason is needed");
        return TP_DENIED;
    }
    for (size_t i = 0; i < json_array_size(names) && !answer; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        answer = rbac_request_role(one->set, name ? name : "", decision);
    }
    return answer;
}

json_t *access_request_state(const struct access_case *one)
{
    static const char *const states[] = {"pending", "approved", "denied"};
    const struct rbac_request request = request_of(json_object_get(one->json, "request"));
    const json_t *list = json_object_get(one->json, "reviews");
    struct rbac_review *reviews = mem_array(json_array_size(list) + 1, sizeof *reviews);
    json_t *state;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const json_t *by = json_object_get(item, "user");
        reviews[i] = (struct rbac_review){.by = {.name = json_get_text(by, "name", json_get_text(item, "user", "")),
                                                 .traits = json_object_get(by, "traits"),
                                                 .roles = json_object_get(by, "roles")},
                                          .approves = strcmp(json_get_text(item, "state", ""), "approved") == 0,
                                          .reason = json_get_text(item, "reason", NULL)};
    }
    state = json_string(states[rbac_request_judge(one->set, &request, reviews, json_array_size(list))]);
    mem_free(reviews);
    return state;
}

/* ---- sessions of several people ---- */

/* Somebody's set out of {"name", "traits", "roles": [documents]}. */
static struct rbac_set *set_of(const json_t *person)
{
    const json_t *list = json_object_get(person, "roles");
    const struct rbac_user user = {.name = json_get_text(person, "name", ""),
                                   .traits = json_object_get(person, "traits")};
    struct role **roles = mem_array(json_array_size(list) + 1, sizeof *roles);
    struct rbac_set *set;
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (role_parse_json(json_array_get(list, i), ROLE_STORED, &roles[count], NULL) == TP_OK)
            count++;
    set = rbac_set_new(roles, count, &user, 0);
    for (size_t i = 0; i < count; i++)
        role_unref(roles[i]);
    mem_free(roles);
    return set;
}

unsigned access_join_modes(const struct access_case *one)
{
    const json_t *asked = json_object_get(one->json, "join");
    const json_t *owner = json_object_get(asked, "owner");
    struct rbac_set *set = set_of(owner);
    const struct rbac_session session = {set, json_get_text(owner, "name", ""), json_get_text(asked, "kind", "ssh")};
    unsigned modes = rbac_join_modes(one->set, one->user.name ? one->user.name : "", &session);
    rbac_set_free(set);
    return modes;
}

static enum tp_err decide_join(const struct access_case *one, const json_t *asked, struct rbac_decision *decision)
{
    unsigned wanted = rbac_join_mode(json_get_text(asked, "mode", "observer"));
    unsigned modes = access_join_modes(one);
    decision->reason = wanted & modes ? RBAC_GRANTED : RBAC_NO_GRANT;
    return wanted & modes ? TP_OK : TP_DENIED;
}

json_t *access_session_state(const struct access_case *one)
{
    const json_t *asked = json_object_get(one->json, "session");
    const json_t *list = json_object_get(asked, "participants");
    struct rbac_participant *people = mem_array(json_array_size(list) + 1, sizeof *people);
    struct rbac_set **sets = mem_array(json_array_size(list) + 1, sizeof(struct rbac_set *));
    const struct rbac_session session = {one->set, one->user.name ? one->user.name : "",
                                         json_get_text(asked, "kind", "ssh")};
    bool pause = false, runs;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *person = json_array_get(list, i);
        sets[i] = set_of(person);
        people[i] = (struct rbac_participant){sets[i], json_get_text(person, "name", ""),
                                              rbac_join_mode(json_get_text(person, "mode", "observer"))};
    }
    runs = rbac_session_may_run(&session, people, json_array_size(list), &pause, NULL, 0);
    for (size_t i = 0; i < json_array_size(list); i++)
        rbac_set_free(sets[i]);
    mem_free(sets);
    mem_free(people);
    return json_pack("{s:b, s:s}", "runs", (int)runs, "on_leave", pause ? "pause" : "terminate");
}

/* ---- resources ---- */

static enum tp_err decide_kube(const struct access_case *one, const json_t *asked, struct rbac_decision *decision)
{
    const char *name = json_get_text(asked, "name", "");
    const struct rbac_kube_request request = {.kind = json_get_text(asked, "kind", ""),
                                              .api_group = json_get_text(asked, "api_group", NULL),
                                              .name_space = json_get_text(asked, "namespace", ""),
                                              .name = name,
                                              .verb = json_get_text(asked, "verb", "get"),
                                              .collection = json_get_bool(asked, "collection", false) || !*name};
    return rbac_kube_access(one->set, &one->target, &one->access, &request, decision);
}

enum tp_err access_decide(struct access_case *one, struct rbac_decision *ret_decision)
{
    const json_t *kube = json_object_get(one->json, "kube_resource");
    const json_t *impersonate = json_object_get(one->json, "impersonate");
    if (json_object_get(one->json, "locks") || json_object_get(one->json, "lock_target") ||
        json_object_get(one->json, "locks_stale"))
        return decide_lock(one, ret_decision);
    if (impersonate)
        return decide_impersonation(one, impersonate, ret_decision);
    if (json_object_get(one->json, "request"))
        return decide_request(one, json_object_get(one->json, "request"), ret_decision);
    if (json_object_get(one->json, "review")) {
        const struct rbac_request request = request_of(json_object_get(one->json, "review"));
        return rbac_review(one->set, &request, ret_decision);
    }
    if (json_object_get(one->json, "join"))
        return decide_join(one, json_object_get(one->json, "join"), ret_decision);
    if (json_object_get(one->json, "verb"))
        return decide_rule(one, ret_decision);
    if (!one->has_target) {
        snprintf(one->unsupported, sizeof one->unsupported, "access to a resource of kind \"%.60s\" is not supported",
                 json_get_text(json_object_get(one->json, "resource"), "kind", ""));
        return TP_DENIED;
    }
    if (kube)
        return decide_kube(one, kube, ret_decision);
    if (one->target.kind == ROLE_CLUSTER)
        return rbac_remote_cluster_access(one->set, &one->target, &one->access, ret_decision);
    return rbac_access(one->set, &one->target, &one->access, ret_decision);
}
