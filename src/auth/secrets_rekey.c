/* Another key for the secrets store, in an order in which no moment leaves a store without its key: the new key is on the disk
 * (PATH.next), then the store is sealed with it, then it takes the name of the old one.
 *
 * The folders of the store, and often that of the key, belong to auth's user. Whoever has taken that user over could lead root
 * elsewhere by a link there, so root does nothing in them: all of it, or what is done to the store, is done as that user. */
#include "auth/secrets_key.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Which part is done in a child that has become the store's user. */
enum apart {
    APART_NOTHING,
    APART_STORE, /* what is done to the store: the key is in a folder of root's */
    APART_ALL
};

struct rekeying {
    char *dir;
    struct secrets_key source;
    uint8_t new_key[STORE_KEY_SIZE];
    enum secrets_rekeyed done;
    enum apart apart;
    uid_t uid; /* of the store's user */
    gid_t gid;
};

typedef enum tp_err job_fn(struct rekeying *rekeying, struct tp_error *error);

/* ---- as another user ---- */

struct reply {
    struct tp_error error;
    int next;
    int done;
};

static enum tp_err become(const struct rekeying *rekeying, pid_t parent, struct tp_error *error)
{
    struct tp_error ignored = {0};
    enum tp_err err = TP_OK;
    /* What this process reads may be made to take it over. It is not to type into root's terminal. */
    if (setsid() < 0) {
        return err_errno(error, errno, "cannot leave the terminal");
    }
    err = sandbox_become_owner(rekeying->uid, rekeying->gid, error);
    if (err == TP_OK) {
        err = sandbox_no_new_privileges(error);
    }
    if (err == TP_OK && sandbox_enter(SANDBOX_AUTH, &ignored) != TP_OK) {
        log_warn("running without a system call filter", "why=\"%s\"", ignored.text);
    }
    /* Who kills the parent means this one, too. */
    if (err == TP_OK && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)) {
        err = err_set(error, TP_INTERNAL, "the process that changes the key has lost its parent");
    }
    return err;
}

static void run_child(struct rekeying *rekeying, job_fn *job, pid_t parent, int out)
{
    struct reply reply = {0};
    enum tp_err err = become(rekeying, parent, &reply.error);
    rekeying->apart = APART_NOTHING;
    if (err == TP_OK) {
        err = job(rekeying, &reply.error);
    }
    reply.error.code = err;
    reply.next = rekeying->source.next;
    reply.done = (int)rekeying->done;
    _exit(write(out, &reply, sizeof reply) == (ssize_t)sizeof reply ? 0 : 1);
}

