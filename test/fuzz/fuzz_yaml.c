/* YAML of strangers: what is read must survive the way to JSON, to YAML and back. */
#include "base/mem.h"
#include "base/node.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node **documents = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    if (node_parse((const char *)data, size, "f", &documents, &count, &error) != TP_OK) {
        if (strncmp(error.text, "f:", 2) != 0)
            abort();
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *value = node_to_json(documents[i]);
        char *text = node_yaml_from_json(value);
        struct node *again = NULL;
        enum tp_err err = node_parse_one(text, strlen(text), "g", &again, &error);
        if (err == TP_OK) {
            json_t *other = node_to_json(again);
            if (!json_equal(value, other))
                abort();
            json_decref(other);
            node_free(again);
        } else if (err != TP_TOO_LARGE) {
            abort();
        }
        mem_free(text);
        json_decref(value);
        node_free(documents[i]);
    }
    mem_free(documents);
    return 0;
}
