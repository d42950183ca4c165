/* A glob and a text, split at the first newline: the fast matcher against a slow one that cannot be wrong. */
#include "base/mem.h"
#include "rbac/pattern.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIDE_MAX 24

/* Dynamic programming over both sides. */
static bool slow(const char *glob, const char *text)
{
    bool match[SIDE_MAX + 1][SIDE_MAX + 1] = {{false}};
    size_t glob_size = strlen(glob);
    size_t text_size = strlen(text);
    match[0][0] = true;
    for (size_t i = 1; i <= glob_size; i++)
        for (size_t j = 0; j <= text_size; j++)
            match[i][j] = glob[i - 1] == '*' ? match[i - 1][j] || (j > 0 && match[i][j - 1])
                                             : j > 0 && match[i - 1][j - 1] && glob[i - 1] == text[j - 1];
    return match[glob_size][text_size];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *glob = mem_strndup((const char *)data, size);
    char *text = strchr(glob, '\n');
    if (text) {
        *text++ = '\0';
        if (strlen(glob) <= SIDE_MAX && strlen(text) <= SIDE_MAX && pattern_glob(glob, text) != slow(glob, text))
            __builtin_trap();
    }
    mem_free(glob);
    return 0;
}
