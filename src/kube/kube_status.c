#include "kube/kube_status.h"

#include "base/json.h"

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
    {410, "Gone"},
    {413, "RequestEntityTooLarge"},
    {422, "Invalid"},
    {429, "TooManyRequests"},
    {500, "InternalError"},
    {503, "ServiceUnavailable"},
    {504, "Timeout"},
};

char *kube_status_body(int status, const char *text)
{
    const char *reason = status >= 500 ? "InternalError" : "BadRequest";
    json_t *body;
    char *result;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            reason = reasons[i].reason;
    body = json_pack("{s:s, s:s, s:{}, s:s, s:s+, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "metadata",
                     "status", "Failure", "message", "tport: ", text, "reason", reason, "code", status);
    if (!body) /* a text that is not UTF-8 */
        body = json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "metadata",
                         "status", "Failure", "message", "tport: the request was refused", "reason", reason, "code",
                         status);
    result = json_text(body);
    json_decref(body);
    return result;
}
