/* The files and folders of master: what root writes, perhaps where another user may write too. */
#include "core/master_priv.h"
#include "core/sandbox.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A symbolic link, a further name of some file, a pipe are refused: whoever may write in the folder must not choose what
 * root writes to. */
enum tp_err master_open_plain(const char *path, int flags, mode_t mode, const char *key, int *ret_fd,
                              struct tp_error *error)
{
    struct stat info;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags, mode);
    if (fd < 0 && errno == ELOOP)
        return err_set(error, TP_INVALID, "%s is a symbolic link, which is not followed; let %s name the file itself",
                       path, key);
    if (fd < 0 && errno == ENXIO)
        return err_set(error, TP_INVALID, "%s is no plain file; remove it, or name another in %s", path, key);
    if (fd < 0)
        return err_errno(error, errno, "can't open %s (%s)", path, key);
    if (fstat(fd, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISCHR(info.st_mode)) ||
        (S_ISREG(info.st_mode) && info.st_nlink > 1)) {
        (void)close(fd);
        return err_set(error, TP_INVALID, "%s is no plain file of one name; remove it, or name another in %s", path,
                       key);
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    *ret_fd = fd;
    return TP_OK;
}

/* ---- one tportd for each data_dir ---- */

static enum tp_err write_own_pid(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)length, 0) == length ? TP_OK : TP_IO;
}

static int read_pid(const char *path)
{
    int pid = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    (void)fclose(file);
    return pid;
}

/* The lock is the open file's, so it lasts as long as this process, also over an upgrade, and no longer. The file stays:
 * unlinking it would let two processes lock two files of one name. */
enum tp_err master_lock(struct master *master, struct tp_error *error)
{
    char *path;
    enum tp_err err;
    if (master->lock_fd >= 0)
        return TP_OK; /* handed over by the program before us */
    if (mkdir(master->plan.data_dir, 0711) != 0 && errno != EEXIST)
        return err_errno(error, errno, "can't make data_dir %s", master->plan.data_dir);
    path = mem_printf("%s/tportd.lock", master->plan.data_dir);
    err = master_open_plain(path, 0, 0600, "data_dir", &master->lock_fd, error);
    if (err == TP_OK && flock(master->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            err = err_set(error, TP_EXISTS,
                          "another tportd (process %d) uses data_dir %s; stop that one, or name another data_dir",
                          read_pid(path), master->plan.data_dir);
        else
            err = err_errno(error, errno, "can't lock %s", path);
    }
    if (err == TP_OK && write_own_pid(master->lock_fd) != TP_OK)
        err = err_errno(error, errno, "can't write %s", path);
    mem_free(path);
    return err;
}

/* ---- pid file ---- */

enum tp_err master_write_pid(const struct master *master, struct tp_error *error)
{
    int fd = -1;
    enum tp_err err = master_open_plain(master->plan.pid_file, 0, 0644, "tport.pid_file", &fd, error);
    if (err != TP_OK)
        return err;
    err = write_own_pid(fd);
    (void)close(fd);
    return err == TP_OK ? TP_OK : err_set(error, err, "can't write the pid file %s", master->plan.pid_file);
}

/* Another tportd with the same pid file may have written into it since. */
void master_remove_pid(const struct master *master)
{
    if (read_pid(master->plan.pid_file) == (int)getpid())
        (void)unlink(master->plan.pid_file);
}

/* ---- folders ---- */

/* What root wrote into the folder goes to its new user. A name with further links may be another's file: it stays. */
static enum tp_err give_files(const char *folder, const struct passwd *user, struct tp_error *error)
{
    DIR *dir = opendir(folder);
    enum tp_err err = TP_OK;
    if (!dir)
        return err_errno(error, errno, "can't read %s", folder);
    for (const struct dirent *entry; err == TP_OK && (entry = readdir(dir)) != NULL;) {
        struct stat info;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode) ||
            info.st_nlink != 1)
            continue;
        if (fchownat(dirfd(dir), entry->d_name, user->pw_uid, user->pw_gid, AT_SYMLINK_NOFOLLOW) != 0)
            err = err_errno(error, errno, "can't give %s/%s to user %s", folder, entry->d_name, user->pw_name);
    }
    (void)closedir(dir);
    return err;
}

