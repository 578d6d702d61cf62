#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "server.h"

#define PREFIX "tvmconv-session-"
enum { OPEN_FILES = 16 };
static const int64_t MOST = (int64_t)1 << 30;

static int64_t free_bytes(const char *path) {
    struct statvfs system;
    int64_t bytes;
    if (statvfs(path, &system) || __builtin_mul_overflow(system.f_bavail, system.f_frsize, &bytes)) return INT64_MAX;
    return bytes;
}

int make_folder(const char *parent, int64_t most, folder *made) {
    snprintf(made->path, sizeof made->path, "%s/" PREFIX "%d-XXXXXX", parent, getpid());
    if (!mkdtemp(made->path)) {
        say("no folder for a session can be made in %s: %s (--work DIR names another place)", parent, strerror(errno));
        return -1;
    }
    int64_t half = free_bytes(made->path) / 2;
    made->most = most ? most : half < MOST ? half : MOST;
    return 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where) {
    (void)about, (void)kind, (void)where;
    remove(path);
    return 0;
}

/* What cannot be listed has its permissions mended first: a session may have taken them away. */
static int mend_one(const char *path, const struct stat *about, int kind, struct FTW *where) {
    (void)about, (void)where;
    if (kind == FTW_D || kind == FTW_DNR) chmod(path, 0700);
    return 0;
}

void remove_folder(const char *path) {
    nftw(path, mend_one, OPEN_FILES, FTW_PHYS);
    nftw(path, remove_one, OPEN_FILES, FTW_DEPTH | FTW_PHYS);
}

void remove_abandoned(const char *parent) {
    DIR *entries = opendir(parent);
    if (!entries) return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX))) continue;
        long server = strtol(entry->d_name + strlen(PREFIX), NULL, 10);
        char path[PATH + 256];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        int ours = !lstat(path, &about) && S_ISDIR(about.st_mode) && about.st_uid == geteuid();
        if (ours && server > 0 && server <= INT_MAX && server != getpid() && kill((pid_t)server, 0) && errno == ESRCH)
            remove_folder(path);
    }
    closedir(entries);
}

/* Whether a relative path goes up somewhere. */
static int goes_up(const char *path) {
    for (const char *name = path; *name; name += strspn(name, "/")) {
        size_t size = strcspn(name, "/");
        if (size == 2 && !strncmp(name, "..", 2)) return 1;
        name += size;
    }
    return 0;
}

int inside(const folder *f, const TVMFFIAny *name, char path[PATH]) {
    char relative[NAME_MAX + 1];
    if (tvm_string(name, "a file's name", relative, sizeof relative)) return -1;
    if (*relative == '/' || goes_up(relative))
        return tvm_raise("ValueError", "%s is outside the session's folder: use a plain name", relative);
    if (snprintf(path, PATH, "%s/%s", f->path, relative) >= PATH)
        return tvm_raise("ValueError", "%s is too long behind %s: use a shorter name", relative, f->path);
    return 0;
}

static int64_t stored;
static int count_one(const char *path, const struct stat *about, int kind, struct FTW *where) {
    (void)path, (void)where;
    if (kind == FTW_F) stored += about->st_size;
    return 0;
}

/* Bytes that are free again when a new file takes the place of the one there. */
static int64_t replaced_bytes(const char *path) {
    struct stat about;
    return !lstat(path, &about) && S_ISREG(about.st_mode) ? about.st_size : 0;
}

/* A file of its own in the place of what is there: that may be loaded as a library, or be a link or a pipe. */
static int write_file(const char *path, const TVMFFIByteArray *content) {
    if (unlink(path) && errno != ENOENT) return -1;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd < 0) return -1;
    size_t done = 0;
    for (ssize_t more = 0; done < content->size && more >= 0; done += more > 0 ? (size_t)more : 0) {
        more = write(fd, content->data + done, content->size - done);
        if (more < 0 && errno == EINTR) more = 0;
    }
    int error = done < content->size ? errno : 0;
    if (close(fd) && !error) error = errno;
    if (error) unlink(path);
    errno = error;
    return error ? -1 : 0;
}

int store(const folder *f, const char *path, const TVMFFIByteArray *content) {
    const char *name = path + strlen(f->path) + 1;
    stored = 0;
    nftw(f->path, count_one, OPEN_FILES, FTW_PHYS);
    int64_t room = f->most - stored, available = free_bytes(f->path);
    if (available < room) room = available;
    room += replaced_bytes(path);
    if ((int64_t)content->size > room)
        return tvm_raise("OSError", "%s: no space left on the device for %zu bytes, it has %" PRId64 " for this session",
                         name, content->size, room < 0 ? 0 : room);
    if (!write_file(path, content)) return 0;
    return tvm_raise("OSError", "%s: the device cannot store %zu bytes: %s", name, content->size, strerror(errno));
}
