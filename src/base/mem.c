#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_LAST (2 * 1024 * 1024)

static void *checked(void *data)
{
    if (!data) {
        static const char text[] = "out of memory, this process ends\n";
        (void)!fwrite(text, 1, sizeof(text) - 1, stderr);
        abort();
    }
    return data;
}

void *mem_alloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *mem_array(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1));
}

char *mem_strdup(const char *text)
{
    return checked(strdup(text));
}

char *mem_strndup(const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1);
    memcpy(copy, text, length);
    return copy;
}

void *mem_dup(const void *data, size_t size)
{
    void *copy = mem_alloc(size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *mem_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return checked(text);
}

void mem_free(void *data)
{
    free(data);
}

void mem_give_back(void)
{
    (void)malloc_trim(0);
}

void mem_keep_last(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, KEEP_LAST);
    (void)mallopt(M_MMAP_THRESHOLD, KEEP_LAST);
}

void mem_one_pool(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
}

void secret_wipe(void *data, size_t size)
{
    if (data && size)
        explicit_bzero(data, size);
}

void secret_free(char *text)
{
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
}

_Bool secret_equal(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++)
        difference |= (uint8_t)(x[i] ^ y[i]);
    return difference == 0;
}

_Bool secret_equal_text(const char *a, const char *b)
{
    size_t length;
    if (!a || !b)
        return 0;
    length = strlen(a);
    return length == strlen(b) && secret_equal(a, b, length);
}
