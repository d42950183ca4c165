#include "session/environment.h"

#include "base/mem.h"

#include <string.h>

static const char *const ALWAYS[] = {"LANG", "LANGUAGE", "TERM", "COLORTERM", NULL};

/* Names that change what a program is or where it comes from. Prefixes end in '*'. */
static const char *const NEVER[] = {
    "LD_*",           "DYLD_*",  "BASH_*",     "ENV",       "IFS",        "PATH",        "SHELL",       "HOME",
    "USER",           "LOGNAME", "MAIL",       "SSH_*",     "TELEPORT_*", "TPORT_*",     "KRB5*",       "PYTHON*",
    "PERL*",          "RUBY*",   "NODE_*",     "JAVA_*",    "GIT_*",      "CDPATH",      "SHELLOPTS",   "PS4",
    "PROMPT_COMMAND", "TMPDIR",  "GCONV_PATH", "LOCPATH",   "NLSPATH",    "RES_OPTIONS", "HOSTALIASES", "LOCALDOMAIN",
    "MALLOC_*",       "GLIBC_*", "TZDIR",      "TERMINFO*", "TERMCAP",    "ZDOTDIR",     "FPATH",       "XDG_*",
    "DBUS_*",         "SUDO_*",  "EDITOR",     "VISUAL",    "PAGER",      "LESS*",       NULL,
};

static bool matches(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        size_t length = strlen(*list);
        if ((*list)[length - 1] == '*' ? strncmp(name, *list, length - 1) == 0 : strcmp(name, *list) == 0) {
            return true;
        }
    }
    return false;
}

bool environment_allows(const char *name, bool permit_any)
{
    size_t length = strlen(name);
    if (length == 0 || length > 128 ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != length) {
        return false;
    }
    if (name[0] >= '0' && name[0] <= '9') {
        return false;
    }
    if (matches(ALWAYS, name) || strncmp(name, "LC_", 3) == 0) {
        return true;
    }
    return permit_any && !matches(NEVER, name);
}

static size_t find(const struct environment *env, const char *name)
{
    size_t length = strlen(name);
    size_t i = 0;
    while (i < env->count && !(strncmp(env->items[i], name, length) == 0 && env->items[i][length] == '=')) {
        i++;
    }
    return i;
}

void environment_set(struct environment *env, const char *name, const char *value)
{
    if (value == NULL) {
        return;
    }
    char *item = mem_printf("%s=%s", name, value);
    size_t at = find(env, name);
    if (at < env->count) {
        mem_free(env->items[at]);
        env->items[at] = item;
        return;
    }
    env->items = mem_resize(env->items, (env->count + 2) * sizeof(char *));
    env->items[env->count++] = item;
    env->items[env->count] = NULL;
}

const char *environment_get(const struct environment *env, const char *name)
{
    size_t at = find(env, name);
    return at < env->count ? env->items[at] + strlen(name) + 1 : NULL;
}

char *const *environment_list(struct environment *env)
{
    if (env->items == NULL) {
        env->items = mem_array(1, sizeof(char *));
    }
    return env->items;
}

void environment_free(struct environment *env)
{
    for (size_t i = 0; i < env->count; i++) {
        mem_free(env->items[i]);
    }
    mem_free(env->items);
    env->items = NULL;
    env->count = 0;
}
