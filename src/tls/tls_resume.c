#include "tls/tls_resume.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

static void drop(struct tls_resume *resume, size_t index)
{
    struct tls_resume_entry *entry = &resume->entries[index];
    SSL_SESSION_free(entry->session);
    mem_free(entry->name);
    resume->count--;
    memmove(entry, entry + 1, (resume->count - index) * sizeof(*entry));
}

void tls_resume_keep(struct tls_resume *resume, SSL_SESSION *session, const char *name, int64_t proved_ms)
{
    if (resume->count == TLS_RESUME_MAX)
        drop(resume, 0);
    resume->entries[resume->count++] =
        (struct tls_resume_entry){.session = session, .name = mem_strdup(name), .proved_ms = proved_ms};
}

SSL_SESSION *tls_resume_take(struct tls_resume *resume, const char *name, int64_t *ret_proved_ms)
{
    int64_t now = clock_mono_ms();
    for (size_t i = resume->count; i-- > 0;) {
        struct tls_resume_entry *entry = &resume->entries[i];
        SSL_SESSION *session = entry->session;
        if (now - entry->proved_ms >= TLS_RESUME_MS) {
            drop(resume, i);
            continue;
        }
        if (strcmp(entry->name, name) != 0)
            continue;
        *ret_proved_ms = entry->proved_ms;
        (void)SSL_SESSION_up_ref(session);
        if (SSL_SESSION_should_be_single_use(session))
            drop(resume, i);
        return session;
    }
    return NULL;
}

void tls_resume_clear(struct tls_resume *resume)
{
    while (resume->count > 0)
        drop(resume, resume->count - 1);
}
