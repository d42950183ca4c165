/* Grants: the first 32 bytes are the key that is trusted, so that seeds can carry a right signature. */
#include "crypt/grant.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t keys[1][32];
    json_t *grant = NULL;
    if (size < sizeof(keys))
        return 0;
    memcpy(keys, data, sizeof(keys));
    if (grant_open(data + sizeof(keys), size - sizeof(keys), (const uint8_t(*)[32])keys, 1, "h1", "ssh", 1790000000,
                   &grant, NULL) == TP_OK) {
        if (json_get_int(grant, "v", 0) != 1)
            __builtin_trap();
        json_decref(grant);
    }
    return 0;
}