static enum tp_err wait_for_child(struct rekeying *rekeying, pid_t child, int in, struct tp_error *error)
{
    struct reply reply;
    size_t have = 0;
    ssize_t got = 1;
    int status = 0;
    while (have < sizeof reply && got != 0 && (got > 0 || errno == EINTR)) {
        got = read(in, (char *)&reply + have, sizeof reply - have);
        have += got > 0 ? (size_t)got : 0;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (have < sizeof reply) {
        return err_set(error, TP_IO, "the process that worked on the store %s ended in the middle; run this again",
                       rekeying->dir);
    }
    reply.error.text[sizeof reply.error.text - 1] = '\0';
    rekeying->source.next = reply.next != 0;
    rekeying->done = reply.done == (int)SECRETS_FINISHED ? SECRETS_FINISHED : SECRETS_REKEYED;
    return reply.error.code == TP_OK ? TP_OK : err_set(error, reply.error.code, "%s", reply.error.text);
}

static enum tp_err run_apart(struct rekeying *rekeying, job_fn *job, struct tp_error *error)
{
    const pid_t parent = getpid();
    int line[2];
    if (pipe2(line, O_CLOEXEC) != 0) {
        return err_errno(error, errno, "cannot start the work on the store %s", rekeying->dir);
    }
    pid_t child = fork();
    if (child == 0) {
        (void)close(line[0]);
        run_child(rekeying, job, parent, line[1]);
    }
    (void)close(line[1]);
    enum tp_err err = child < 0 ? err_errno(error, errno, "cannot start the work on the store %s", rekeying->dir)
                                : wait_for_child(rekeying, child, line[0], error);
    (void)close(line[0]);
    return err;
}

/* The folder auth lies in data_dir, which auth's user cannot change: nobody can put another in its place. */
static enum tp_err choose_user(struct rekeying *rekeying, const char *data_dir, struct tp_error *error)
{
    const char *path = rekeying->source.path;
    const char *slash = strrchr(path, '/');
    char *auth = mem_printf("%s/auth", data_dir);
    char *folder = slash != NULL && slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("/");
    struct stat owner;
    struct stat key_owner;
    enum tp_err err = TP_OK;
    if (lstat(auth, &owner) != 0) {
        err = err_set(error, TP_NOT_FOUND, "there is no secrets store %s; auth makes it at its first start",
                      rekeying->dir);
    } else if (!S_ISDIR(owner.st_mode)) {
        err = err_set(error, TP_INVALID, "%s is no folder", auth);
    } else if (stat(folder, &key_owner) != 0) {
        err = err_errno(error, errno, "cannot look at %s, the folder of the secrets store's key", folder);
    } else if (key_owner.st_uid != 0 && key_owner.st_uid != owner.st_uid) {
        err = err_set(error, TP_DENIED,
                      "root makes no key in %s, which belongs to user %u: put the key into a folder of root's and name "
                      "it with --key-file",
                      folder, (unsigned)key_owner.st_uid);
    } else {
        rekeying->uid = owner.st_uid;
        rekeying->gid = owner.st_gid;
        if (owner.st_uid != 0) {
            rekeying->apart = owner.st_uid == key_owner.st_uid ? APART_ALL : APART_STORE;
        }
    }
    mem_free(folder);
    mem_free(auth);
    return err;
}

/* ---- what is done to the store ---- */

static enum tp_err on_store(struct rekeying *rekeying, job_fn *job, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    rekeying->source.next = false;
    if (rekeying->apart != APART_STORE) {
        return job(rekeying, error);
    }
    secrets_key_open(&rekeying->source);
    err = run_apart(rekeying, job, error);
    secrets_key_close(&rekeying->source);
    return err;
}

/* Opens the store once, with the key or with the next one: which of them is it? */
static enum tp_err look(struct rekeying *rekeying, struct tp_error *error)
{
    struct secrets_key *source = &rekeying->source;
    const struct store_options options = {.key = secrets_key_get, .next_key = secrets_key_next, .key_ctx = source};
    struct store *store = NULL;
    struct stat info;
    if (stat(rekeying->dir, &info) != 0) {
        return err_set(error, TP_NOT_FOUND, "there is no secrets store %s; auth makes it at its first start",
                       rekeying->dir);
    }
    enum tp_err err = store_open(rekeying->dir, &options, &store, error);
    store_close(store);
    if (err == TP_INVALID && source->read) {
        err_prefix(error, "%s", source->path);
    }
    return err;
}

static enum tp_err seal(struct rekeying *rekeying, struct tp_error *error)
{
    const struct store_options options = {.key = secrets_key_get, .key_ctx = &rekeying->source};
    return store_rekey(rekeying->dir, &options, rekeying->new_key, error);
}

/* ---- the order of it ---- */

static enum tp_err change(struct rekeying *rekeying, struct tp_error *error)
{
    struct secrets_key *source = &rekeying->source;
    struct tp_error none = {0};
    enum tp_err err = secrets_key_make_next(source, rekeying->new_key, error);
    if (err != TP_OK) {
        return err;
    }
    err = on_store(rekeying, seal, error);
    secret_wipe(rekeying->new_key, sizeof rekeying->new_key);
    if (err != TP_OK && (on_store(rekeying, look, &none) != TP_OK || source->next)) {
        return err; /* it may be sealed with either: both stay, and the next call finds out */
    }
    if (err != TP_OK) {
        secrets_key_drop_next(source);
        return err;
    }
    return secrets_key_take_next(source, error);
}

static enum tp_err all(struct rekeying *rekeying, struct tp_error *error)
{
    enum tp_err err = on_store(rekeying, look, error);
    if (err != TP_OK) {
        return err;
    }
    if (rekeying->source.next) {
        rekeying->done = SECRETS_FINISHED;
        return secrets_key_take_next(&rekeying->source, error);
    }
    secrets_key_drop_next(&rekeying->source); /* of a call that ended before the store was sealed with it */
    return change(rekeying, error);
}

enum tp_err secrets_rekey(const char *data_dir, const char *path, enum secrets_rekeyed *ret_done,
                          struct tp_error *error)
{
    struct rekeying rekeying = {.dir = mem_printf("%s/auth/secrets", data_dir), .source = {.path = path, .fd = -1}};
    enum tp_err err = geteuid() == 0 ? choose_user(&rekeying, data_dir, error) : TP_OK;
    if (err == TP_OK) {
        err = rekeying.apart == APART_ALL ? run_apart(&rekeying, all, error) : all(&rekeying, error);
    }
    *ret_done = rekeying.done;
    mem_free(rekeying.dir);
    return err;
}
