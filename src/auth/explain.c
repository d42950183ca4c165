/* Who can reach what, and why, for people who may read users and roles. What is shown of servers and clusters is the
 * asker's own reach, as in every list of his. */
#include "auth/agentless.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/resources.h"
#include "rbac/explain.h"
#include "rbac/kube.h"

#include <string.h>

#define REACH_DEFAULT 100
#define REACH_MAX 500
#define USERS_MAX 500

/* The stored resource, when the caller may read it; what he may not read looks like what is not there. */
static enum tp_err read_doc(const struct call *call, const char *kind_name, const char *name, json_t **ret_doc,
                            struct tp_error *error)
{
    const struct kind *kind = kind_find(kind_name, error);
    json_t *doc = NULL;
    struct tp_error none = {0};
    struct rbac_decision decision = {0};
    if (kind == NULL) {
        return error->code;
    }
    if (call->caller.set != NULL && rbac_rule_possible(call->caller.set, "read", kind_name, &decision) != TP_OK) {
        return err_set(error, TP_DENIED, "access denied to perform action \"read\" on \"%s\"", kind_name);
    }
    if (kind->prefix == NULL ||
        doc_find(kind_store(call->auth, kind), kind->prefix, name, &doc, NULL, &none) != TP_OK ||
        resource_rule(call, "read", kind, doc, &none) != TP_OK || !resource_reached(call, kind, doc)) {
        json_decref(doc);
        return err_set(error, TP_NOT_FOUND, "there is no %s \"%.200s\"", kind_name, name);
    }
    *ret_doc = doc;
    return TP_OK;
}

/* ---- what the caller sees ---- */

struct seen {
    const char *name;
    const char *id;
    bool online;
    const struct rbac_target *target;
};

typedef void seen_fn(void *ctx, const struct seen *seen);

struct walk {
    const struct call *call;
    seen_fn *fn;
    void *ctx;
    struct map *names; /* of clusters that were shown: several hosts may serve one */
};

static void walk_node(struct walk *walk, const struct host *host)
{
    struct rbac_target target;
    hosts_target(host, &target);
    if (hosts_is_node(host) && hosts_current(host) &&
        (walk->call->caller.set == NULL || rbac_can_list(walk->call->caller.set, &target))) {
        walk->fn(walk->ctx, &(struct seen){host->name, host->id, host->tunnels != NULL, &target});
    }
}

static void walk_cluster(void *ctx, struct host *host, const json_t *cluster)
{
    struct walk *walk = ctx;
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    kube_target(cluster, &target, &labels);
    if (hosts_current(host) && map_get(walk->names, kube_name(cluster)) == NULL &&
        (walk->call->caller.set == NULL || rbac_can_list(walk->call->caller.set, &target))) {
        map_set(walk->names, kube_name(cluster), walk);
        walk->fn(walk->ctx, &(struct seen){kube_name(cluster), kube_name(cluster), host->tunnels != NULL, &target});
    }
    mem_free(labels);
}

/* Nodes by name; clusters in no order. */
static void walk_all(const struct call *call, enum role_target target, seen_fn *fn, void *ctx)
{
    struct walk walk = {.call = call, .fn = fn, .ctx = ctx, .names = map_new()};
    if (target == ROLE_NODE) {
        hosts_sort(call->auth);
        for (size_t i = 0; i < call->auth->host_order_count; i++) {
            walk_node(&walk, call->auth->host_order[i].host);
        }
    } else if (target == ROLE_KUBE) {
        kube_each(call->auth, walk_cluster, &walk);
    }
    map_free(walk.names);
}

/* ---- access.explain ---- */

struct find {
    const char *name;
    json_t *doc;
    size_t hits;
};

/* Labels as the decision sees them, as a document. */
static void find_one(void *ctx, const struct seen *seen)
{
    struct find *find = ctx;
    if (strcmp(seen->id, find->name) != 0 && strcasecmp(seen->name, find->name) != 0) {
        return;
    }
    json_t *labels = json_object();
    for (size_t i = 0; i < seen->target->label_count; i++) {
        json_object_set_new(labels, seen->target->labels[i].name, json_string(seen->target->labels[i].value));
    }
    json_decref(find->doc);
    find->doc = json_pack("{s:{s:s, s:o}, s:{}}", "metadata", "name", seen->id, "labels", labels, "spec");
    find->hits++;
}

