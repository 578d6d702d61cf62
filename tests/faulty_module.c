/* A module that TVM loads. Its functions do what no kernel should, and tell of threads and CPUs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tvm/ffi/c_api.h>
#include "tvmconv.h"
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

/* One bit for each of the first CPUs on which the calling thread may run. */
static int64_t places(void) {
    cpu_set_t cpus;
    int64_t bits = 0;
    sched_getaffinity(0, sizeof cpus, &cpus);
    for (int cpu = 0; cpu < 63; cpu++) bits |= (int64_t)!!CPU_ISSET(cpu, &cpus) << cpu;
    return bits;
}

FUNCTION(affinity) {
    (void)self, (void)arguments, (void)count;
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = places()};
    return 0;
}

/* Tasks that wait for each other, so that each has a thread of its own. */
typedef struct {
    _Atomic int32_t begun;
    int32_t wanted;
    _Atomic int64_t common, places; /* CPUs of more than one thread, of any */
} meeting;

static void meet(void *argument, int32_t i) {
    (void)i;
    meeting *all = argument;
    int64_t own = places();
    atomic_fetch_or(&all->common, atomic_fetch_or(&all->places, own) & own);
    atomic_fetch_add(&all->begun, 1);
    while (atomic_load(&all->begun) < all->wanted) sched_yield();
}

/* The pool's address and its threads: CPUs of all threads, or −1 where two of them share one. */
FUNCTION(spread) {
    (void)self, (void)count;
    const tvmconv_pool *pool = (const tvmconv_pool *)(intptr_t)arguments[0].v_int64;
    meeting all = {.wanted = (int32_t)arguments[1].v_int64};
    int failed = pool->parallel_for(pool->ctx, meet, &all, all.wanted);
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = failed || all.common ? -1 : all.places};
    return failed;
}
