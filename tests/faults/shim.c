/* Counts the calls of a process, and of those that it forks, which reach files below a folder; at
 * one of them it ends all of them, as a power switch does, or lets the call fail.
 *
 * Built and preloaded by tests/faults/harness.py, which calls fault_arm in a forked process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, OPEN = 4, NAME = 8, REMOVE = 16, READ = 32, CREATE = 64 };

struct state {
    long count;      /* calls so far, of those that are counted */
    long of[128];    /* calls so far, by kind */
    long at;         /* the call at which it happens; 0 for never */
    int mask;        /* which calls are counted */
    int error;       /* what the call fails with; 0 to kill */
    int stays;       /* whether all later ones fail too */
    int torn;        /* whether half of a write is done before the kill */
    int log;         /* where what reached the disk is written down; 0 for nowhere */
    char root[4096]; /* the folder */
};
static struct state *state;

__attribute__((constructor)) static void start(void) {
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void fault_arm(const char *root, int mask, long at, int error, int stays, int torn) {
    memset(state, 0, sizeof *state);
    state->at = at;
    state->mask = mask;
    state->error = error;
    state->stays = stays;
    state->torn = torn;
    strncpy(state->root, root, sizeof state->root - 1);
}

/* Write down from now on, in a file, what is done to others. */
void fault_log(int descriptor) { state->log = descriptor; }

struct entry {
    long operation, inode, at, size, path, other; /* the last three are the lengths of what follows */
};

static void note(int operation, long inode, long at, const char *path, const char *other,
                 const void *data, size_t size) {
    if (!state || !state->log || !state->root[0]) return;
    struct entry entry = {operation, inode, at, (long)size, path ? strlen(path) : 0, other ? strlen(other) : 0};
    struct iovec parts[] = {{&entry, sizeof entry},
                            {(void *)path, entry.path},
                            {(void *)other, entry.other},
                            {(void *)data, size}};
    syscall(SYS_writev, state->log, parts, 4);
}

/* Return whether a file is one that is written down, and which. */
static int is_noted(int fd, struct stat *found) {
    char path[4096], link[64];
    if (!state || !state->log || !state->root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    size_t root = strlen(state->root) - 1; /* without the slash: the folder itself counts */
    return !strncmp(path, state->root, root) && !fstat(fd, found);
}

static void note_fd(int operation, int fd, long at, const void *data, size_t size) {
    struct stat found;
    int before = errno;
    if (is_noted(fd, &found)) note(operation, found.st_ino, at, NULL, NULL, data, size);
    errno = before;
}

static void note_name(int operation, const char *path, const char *other) {
    struct stat found = {0};
    int before = errno;
    if (state && state->log && path && !strncmp(other ? other : path, state->root, strlen(state->root))) {
        lstat(other ? other : path, &found);
        note(operation, found.st_ino, 0, path, other, NULL, 0);
    }
    errno = before;
}

/* Return how many calls there were that a mask counts. */
long fault_count(int mask) {
    long sum = 0;
    for (int kind = 1; kind < 128; kind++)
        if (kind & mask) sum += state->of[kind];
    return sum;
}

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = next(name)

static const char *path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static const char *path_at(int fd, const char *name, char *path) {
    if (!name || name[0] == '/' || fd == AT_FDCWD) return name;
    path_of(fd, path);
    strncat(path, "/", 4095 - strlen(path));
    strncat(path, name, 4095 - strlen(path));
    return path;
}

/* Return whether this is the call; where that means death, it does not return. */
static int is_it(int kind, const char *path) {
    if (!state || !path || !state->root[0]) return 0;
    if (strncmp(path, state->root, strlen(state->root))) return 0;
    __atomic_add_fetch(&state->of[kind], 1, __ATOMIC_SEQ_CST);
    if (!(state->mask & kind)) return 0;
    long number = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    if (!state->at || number < state->at || (number > state->at && !state->stays)) return 0;
    if (!state->error && !state->torn) {
        kill(0, SIGKILL);
        for (;;) pause();
    }
    errno = state->error;
    return 1;
}

static int is_it_fd(int kind, int fd) {
    char path[4096];
    int before = errno;
    int found = is_it(kind, path_of(fd, path));
    if (!found) errno = before;
    return found;
}

/* Half of a write, and then the end. */
static ssize_t torn(ssize_t done) {
    kill(0, SIGKILL);
    for (;;) pause();
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (is_it_fd(WRITE, fd)) return state->torn ? torn(real(fd, data, size / 2)) : -1;
    off_t at = state && state->log ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real(fd, data, size);
    if (done > 0) note_fd('w', fd, at, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    if (is_it_fd(WRITE, fd)) return state->torn ? torn(real(fd, data, size / 2, at)) : -1;
    ssize_t done = real(fd, data, size, at);
    if (done > 0) note_fd('w', fd, at, data, done);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (is_it_fd(WRITE, fd)) return state->torn ? torn(0) : -1;
    return real(fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    if (is_it_fd(WRITE, fd)) return state->torn ? torn(real(fd, parts, count / 2, at)) : -1;
    ssize_t done = real(fd, parts, count, at), left = done;
    for (int part = 0; left > 0; left -= parts[part].iov_len, at += parts[part++].iov_len)
        note_fd('w', fd, at, parts[part].iov_base, (size_t)left < parts[part].iov_len ? (size_t)left : parts[part].iov_len);
    return done;
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return pwritev(fd, parts, count, at); }
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
    if (is_it_fd(WRITE, to)) return state->torn ? torn(0) : -1;
    return real(to, from, at, size);
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) { return sendfile(to, from, at, size); }
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    if (is_it_fd(WRITE, fd)) return state->torn ? (int)torn(0) : -1;
    int failed = real(fd, size);
    if (!failed) note_fd('t', fd, size, NULL, 0);
    return failed;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int fsync(int fd) {
    REAL(int, "fsync", int);
    if (is_it_fd(SYNC, fd)) return -1;
    int failed = real(fd);
    if (!failed) note_fd('s', fd, 0, NULL, 0);
    return failed;
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    if (is_it_fd(SYNC, fd)) return -1;
    int failed = real(fd);
    if (!failed) note_fd('s', fd, 0, NULL, 0);
    return failed;
}
ssize_t read(int fd, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    return is_it_fd(READ, fd) ? -1 : real(fd, data, size);
}
ssize_t pread(int fd, void *data, size_t size, off_t at) {
    REAL(ssize_t, "pread", int, void *, size_t, off_t);
    return is_it_fd(READ, fd) ? -1 : real(fd, data, size, at);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) { return pread(fd, data, size, at); }
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(ssize_t, "preadv", int, const struct iovec *, int, off_t);
    return is_it_fd(READ, fd) ? -1 : real(fd, parts, count, at);
}
ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at) { return preadv(fd, parts, count, at); }

static int opened(int folder, const char *name, int flags, mode_t mode) {
    REAL(int, "openat", int, const char *, int, ...);
    char path[4096];
    int kind = flags & O_CREAT ? OPEN | CREATE : OPEN;
    if (is_it(kind, path_at(folder, name, path))) return -1;
    int fd = real(folder, name, flags, mode);
    if (fd >= 0 && flags & O_CREAT) note_name('c', path_at(folder, name, path), NULL);
    if (fd >= 0 && flags & O_TRUNC) note_fd('t', fd, 0, NULL, 0);
    return fd;
}
#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
int open(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags, mode); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (is_it(NAME, to)) return -1;
    int failed = real(from, to);
    if (!failed) note_name('r', from, to);
    return failed;
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    char path[4096];
    return is_it(NAME, path_at(to_folder, to, path)) ? -1 : real(from_folder, from, to_folder, to);
}
int link(const char *from, const char *to) {
    REAL(int, "link", const char *, const char *);
    if (is_it(NAME, to)) return -1;
    int failed = real(from, to);
    if (!failed) note_name('l', from, to);
    return failed;
}
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    char path[4096], other[4096];
    if (is_it(NAME, path_at(to_folder, to, path))) return -1;
    int failed = real(from_folder, from, to_folder, to, flags);
    if (!failed) note_name('l', path_at(from_folder, from, other), path_at(to_folder, to, path));
    return failed;
}
int mkdir(const char *name, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    if (is_it(NAME, name)) return -1;
    int failed = real(name, mode);
    if (!failed) note_name('m', name, NULL);
    return failed;
}
int unlink(const char *name) {
    REAL(int, "unlink", const char *);
    if (is_it(REMOVE, name)) return -1;
    int failed = real(name);
    if (!failed) note_name('u', name, NULL);
    return failed;
}
int unlinkat(int folder, const char *name, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    char path[4096];
    if (is_it(REMOVE, path_at(folder, name, path))) return -1;
    int failed = real(folder, name, flags);
    if (!failed) note_name('u', path_at(folder, name, path), NULL);
    return failed;
}
int rmdir(const char *name) {
    REAL(int, "rmdir", const char *);
    if (is_it(REMOVE, name)) return -1;
    int failed = real(name);
    if (!failed) note_name('u', name, NULL);
    return failed;
}
