#include "kube/kube_path.h"

#include "base/buf.h"
#include "base/mem.h"
#include "kube/kube_query.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PARTS_MAX 10 /* of a path; what is behind belongs to the last one */
#define PATH_MAX_BYTES 8192

struct parts {
    size_t count;
    char *items[PARTS_MAX];
};

static void split(const char *path, struct parts *parts)
{
    parts->count = 0;
    for (const char *at = path + 1; *at;) {
        size_t size = parts->count == PARTS_MAX - 1 ? strlen(at) : strcspn(at, "/");
        parts->items[parts->count++] = mem_strndup(at, size);
        at += size;
        at += *at == '/';
    }
}

static void parts_free(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        mem_free(parts->items[i]);
}

static bool is(const struct parts *parts, size_t number, const char *text)
{
    return number < parts->count && strcmp(parts->items[number], text) == 0;
}

static void set(char **text, const char *value)
{
    mem_free(*text);
    *text = mem_strdup(value);
}

/* ---- verbs ---- */

static const char *verb_of_method(const char *method)
{
    static const struct {
        const char *method;
        const char *verb;
    } table[] = {{"GET", "get"},    {"HEAD", "get"},    {"OPTIONS", "get"},  {"POST", "create"},
                 {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].method, method) == 0)
            return table[i].verb;
    return NULL;
}

/* GET and POST of exec are one right: kubectl asks with both, for WebSocket and for SPDY. */
static const char *session_verb(const struct kube_request *request)
{
    if (strcmp(request->resource, "pods") != 0 || *request->api_group)
        return NULL;
    if (strcmp(request->subresource, "exec") == 0 || strcmp(request->subresource, "attach") == 0)
        return "exec";
    return strcmp(request->subresource, "portforward") == 0 ? "portforward" : NULL;
}

static void find_verb(struct kube_request *request, const struct kube_query *query, bool watch_path)
{
    const char *session = session_verb(request);
    bool named = *request->name != '\0';
    if (session) {
        request->verb = session;
        return;
    }
    /* ?watch on the path of one object is a plain get for the API server. */
    if (watch_path || (!named && strcmp(request->verb, "get") == 0 && kube_query_flag(query, "watch"))) {
        request->is_watch = true;
        request->verb = "watch";
        request->collection = !named;
        return;
    }
    if (!named && strcmp(request->verb, "get") == 0)
        request->verb = "list";
    if (!named && strcmp(request->verb, "delete") == 0)
        request->verb = "deletecollection";
    request->collection =
        !named && (strcmp(request->verb, "list") == 0 || strcmp(request->verb, "deletecollection") == 0);
}

/* ---- paths ---- */

/* The API server takes "NAME", "NAME:PORT" and "SCHEME:NAME:PORT" for the object NAME, and so must the rules: a service that is
 * denied is denied on each of its ports. */
static void strip_port(struct kube_request *request)
{
    static const char *const proxied[] = {"services", "pods", "nodes"};
    bool known = false;
    for (size_t i = 0; i < sizeof proxied / sizeof *proxied; i++)
        known |= strcmp(request->resource, proxied[i]) == 0;
    const char *first = strchr(request->name, ':');
    if (!known || !first)
        return;
    const char *second = strchr(first + 1, ':');
    const char *start = second ? first + 1 : request->name;
    mem_free(request->object);
    request->object = mem_strndup(start, second ? (size_t)(second - start) : (size_t)(first - start));
    request->node_port = strcmp(request->resource, "nodes") == 0;
}

/* The object that a proxy subresource leads to, and what of a kubelet is asked for: what is behind number parts of the path. */
static void read_proxied(struct kube_request *request, size_t number)
{
    const char *rest = request->path;
    strip_port(request);
    if (strcmp(request->resource, "nodes") != 0)
        return;
    for (size_t i = 0; rest && i <= number; i++)
        rest = strchr(rest + (i > 0), '/');
    set(&request->proxied, rest ? rest + 1 : "");
}

/* What lies behind group and version, from number on. */
static enum tp_err read_resource(struct kube_request *request, struct parts *parts, size_t number, bool *ret_watch,
                                 struct tp_error *error)
{
    if (is(parts, number, "proxy"))
        return err_set(error, TP_INVALID, "paths under .../proxy/ are not served; use the proxy subresource");
    *ret_watch = is(parts, number, "watch");
    number += *ret_watch;
    if (is(parts, number, "namespaces") && number + 2 < parts->count && !is(parts, number + 2, "status") &&
        !is(parts, number + 2, "finalize")) {
        set(&request->ns, parts->items[number + 1]);
        number += 2;
    }
    if (number >= parts->count) {
        /* /api/v1/watch alone: nothing that is served. */
        return *ret_watch ? err_set(error, TP_INVALID, "the path names nothing to watch") : TP_OK;
    }
    set(&request->resource, parts->items[number]);
    if (number + 1 < parts->count)
        set(&request->name, parts->items[number + 1]);
    if (number + 2 < parts->count)
        set(&request->subresource, parts->items[number + 2]);
    if (kube_request_is_proxied(request) && *request->api_group == '\0')
        read_proxied(request, number + 3);
    return TP_OK;
}

