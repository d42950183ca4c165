/*
 * R10: a request's head of any bytes, and a grant (the first byte chooses one). Whatever the head claims, no header that
 * speaks of an identity is passed on, read as tolerant servers read names; and the identity is one that the grant gives.
 */
#include "kube/kube_headers.h"

#include "base/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const grants[] = {
    "{\"user\":\"alice\",\"kube_users\":[],\"kube_groups\":[\"devs\"]}",
    "{\"user\":\"alice\",\"kube_users\":[\"dev\"],\"kube_groups\":[\"devs\",\"ops\"]}",
    "{\"user\":\"alice\",\"kube_users\":[\"dev\",\"ops\"],\"kube_groups\":[]}",
};

static void need(bool truth)
{
    if (!truth)
        abort();
}

/* Written a second time, and otherwise than in kube_headers.c: what no header that passes may be. */
static bool speaks_of_identity(const char *name)
{
    static const char *const starts[] = {"impersonate-", "x-remote-", "x-forwarded-"};
    static const char *const names[] = {"authorization", "proxy-authorization", "forwarded"};
    char plain[64];
    size_t length = strlen(name);
    if (length >= sizeof plain)
        length = sizeof plain - 1;
    for (size_t i = 0; i < length; i++)
        plain[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    plain[length] = '\0';
    for (size_t i = 0; i < 3; i++)
        if (strncmp(plain, starts[i], strlen(starts[i])) == 0 || strcmp(plain, names[i]) == 0)
            return true;
    return false;
}

static bool is_given(const json_t *grant, const char *list, const char *value)
{
    return json_list_has(json_object_get(grant, list), value);
}

static void check_identity(const json_t *grant, const struct http_request *request)
{
    struct kube_identity identity = {0};
    struct tp_error error = {0};
    const json_t *users = json_object_get(grant, "kube_users");
    if (kube_identity_decide(grant, request, &identity, &error) != TP_OK) {
        need(error.text[0] != '\0' && !identity.user && identity.group_count == 0);
        return;
    }
    need(is_given(grant, "kube_users", identity.user) ||
         (json_array_size(users) == 0 && strcmp(identity.user, "alice") == 0));
    need(identity.group_count > 0);
    for (size_t i = 0; i + 1 < identity.group_count; i++)
        need(is_given(grant, "kube_groups", identity.groups[i]));
    need(strcmp(identity.groups[identity.group_count - 1], "system:authenticated") == 0);
    kube_identity_free(&identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_parser *parser;
    size_t used = 0;
    if (size == 0)
        return 0;
    parser = http_parser_new_proxy();
    if (http_parser_feed(parser, data + 1, size - 1, &used) == HTTP_HEAD_READY) {
        const struct http_request *request = http_parser_request(parser);
        json_t *grant = json_loads(grants[data[0] % 3], 0, NULL);
        for (size_t i = 0; i < request->header_count; i++)
            need(kube_header_is_dropped(request, request->headers[i].name) ||
                 (!speaks_of_identity(request->headers[i].name) &&
                  !http_request_connection_has(request, request->headers[i].name)));
        check_identity(grant, request);
        json_decref(grant);
    }
    http_parser_free(parser);
    return 0;
}
