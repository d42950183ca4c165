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

/* The file of the minute that runs: what is used in it are further names of that. A new file for each costs more than all else
 * that a connection costs us, where others have just been removed (ext4 gives no number out again so soon, and looks for one). */
#define MINUTE_MS ((int64_t)60 * 1000)
static char *minute_of(const char *dir)
{
    return mem_printf("%s/used/.%lld", dir, (long long)(clock_wall_ms() / MINUTE_MS));
}

/* Removes what is too old to matter: all of it, or files of minutes alone. */
static void sweep(const char *dir, bool all)
{
    char *folder = folder_of(dir);
    DIR *list = opendir(folder);
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        struct stat info;
        if ((all || entry->d_name[0] == '.') && fstatat(dirfd(list), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode) && clock_wall_ms() - (int64_t)info.st_mtime * 1000 > AGENT_USED_MS + MINUTE_MS) {
            (void)unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    mem_free(folder);
}

void agent_used_open(const char *dir)
{
    char *folder = folder_of(dir);
    (void)mkdir(folder, 0700); /* without it nothing is noted, which is said then */
    mem_free(folder);
    sweep(dir, true);
}

static char *file_of(const char *dir, const char *id)
{
    static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyz-";
    return dir != NULL && id[0] != '\0' && id[strspn(id, plain)] == '\0' ? mem_printf("%s/used/%s", dir, id) : NULL;
}

/* errno, 0 when this call has made it. */
static int make_file(const char *file)
{
    int fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno;
    }
    (void)close(fd);
    return 0;
}

static int make_name(const char *dir, const char *file)
{
    char *minute = minute_of(dir);
    int code = link(minute, file) == 0 ? 0 : errno;
    if (code == ENOENT) { /* the first one of this minute */
        sweep(dir, false);
        (void)make_file(minute); /* or the agent beside us has: the link tells */
        code = link(minute, file) == 0 ? 0 : errno;
    }
    mem_free(minute);
    return code;
}

enum agent_used agent_used_note(const char *dir, const char *id)
{
    char *file = file_of(dir, id);
    if (file == NULL) {
        return AGENT_USED_UNKNOWN;
    }
    int code = make_name(dir, file);
    if (code != 0 && code != EEXIST) { /* a file system without second names, or one that has as many as it may */
        code = make_file(file);
    }
    enum agent_used used = code == 0 ? AGENT_USED_FIRST : code == EEXIST ? AGENT_USED_BEFORE : AGENT_USED_UNKNOWN;
    if (used == AGENT_USED_UNKNOWN) {
        log_warn("a grant is taken that can't be noted as used; another agent of this host would take it too",
                 "file=\"%s\" error=\"%s\"", file, strerror(code));
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
