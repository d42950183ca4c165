#include "kube/kube_status.h"

#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_query.h"

#include <string.h>

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {400, "BadRequest"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "NotFound"},
    {405, "MethodNotAllowed"},
    {408, "Timeout"},
    {409, "Conflict"},
    {410, "Expired"},
    {413, "RequestEntityTooLarge"},
    {422, "Invalid"},
    {429, "TooManyRequests"},
    {500, "InternalError"},
    {503, "ServiceUnavailable"},
    {504, "Timeout"},
};

/* bare: without reason and code. */
static char *status_body(int status, const char *text, bool bare)
{
    const char *reason = status >= 500 ? "InternalError" : "BadRequest";
    json_t *body;
    char *result;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            reason = reasons[i].reason;
    body = json_pack("{s:s, s:s, s:{}, s:s, s:s+}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
                     "Failure", "message", "tport: ", text);
    if (!body) /* a text that is not UTF-8 */
        body = json_pack("{s:s, s:s, s:{}, s:s, s:s}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
                         "Failure", "message", "tport: the request was refused");
    if (!bare) {
        (void)json_object_set_new(body, "reason", json_string(reason));
        (void)json_object_set_new(body, "code", json_integer(status));
    }
    result = json_text(body);
    json_decref(body);
    return result;
}

char *kube_status_body(int status, const char *text)
{
    return status_body(status, text, false);
}

/* How client-go reads the answer to this request. */
enum reader {
    READS_STATUS,    /* a Status, as it is */
    READS_DISCOVERY, /* a Status; one that says Forbidden or NotFound counts as "this API is not served here" */
    READS_RAW,       /* bytes: of an error it shows text/plain only */
    READS_WATCH,     /* so does 1.20 here; newer ones read both */
};

static bool begins(const char *path, const char *with)
{
    size_t length = strlen(with);
    return strncmp(path, with, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool is_watch(const struct http_request *request)
{
    struct kube_query query;
    bool watch;
    if (kube_query_parse(request->query, &query, NULL) != TP_OK)
        return false;
    watch = kube_query_flag(&query, "watch");
    kube_query_free(&query);
    return watch;
}

static enum reader reader_of(const struct http_request *request)
{
    const char *accept;
    size_t segments = 0;
    if (!request || !request->path)
        return READS_STATUS;
    if (begins(request->path, "/version") || begins(request->path, "/openapi") ||
        strncmp(request->path, "/swagger", 8) == 0)
        return READS_RAW;
    for (const char *at = request->path; *at; at++)
        segments += at[0] == '/' && at[1] != '\0';
    if (!(begins(request->path, "/api") && segments <= 2) && !(begins(request->path, "/apis") && segments <= 3))
        return is_watch(request) ? READS_WATCH : READS_STATUS;
    accept = http_request_header(request, "accept"); /* since 1.26: all groups and resources in one answer */
    return accept && strstr(accept, "g=apidiscovery.k8s.io") ? READS_RAW : READS_DISCOVERY;
}

void kube_refusal_make(const struct http_request *request, int status, const char *text,
                       struct kube_refusal *ret_refusal)
{
    enum reader reader = reader_of(request);
    bool hidden = status == 403 || status == 404;
    ret_refusal->status = status;
    if ((reader == READS_RAW && (hidden || status >= 500)) || (reader == READS_WATCH && status == 403)) {
        /* In place of a sentence client-go has its own for 404, 503 and 504. */
        ret_refusal->status = hidden ? 403 : status == 500 ? 500 : 502;
        ret_refusal->type = "text/plain; charset=utf-8";
        ret_refusal->body = mem_printf("tport: %s\n", text);
        return;
    }
    ret_refusal->type = "application/json";
    ret_refusal->body = status_body(status, text, reader == READS_DISCOVERY && hidden);
}
