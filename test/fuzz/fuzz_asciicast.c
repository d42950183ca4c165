/* What a program prints, cut anywhere: every line must stay one JSON array with valid UTF-8. */
#include "base/mem.h"
#include "recording/asciicast.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct asciicast cast = {0};
    struct buf out;
    buf_init(&out, 0);
    size_t piece = size > 0 ? (size_t)data[0] % 17 + 1 : 1;
    for (size_t i = 0; i < size; i += piece) {
        asciicast_output(&cast, &out, (int64_t)i * 1000, data + i, size - i < piece ? size - i : piece);
    }
    asciicast_finish(&cast, &out, (int64_t)size * 1000);
    char *lines = buf_take(&out);
    for (char *line = lines; *line != '\0';) {
        char *end = strchr(line, '\n');
        json_t *event = end == NULL ? NULL : json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        if (event == NULL || json_array_size(event) != 3) {
            abort();
        }
        json_decref(event);
        line = end + 1;
    }
    mem_free(lines);
    return 0;
}
