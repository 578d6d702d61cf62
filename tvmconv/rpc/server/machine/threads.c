/* Pools of a session, of the implementation that Python's processes use (native/pool.c). */
#include <pthread.h>
#include <stdlib.h>
#include "pool.h"
#include "../server.h"

enum { MOST_POOLS = 64 };

typedef struct {
    pool *of;
    int thread;
    cpu_set_t cpus;
} helper;

static cpu_set_t places;
static struct {
    int threads;
    pool *made;
} pools[MOST_POOLS];
static int pool_count;

/* The pools that there are have lost their threads' places; they sleep from now on. */
void pool_cpus(const cpu_set_t *cpus) {
    places = *cpus;
    pool_count = 0;
}

static void *serve(void *argument) {
    helper mine = *(helper *)argument;
    free(argument);
    sched_setaffinity(0, sizeof mine.cpus, &mine.cpus); /* of this thread alone */
    tvmconv_pool_serve(mine.of, mine.thread);
    return NULL;
}

/* The CPUs of one thread: its own if there are as many as threads, as Linux puts two on one otherwise; else all. */
static cpu_set_t place(int thread, int threads) {
    if (CPU_COUNT(&places) != threads) return places;
    cpu_set_t own;
    CPU_ZERO(&own);
    for (size_t cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &places) && seen++ == (size_t)thread) CPU_SET(cpu, &own);
    return own;
}

static int start(pool *of, int thread, int threads) {
    pthread_t started;
    helper *mine = malloc(sizeof *mine);
    if (!mine) return -1;
    *mine = (helper){of, thread, place(thread, threads)};
    if (!pthread_create(&started, NULL, serve, mine)) return pthread_detach(started);
    free(mine);
    return -1;
}

static pool *known(int threads) {
    for (int i = 0; i < pool_count; i++)
        if (pools[i].threads == threads) return pools[i].made;
    return NULL;
}

static pool *make(int threads) {
    pool *made = pool_count < MOST_POOLS ? tvmconv_pool_allocate(threads) : NULL;
    if (!made) return NULL;
    tvmconv_pool_initialize(made, threads);
    for (int thread = 1; thread < threads; thread++)
        if (start(made, thread, threads)) return NULL;
    pools[pool_count].threads = threads;
    pools[pool_count++].made = made;
    return made;
}

int session_pool(int threads, void **found) {
    int most = CPU_COUNT(&places);
    if (threads < 1 || threads > most)
        return tvm_raise("ValueError", "%d threads: this session has %d CPUs; use 1 to %d, or pin it to more", threads, most, most);
    *found = NULL;
    cpu_set_t callers = place(0, threads);
    if (threads > 1) {
        pool *usable = known(threads);
        if (!usable) usable = make(threads);
        if (!usable) return tvm_raise("RuntimeError", "a pool of %d threads cannot be started", threads);
        *found = usable;
    }
    sched_setaffinity(0, sizeof callers, &callers);
    return 0;
}
