/* Terminal modes of a client: whatever they are, a termios comes out, and reading them never goes past their end. */
#include "session/modes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct termios termios = {0};
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    json_t *list = modes_read(copy, size);
    if (list != NULL && json_array_size(list) > MODES_MAX_BYTES / 5) {
        abort();
    }
    modes_apply(list, &termios);
    json_decref(list);
    free(copy);
    return 0;
}