static enum tp_err find_resource(const struct call *call, const struct rbac_question *question, json_t **ret_doc,
                                 struct tp_error *error)
{
    struct find find = {.name = question->name};
    *ret_doc = NULL;
    if (question->name == NULL) {
        return TP_OK;
    }
    if (!question->access) {
        return read_doc(call, question->kind, question->name, ret_doc, error);
    }
    walk_all(call, question->target, find_one, &find);
    const struct agentless *server =
        find.hits == 0 && question->target == ROLE_NODE ? agentless_find(call, question->name) : NULL;
    if (server != NULL) {
        struct rbac_target target;
        agentless_target(server, &target);
        find_one(&find, &(struct seen){target.name, agentless_id(server), false, &target});
    }
    if (find.hits != 1) {
        json_decref(find.doc);
        return find.hits == 0 ? err_set(error, TP_NOT_FOUND, "there is no %s \"%.200s\" that you can see",
                                        question->kind, question->name)
                              : err_set(error, TP_AMBIGUOUS, "\"%.200s\" is the name of more than one; give the id",
                                        question->name);
    }
    *ret_doc = find.doc;
    return TP_OK;
}

/* Roles of the user that are there and in force. The roles belong to auth; mem_free the array. */
static struct role **roles_of(const struct auth *auth, const struct user *user, int64_t now_ms, size_t *ret_count)
{
    struct role **roles = mem_array(user->role_count + 1, sizeof *roles);
    *ret_count = 0;
    for (size_t i = 0; i < user->role_count; i++) {
        struct role *role = map_get(auth->roles, user->roles[i]);
        if (role != NULL && (role_expires_ms(role) == 0 || now_ms < role_expires_ms(role))) {
            roles[(*ret_count)++] = role;
        }
    }
    return roles;
}

void do_access_explain(struct call *call)
{
    struct tp_error error = {0};
    struct tp_error locked = {0};
    struct rbac_question question;
    const char *name = NULL;
    const char *verb = json_get_text(call->params, "verb", "access");
    const char *kind = json_get_text(call->params, "kind", "node");
    json_t *doc = NULL;
    json_t *resource = NULL;
    struct user *user = NULL;
    enum tp_err err = json_need_text(call->params, "user", &name, &error);
    if (err == TP_OK) {
        err = rbac_question_read(verb, kind, json_get_text(call->params, "name", NULL), &question, &error);
    }
    if (err == TP_OK) {
        err = rbac_question_as(&question, json_get_text(call->params, "login", NULL),
                               json_get_text(call->params, "group", NULL), &error);
    }
    if (err == TP_OK) {
        err = call_rule(call, "read", "role", NULL, &error);
    }
    if (err == TP_OK) {
        err = read_doc(call, "user", name, &doc, &error);
    }
    if (err == TP_OK) {
        err = user_parse_json(doc, &user, &error);
    }
    if (err == TP_OK) {
        err = find_resource(call, &question, &resource, &error);
    }
    if (err != TP_OK) {
        json_decref(doc);
        user_free(user);
        call_fail(call, &error);
        return;
    }
    size_t count = 0;
    struct role **roles = roles_of(call->auth, user, clock_wall_ms(), &count);
    const json_t *role_list = json_object_get(json_object_get(doc, "spec"), "roles");
    question.resource = resource;
    question.at_ms = clock_wall_ms();
    const char *host_id = question.access && question.target == ROLE_NODE && resource != NULL
                              ? json_get_text(json_object_get(resource, "metadata"), "name", NULL)
                              : NULL;
    bool hit = caller_locked(call->auth, user->name, role_list, host_id, &locked) != TP_OK ||
               caller_login_locked(call->auth, question.login, &locked) != TP_OK;
    json_t *answer = rbac_explain(&question, roles, count, user, hit ? "of an administrator" : NULL);
    mem_free(roles);
    user_free(user);
    json_decref(doc);
    json_decref(resource);
    if (answer == NULL) {
        call_fail_text(call, TP_INVALID, "the question is not UTF-8");
    } else {
        call_reply(call, answer);
    }
}

/* ---- access.reach ---- */

struct reach {
    const struct rbac_set *set; /* whose reach it is */
    const char *search;
    bool logins; /* a user's: what he may not be anybody on is out of his reach */
    json_t *items;
    size_t limit;
    size_t total;
};

static void reach_one(void *ctx, const struct seen *seen)
{
    struct reach *reach = ctx;
    json_t *first = json_array();
    json_t *groups = NULL;
    if (!rbac_can_list(reach->set, seen->target) ||
        (reach->search[0] != '\0' && strstr(seen->name, reach->search) == NULL)) {
        json_decref(first);
        return;
    }
    if (seen->target->kind == ROLE_NODE) {
        struct rbac_access access = {.mfa_verified = true, .device_verified = true};
        size_t count = 0;
        struct rbac_login *logins = rbac_logins(reach->set, seen->target, &access, &count);
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(first, json_string(logins[i].name));
        }
        mem_free(logins);
    } else {
        json_decref(first);
        rbac_kube_subjects(reach->set, seen->target, 0, &first, &groups);
    }
    bool open = !reach->logins || json_array_size(first) > 0 || json_array_size(groups) > 0;
    reach->total += open;
    /* Of clusters all, to be sorted: there are few. */
    if (open && (json_array_size(reach->items) < reach->limit || seen->target->kind == ROLE_KUBE)) {
        json_array_append_new(reach->items,
                              json_pack("{s:s, s:s, s:b, s:O, s:O*}", "name", seen->name, "id", seen->id, "online",
                                        seen->online, seen->target->kind == ROLE_NODE ? "logins" : "users", first,
                                        "groups", groups));
    }
    json_decref(first);
    json_decref(groups);
}