static bool is_health(const struct parts *parts)
{
    static const char *const names[] = {"version", "healthz", "livez", "readyz", "openapi", "api", "apis"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(parts, 0, names[i]))
            return true;
    return parts->count == 0;
}

static enum tp_err read_path(struct kube_request *request, struct parts *parts, bool *ret_watch, struct tp_error *error)
{
    size_t number = is(parts, 0, "api") ? 2 : is(parts, 0, "apis") ? 3 : 0;
    *ret_watch = false;
    if (number == 0 || parts->count <= number) {
        request->audited = !is_health(parts);
        return TP_OK;
    }
    if (number == 3)
        set(&request->api_group, parts->items[1]);
    set(&request->version, parts->items[number - 1]);
    request->audited = true;
    return read_resource(request, parts, number, ret_watch, error);
}

static void read_query(struct kube_request *request, const struct kube_query *query)
{
    struct buf command;
    const char *value;
    request->container = mem_strdup("");
    if (!kube_request_is_session(request) && strcmp(request->subresource, "log") != 0)
        return;
    value = kube_query_get(query, "container", 0);
    if (value)
        set(&request->container, value);
    request->tty = kube_query_flag(query, "tty");
    buf_init(&command, 0);
    for (size_t i = 0; (value = kube_query_get(query, "command", i)); i++)
        (void)buf_printf(&command, "%s%s", i ? " " : "", value);
    if (buf_size(&command) > 0)
        request->command = buf_take(&command);
    buf_free(&command);
    while (kube_query_get(query, "ports", request->port_count))
        request->port_count++;
    request->ports = mem_array(request->port_count + 1, sizeof *request->ports);
    for (size_t i = 0; i < request->port_count; i++)
        request->ports[i] = mem_strdup(kube_query_get(query, "ports", i));
}

/* The proxied server behind a path reads it in its own way; the API server itself never needs these. */
static enum tp_err check_form(const char *path, const char *query, struct tp_error *error)
{
    size_t size = strlen(path);
    if (*path != '/' || size > PATH_MAX_BYTES)
        return err_set(error, TP_INVALID, "the path of the request is too long or does not start with a slash");
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)path[i] < 0x21 || path[i] == 0x7f || strchr("\\;?#", path[i]))
            return err_set(error, TP_INVALID, "the path of the request holds a character that is not served");
    if (strstr(path, "//") || strstr(path, "/../") || strstr(path, "/./"))
        return err_set(error, TP_INVALID, "the path of the request is not in its shortest form");
    if (query && strchr(query, ';'))
        return err_set(error, TP_INVALID, "the query of the request holds a semicolon; write it as %%3B");
    return TP_OK;
}

enum tp_err kube_request_parse(const char *method, const char *path, const char *query,
                               struct kube_request **ret_request, struct tp_error *error)
{
    struct kube_request *request;
    struct kube_query parsed = {0};
    struct parts parts = {0};
    bool watch = false;
    enum tp_err err = check_form(path, query, error);
    if (!err && !verb_of_method(method))
        err = err_set(error, TP_INVALID, "the method %.20s is not served here", method);
    if (!err)
        err = kube_query_parse(query, &parsed, error);
    if (err)
        return err;
    request = mem_alloc(sizeof *request);
    request->method = method;
    request->path = mem_strdup(path);
    request->verb = verb_of_method(method);
    set(&request->api_group, "");
    set(&request->version, "");
    set(&request->ns, "");
    set(&request->resource, "");
    set(&request->subresource, "");
    set(&request->name, "");
    split(path, &parts);
    err = read_path(request, &parts, &watch, error);
    parts_free(&parts);
    if (!err) {
        if (*request->resource)
            find_verb(request, &parsed, watch);
        request->kind = *request->subresource ? mem_printf("%s/%s", request->resource, request->subresource)
                                              : mem_strdup(request->resource);
        read_query(request, &parsed);
    }
    kube_query_free(&parsed);
    if (err) {
        kube_request_free(request);
        return err;
    }
    *ret_request = request;
    return TP_OK;
}

void kube_request_free(struct kube_request *request)
{
    if (!request)
        return;
    for (size_t i = 0; i < request->port_count; i++)
        mem_free(request->ports[i]);
    mem_free(request->ports);
    mem_free(request->path);
    mem_free(request->api_group);
    mem_free(request->version);
    mem_free(request->ns);
    mem_free(request->resource);
    mem_free(request->subresource);
    mem_free(request->kind);
    mem_free(request->name);
    mem_free(request->object);
    mem_free(request->proxied);
    mem_free(request->container);
    mem_free(request->command);
    mem_free(request);
}

bool kube_request_is_proxied(const struct kube_request *request)
{
    return strcmp(request->subresource, "proxy") == 0;
}

