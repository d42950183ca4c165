/* The decoder of stored records: what it accepts must encode to the same bytes again. */
#include "store/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char key[] = "/user/alice";
    uint64_t revision = 0;
    const uint8_t *value = NULL;
    size_t value_size = 0;
    if (record_decode(key, sizeof(key) - 1, data, size, &revision, &value, &value_size) == TP_OK) {
        uint8_t *again = malloc(RECORD_HEADER + value_size);
        if (!again || value_size != size - RECORD_HEADER)
            abort();
        record_encode(key, sizeof(key) - 1, revision, value, value_size, again);
        if (memcmp(again, data, size) != 0)
            abort();
        free(again);
    }
    return 0;
}