/* A folder in data_dir that only that user ("": root) may enter. key is the one that names the user. */
static enum tp_err make_folder(const char *data_dir, const char *name, const char *user_name, const char *key,
                               struct tp_error *error)
{
    const char *wanted = *user_name ? user_name : "root";
    char *folder = mem_printf("%s/%s", data_dir, name);
    const struct passwd *user;
    struct stat info;
    enum tp_err err = TP_OK;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        err = err_errno(error, errno, "can't make %s", folder);
    if (err == TP_OK && geteuid() == 0) {
        user = getpwnam(wanted);
        if (!user)
            err = err_set(error, TP_NOT_FOUND,
                          "there is no user %s on this machine: make install makes it, or name another in %s", wanted,
                          key);
        else if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
            err = err_set(error, TP_INVALID, "%s is no folder", folder);
        else if (info.st_uid != user->pw_uid) {
            if (info.st_uid == 0)
                err = give_files(folder, user, error);
            if (err == TP_OK && lchown(folder, user->pw_uid, user->pw_gid) != 0)
                err = err_errno(error, errno, "can't give %s to user %s", folder, wanted);
        }
    }
    mem_free(folder);
    return err;
}

/* As that user: the place in path, counted in its slashes, of the first folder that is closed to it; 0: it may go all the
 * way. */
static int closed_folder(char *path, const char *user)
{
    struct tp_error ignored;
    int place = 0;
    if (sandbox_become(user, &ignored) != TP_OK)
        return 0; /* the process itself will say so */
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        place++;
        *at = '\0';
        if (access(path, X_OK) != 0)
            return place;
        *at = '/';
    }
    return access(path, R_OK | X_OK) == 0 ? 0 : place + 1;
}

/* A process that can't come to its folder would be started again for ever. Asked of the kernel, in a process that becomes the
 * user: modes alone do not tell. */
static enum tp_err check_way(const char *data_dir, const char *name, const char *user, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    int status = 0;
    char *path;
    pid_t pid;
    if (geteuid() != 0 || !*user)
        return TP_OK;
    path = mem_printf("%s/%s", data_dir, name);
    pid = fork();
    if (pid == 0) {
        int place = closed_folder(path, user);
        _exit(place < 255 ? place : 255);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        char *at = path;
        for (int left = WEXITSTATUS(status); at && left > 0; left--)
            at = strchr(at + 1, '/');
        if (at)
            *at = '\0';
        err = err_set(error, TP_DENIED,
                      "user %s, to whom the folder %s belongs, can't enter %s: open that folder to it (chmod o+x), or "
                      "let data_dir be elsewhere",
                      user, name, path);
    }
    mem_free(path);
    return err;
}

static enum tp_err own_folder(const char *data_dir, const char *name, const char *user_name, const char *key,
                              struct tp_error *error)
{
    enum tp_err err = make_folder(data_dir, name, user_name, key, error);
    return err == TP_OK ? check_way(data_dir, name, user_name, error) : err;
}

enum tp_err master_make_folders(const struct master_plan *plan, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    if (plan->auth)
        err = own_folder(plan->data_dir, "auth", plan->auth_user, "tport.processes.auth_user", error);
    if (err == TP_OK && plan->auth && !plan->auth_key_file)
        err = own_folder(plan->data_dir, "keys", plan->auth_user, "tport.processes.auth_user", error);
    if (err == TP_OK && plan->agent)
        err = own_folder(plan->data_dir, "agent", plan->agent_user, "tport.processes.agent_user", error);
    return err;
}
