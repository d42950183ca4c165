/* What our reader of Kubernetes URLs makes of them: lines "METHOD TARGET" in, one JSON object a line out. For
 * test/blackbox/test_kube_paths.py, which compares it with a real API server. */
#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_path.h"
#include "protocols/http/http_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_one(const char *method, const char *target)
{
    struct kube_request *request = NULL;
    struct tp_error error = {0};
    const char *query = strchr(target, '?');
    size_t length = query ? (size_t)(query - target) : strlen(target);
    char *path = NULL;
    enum tp_err err = http_path_canonical(target, length, &path);
    if (err == TP_OK)
        err = kube_request_parse(method, path, query ? query + 1 : NULL, &request, &error);
    json_t *out = err == TP_OK
                      ? json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "apiGroup", request->api_group, "apiVersion",
                                  request->version, "namespace", request->ns, "resource", request->resource,
                                  "subresource", request->subresource, "name", request->name, "verb", request->verb)
                      : json_pack("{s:s}", "refused", error.text);
    kube_request_free(request);
    mem_free(path);
    return out;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t size; (size = getline(&line, &capacity, stdin)) > 0;) {
        line[size - 1] = '\0';
        char *target = strchr(line, ' ');
        if (!target)
            return 1;
        *target++ = '\0';
        json_t *out = read_one(line, target);
        char *text = json_text(out);
        (void)printf("%s\n", text);
        mem_free(text);
        json_decref(out);
    }
    free(line);
    return 0;
}
