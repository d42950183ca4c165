#include "agent/agent_used.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder_of(const char *dir)
{
    return mem_printf("%s/used", dir);
}

void agent_used_open(const char *dir)
{
    char *folder = folder_of(dir);
    (void)mkdir(folder, 0700); /* without it nothing is noted, which is said then */
    DIR *list = opendir(folder);
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        struct stat info;
        if (fstatat(dirfd(list), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
            clock_wall_ms() - (int64_t)info.st_mtime * 1000 > AGENT_USED_MS) {
            (void)unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    mem_free(folder);
}

static char *file_of(const char *dir, const char *id)
{
    static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyz-";
    return dir != NULL && id[0] != '\0' && id[strspn(id, plain)] == '\0' ? mem_printf("%s/used/%s", dir, id) : NULL;
}

enum agent_used agent_used_note(const char *dir, const char *id)
{
    char *file = file_of(dir, id);
    if (file == NULL) {
        return AGENT_USED_UNKNOWN;
    }
    int fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = errno;
    enum agent_used used = fd >= 0 ? AGENT_USED_FIRST : code == EEXIST ? AGENT_USED_BEFORE : AGENT_USED_UNKNOWN;
    if (used == AGENT_USED_UNKNOWN) {
        log_warn("a grant is taken that can't be noted as used; another agent of this host would take it too",
                 "file=\"%s\" error=\"%s\"", file, strerror(code));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    mem_free(file);
    return used;
}

void agent_used_forget(const char *dir, const char *id)
{
    char *file = file_of(dir, id);
    if (file != NULL) {
        (void)unlink(file);
    }
    mem_free(file);
}
