/* Bodies of any bytes: a name without NUL, or one sentence; and what they ask, if they ask something. */
#include "agent/kube_body.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
    for (size_t i = 0; i < 3; i++) {
        char *name = NULL;
        struct tp_error error = {0};
        enum tp_err err = kube_body_name(types[i], data, size, &name, &error);
        if ((err == TP_OK) != (name != NULL) || (err != TP_OK && error.text[0] == '\0')) {
            abort();
        }
        mem_free(name);
        json_t *attributes = kube_body_attributes(types[i], data, size);
        if (attributes != NULL && !json_is_object(attributes)) {
            abort();
        }
        json_decref(attributes);
    }
    return 0;
}
