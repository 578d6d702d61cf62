/* A module that TVM loads, whose functions do what no kernel should. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

#define FUNCTION(name) int __tvm_ffi_##name(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result)
#define IGNORE_ARGUMENTS (void)self, (void)arguments, (void)count, (void)result

FUNCTION(crash) {
    IGNORE_ARGUMENTS;
    *(volatile int *)16 = 1;
    return 0;
}

FUNCTION(loop) {
    IGNORE_ARGUMENTS;
    if (write(2, "looping\n", 8) < 0) return -1;
    for (volatile int forever = 1; forever;) {}
    return 0;
}

/* Writes far beyond what it was given: over the heap's own data, until there is no memory. */
FUNCTION(stray) {
    IGNORE_ARGUMENTS;
    volatile char *small = malloc(16);
    for (long i = 0;; i++) small[i] = 1;
    return 0;
}

FUNCTION(leave) {
    IGNORE_ARGUMENTS;
    _exit(7);
}

/* Fills a file as long as that works, and returns its bytes. */
FUNCTION(fill) {
    (void)self, (void)arguments, (void)count;
    static char block[1 << 16];
    int64_t size = 0;
    int fd = open("junk", O_WRONLY | O_CREAT, 0600);
    for (ssize_t more; (more = write(fd, block, sizeof block)) > 0;) size += more;
    close(fd);
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = size};
    return 0;
}

/* Leaves a process and a folder that cannot be listed; returns the process. */
FUNCTION(litter) {
    (void)self, (void)arguments, (void)count;
    mkdir("closed", 0700);
    close(open("closed/file", O_WRONLY | O_CREAT, 0600));
    chmod("closed", 0);
    pid_t child = fork();
    if (!child)
        for (;;) sleep(100);
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = child};
    return 0;
}
