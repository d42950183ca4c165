/* Paths and queries of the Kubernetes API: the first byte chooses the method, a NUL parts path and query. */
#include "base/mem.h"
#include "kube/kube_path.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"};
    struct kube_request *request = NULL;
    if (size < 1)
        return 0;
    char *text = mem_array(size + 1, 1);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    size_t length = strlen(text);
    const char *query = length + 1 < size ? text + length + 1 : NULL;
    if (kube_request_parse(methods[data[0] % 8], text, query, &request, NULL) == TP_OK) {
        /* What rules are asked about is never empty where something is named. */
        if ((*request->name || *request->ns || *request->subresource) && !*request->resource)
            abort();
        if (request->collection && *request->name)
            abort();
        if (strchr(request->ns, '/') || strchr(request->name, '/') || strchr(request->resource, '/'))
            abort();
        kube_request_free(request);
    }
    mem_free(text);
    return 0;
}
