/*
 * Memory. Allocation never returns NULL: a process that cannot get a few kilobytes ends, and master starts it anew.
 * What strangers can make us allocate is bounded where it happens (struct buf has a limit, documents have limits).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#define MEM_RETURNS_NONNULL __attribute__((returns_nonnull, warn_unused_result))

/* Zeroed memory for one object of size bytes; size 0 is taken as 1. The caller frees it with mem_free. */
void *mem_alloc(size_t size) MEM_RETURNS_NONNULL;
/* Zeroed memory for count objects; ends the process when count * size overflows. */
void *mem_array(size_t count, size_t size) MEM_RETURNS_NONNULL;
/* As realloc; new bytes are not zeroed. */
void *mem_resize(void *old, size_t size) MEM_RETURNS_NONNULL;
/* A copy of text. text must not be NULL. */
char *mem_strdup(const char *text) MEM_RETURNS_NONNULL;
/* A copy of the first length bytes of text with a NUL behind them. */
char *mem_strndup(const char *text, size_t length) MEM_RETURNS_NONNULL;
/* A copy of size bytes. */
void *mem_dup(const void *data, size_t size) MEM_RETURNS_NONNULL;
/* A formatted string. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));
/* free(3); NULL is fine. */
void mem_free(void *data);
/* Gives pages that nobody uses any more back to the system, which free alone does not do for those in the middle. Takes
 * milliseconds where there are many: for the end of a crowd, not for every day. */
void mem_give_back(void);
/* Two megabytes that were freed last stay for who comes next, until mem_give_back: for a process whose buffers come and go with
 * each turn. Else the C library gives their pages back and takes new ones many times for each megabyte that passes. */
void mem_keep_last(void);
/* All threads take from one pool from now on: mem_give_back reaches no other one's end. For a process whose threads take much,
 * seldom; call it before they start. */
void mem_one_pool(void);

/* Overwrites size bytes in a way the compiler keeps. */
void secret_wipe(void *data, size_t size);
/* Wipes a string and frees it; NULL is fine. */
void secret_free(char *text);
/* True when both hold the same size bytes; time does not depend on where they differ. */
_Bool secret_equal(const void *a, const void *b, size_t size);
/* The same for strings; the lengths may leak, the content may not. NULL equals nothing. */
_Bool secret_equal_text(const char *a, const char *b);

#endif
