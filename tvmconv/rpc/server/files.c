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
    return statvfs(path, &system) ? INT64_MAX : (int64_t)system.f_bavail * (int64_t)system.f_frsize;
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
        int server = atoi(entry->d_name + strlen(PREFIX));
        char path[PATH + 256];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        int ours = !lstat(path, &about) && S_ISDIR(about.st_mode) && about.st_uid == geteuid();
        if (ours && server > 0 && server != getpid() && kill(server, 0) && errno == ESRCH) remove_folder(path);
    }
    closedir(entries);
}

int inside(const folder *f, const TVMFFIAny *name, char path[PATH]) {
    TVMFFIByteArray bytes;
    if (tvm_bytes(name, &bytes)) return -1;
    int size = snprintf(path, PATH, "%s/%.*s", f->path, (int)bytes.size, bytes.data);
    if (size >= PATH || bytes.size > NAME_MAX || strlen(path) != (size_t)size)
        return tvm_raise("ValueError", "a file's name has %zu bytes, or a 0 in it: use one of at most %d", bytes.size, NAME_MAX);
    const char *relative = path + strlen(f->path) + 1;
    if (*relative == '/' || !strncmp(relative, "../", 3) || !strcmp(relative, "..") || strstr(relative, "/.."))
        return tvm_raise("ValueError", "%s is outside the session's folder: use a plain name", relative);
    return 0;
}

static int64_t stored;
static int count_one(const char *path, const struct stat *about, int kind, struct FTW *where) {
    (void)path, (void)where;
    if (kind == FTW_F) stored += about->st_size;
    return 0;
}

static int write_file(const char *path, const TVMFFIByteArray *content) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    if (fd < 0) return -1;
    size_t done = 0;
    for (ssize_t more = 0; done < content->size && more >= 0; done += more > 0 ? (size_t)more : 0) {
        more = write(fd, content->data + done, content->size - done);
        if (more < 0 && errno == EINTR) more = 0;
    }
    int error = done < content->size ? errno : 0;
    if (close(fd) && !error) error = errno;
    errno = error;
    return error ? -1 : 0;
}

int store(const folder *f, const char *path, const TVMFFIByteArray *content) {
    const char *name = path + strlen(f->path) + 1;
    stored = 0;
    nftw(f->path, count_one, OPEN_FILES, FTW_PHYS);
    int64_t room = f->most - stored, available = free_bytes(f->path);
    if (available < room) room = available;
    if ((int64_t)content->size > room)
        return tvm_raise("OSError", "%s: no space left on the device for %zu bytes, it has %" PRId64 " for this session",
                         name, content->size, room < 0 ? 0 : room);
    if (!write_file(path, content)) return 0;
    int error = errno;
    unlink(path);
    return tvm_raise("OSError", "%s: the device cannot store %zu bytes: %s", name, content->size, strerror(error));
}