static int by_name(const json_t *left, const json_t *right)
{
    return strcmp(json_get_text(left, "name", ""), json_get_text(right, "name", ""));
}

static int64_t limit_of(const struct call *call)
{
    int64_t limit = json_get_int(call->params, "limit", REACH_DEFAULT);
    return limit < 1 ? REACH_DEFAULT : limit > REACH_MAX ? REACH_MAX : limit;
}

static json_t *reach_of(const struct call *call, const struct rbac_set *set, enum role_target target, bool logins)
{
    struct reach reach = {.set = set,
                          .search = json_get_text(call->params, "search", ""),
                          .logins = logins,
                          .items = json_array(),
                          .limit = (size_t)limit_of(call)};
    walk_all(call, target, reach_one, &reach);
    json_array_sort(reach.items, by_name);
    while (json_array_size(reach.items) > reach.limit) {
        (void)json_array_remove(reach.items, json_array_size(reach.items) - 1);
    }
    return json_pack("{s:o, s:I}", "items", reach.items, "total", (json_int_t)reach.total);
}

static void reach_of_user(struct call *call, const char *name, enum role_target target)
{
    struct tp_error error = {0};
    struct caller person;
    json_t *doc = NULL;
    if (read_doc(call, "user", name, &doc, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_decref(doc);
    caller_init(&person);
    json_t *result;
    if (caller_become_user(call->auth, name, NULL, NULL, &person, &error) != TP_OK) {
        result = json_pack("{s:[], s:i, s:s}", "items", "total", 0, "locked", error.text);
    } else {
        result = reach_of(call, person.set, target, true);
        json_object_set(result, "roles", person.roles);
    }
    caller_free(&person);
    call_reply(call, result);
}

struct holders {
    const struct call *call;
    const struct kind *kind;
    const char *role;
    json_t *names;
};

static bool add_holder(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct holders *holders = ctx;
    struct tp_error none = {0};
    (void)revision;
    if (json_list_has(json_object_get(json_object_get(doc, "spec"), "roles"), holders->role) &&
        resource_rule(holders->call, "read", holders->kind, doc, &none) == TP_OK) {
        json_array_append_new(holders->names, json_string(name));
    }
    return json_array_size(holders->names) < USERS_MAX;
}

/* What a role opens by itself, and who has it. Traits are its users': a login that comes out of one is shown with them. */
static void reach_of_role(struct call *call, const char *name, enum role_target target)
{
    struct tp_error error = {0};
    json_t *doc = NULL;
    struct role *role = map_get(call->auth->roles, name);
    struct holders holders = {.call = call, .kind = kind_find("user", &error), .role = name, .names = json_array()};
    enum tp_err err = read_doc(call, "role", name, &doc, &error);
    if (err == TP_OK && role == NULL) {
        err = err_set(&error, TP_NOT_FOUND, "there is no role \"%.200s\"", name);
    }
    json_decref(doc);
    if (err == TP_OK) {
        err = doc_each(call->auth->state, "/user/", NULL, add_holder, &holders, &error);
    }
    if (err != TP_OK) {
        json_decref(holders.names);
        call_fail(call, &error);
        return;
    }
    json_t *nothing = json_object();
    json_t *roles = json_pack("[s]", name);
    struct rbac_set *set = rbac_set_new(&role, 1, &(struct rbac_user){.name = "", .traits = nothing, .roles = roles},
                                        RBAC_WITHOUT_IMPLICIT_ROLE);
    json_t *result = reach_of(call, set, target, false);
    rbac_set_free(set);
    json_decref(nothing);
    json_decref(roles);
    json_object_set_new(result, "users", holders.names);
    call_reply(call, result);
}

void do_access_reach(struct call *call)
{
    struct tp_error error = {0};
    const char *user = json_get_text(call->params, "user", "");
    const char *role = json_get_text(call->params, "role", "");
    const char *kind = json_get_text(call->params, "kind", "node");
    bool kube = strcmp(kind, "kube_cluster") == 0;
    enum tp_err err = call_rule(call, "read", "role", NULL, &error);
    if (err == TP_OK && (user[0] != '\0') == (role[0] != '\0')) {
        err = err_set(&error, TP_INVALID, "say whose reach: one of user and role");
    }
    if (err == TP_OK && !kube && strcmp(kind, "node") != 0) {
        err = err_set(&error, TP_INVALID, "kind must be node or kube_cluster");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
    } else if (user[0] != '\0') {
        reach_of_user(call, user, kube ? ROLE_KUBE : ROLE_NODE);
    } else {
        reach_of_role(call, role, kube ? ROLE_KUBE : ROLE_NODE);
    }
}