bool kube_request_is_session(const struct kube_request *request)
{
    return session_verb(request) != NULL;
}

bool kube_request_is_access_review(const struct kube_request *request)
{
    return strcmp(request->api_group, "authorization.k8s.io") == 0 &&
           strcmp(request->resource, "selfsubjectaccessreviews") == 0;
}

bool kube_request_is_rules_review(const struct kube_request *request)
{
    return strcmp(request->api_group, "authorization.k8s.io") == 0 &&
           strcmp(request->resource, "selfsubjectrulesreviews") == 0;
}

bool kube_request_is_about_oneself(const struct kube_request *request)
{
    return kube_request_is_access_review(request) || kube_request_is_rules_review(request) ||
           (strcmp(request->api_group, "authentication.k8s.io") == 0 &&
            strcmp(request->resource, "selfsubjectreviews") == 0);
}

/* ---- rules ---- */

static bool leads_to(const char *path, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        size_t size = strlen(names[i]);
        if (strncasecmp(path, names[i], size) == 0 && (path[size] == '/' || path[size] == '\0'))
            return true;
    }
    return false;
}

/* With the rights of the API server the kubelet runs commands in all pods of its node and shows what they log. */
static bool kubelet_allows(const struct rbac_kube_rules *rules, const struct kube_request *request,
                           struct tp_error *error)
{
    static const char *const commands[] = {"run", "exec", "attach", "portForward", "cri", NULL};
    static const char *const state[] = {"healthz", "metrics", "stats", "spec", "configz", NULL};
    if (leads_to(request->proxied, commands)) {
        (void)err_set(error, TP_DENIED,
                      "commands by way of the kubelet (nodes/proxy) are on no record; use kubectl exec, attach or "
                      "port-forward");
        return false;
    }
    if (rbac_kube_rules_open(rules) || (!request->node_port && leads_to(request->proxied, state)))
        return true;
    (void)err_set(
        error, TP_DENIED,
        "your roles limit what you may do with resources, so of the node %s only metrics, stats and health are "
        "served by nodes/proxy: the rest would show all its pods",
        request->name);
    return false;
}

/* What is no resource is for the API server to decide, but for the files of its host: what all pods there have logged is among
 * them. */
static enum rbac_kube_answer check_other(const struct rbac_kube_rules *rules, const struct kube_request *request,
                                         struct tp_error *error)
{
    static const char *const files[] = {"logs", NULL};
    if (*request->resource || !leads_to(request->path + 1, files) || rbac_kube_rules_open(rules))
        return RBAC_KUBE_ALLOW;
    (void)err_set(
        error, TP_DENIED,
        "your roles limit what you may do with resources, so %.200s is not served: the logs of all pods may be "
        "there",
        request->path);
    return RBAC_KUBE_DENY;
}

char *kube_wish_refusal(const struct kube_wish *wish)
{
    /* "exec pods web-1", not "exec pods/exec web-1" */
    const char *sub = strcmp(wish->subresource, wish->verb) == 0 ? "" : wish->subresource;
    return mem_printf("your roles do not let you %s %s%s%s%s%s%s%s%s%s", wish->verb, wish->resource,
                      *wish->api_group ? "." : "", wish->api_group, *sub ? "/" : "", sub, *wish->name ? " " : "",
                      wish->name, *wish->ns ? " in namespace " : "", wish->ns);
}

enum rbac_kube_answer kube_request_check(const struct rbac_kube_rules *rules, const struct kube_request *request,
                                         struct tp_error *error)
{
    struct rbac_kube_request asked = {
        request->resource, request->api_group,  request->ns,  request->object ? request->object : request->name,
        request->verb,     request->collection, request->name};
    enum rbac_kube_answer answer;
    if (!*request->resource || kube_request_is_about_oneself(request))
        return check_other(rules, request, error);
    if (request->proxied && !kubelet_allows(rules, request, error))
        return RBAC_KUBE_DENY;
    answer = rbac_kube_check(rules, &asked);
    if (answer == RBAC_KUBE_FILTER && strcmp(request->verb, "deletecollection") == 0) {
        (void)err_set(error, TP_DENIED,
                      "you may delete only some of these %s; name them one by one instead of deleting the collection",
                      request->resource);
        return RBAC_KUBE_DENY;
    }
    if (answer == RBAC_KUBE_DENY) {
        const struct kube_wish wish = {request->verb,        request->api_group, request->resource,
                                       request->subresource, request->name,      request->ns};
        char *text = kube_wish_refusal(&wish);
        (void)err_set(error, TP_DENIED, "%s", text);
        mem_free(text);
    }
    return answer;
}

bool kube_request_check_item(const struct rbac_kube_rules *rules, const struct kube_request *request, const char *ns,
                             const char *name)
{
    struct rbac_kube_request asked = {request->resource, request->api_group, ns, name, request->verb, false, NULL};
    return *name && rbac_kube_check(rules, &asked) == RBAC_KUBE_ALLOW;
}
