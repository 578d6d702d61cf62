/* A program that proves its layers exact and times them: compile --standalone. Linux and Android, without libraries. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include "cpu_list.h"
#include "pool.h"
#include "standalone.h"

enum { ALIGNMENT = 64, MOST_CPUS = 1024, STACK = 1 << 20, FAILED = 1, WRONG_CALL = 2 };

static const char usage[] =
    "usage: %s [--threads N] [--cpus LIST] [--num_runs N] [--warmup_runs N] [--json]\n\n"
    "Proves each of its %d layers exact on integer data, then times it. Made for %s by tvmconv.\n\n"
    "  --threads N      threads that compute (default: 1)\n"
    "  --cpus LIST      CPUs for them, as in 0,2-3, one for each thread (default: any)\n"
    "  --num_runs N     timed runs of each layer (default: 50)\n"
    "  --warmup_runs N  runs before them (default: 5)\n"
    "  --json           one JSON object a line, as `tvmconv bench --json` prints them\n\n"
    "Exit codes: 0 all exact, 1 a layer is not or failed, 2 the call was wrong.\n";

typedef struct {
    int32_t threads, runs, warmup_runs, json;
    int cpu_count, cpus[MOST_CPUS];
} options;

static void refuse(const char *what, const char *text, const char *right) {
    fprintf(stderr, "%s%s %s (--help says more)\n", what, text, right);
    exit(WRONG_CALL);
}

static int32_t number(const char *option, const char *text, int32_t least, int32_t most) {
    char *end, right[64];
    long value = strtol(text, &end, 10);
    if (end != text && !*end && value >= least && value <= most) return (int32_t)value;
    snprintf(right, sizeof right, "is not a whole number from %d to %d", least, most);
    fprintf(stderr, "%s ", option);
    refuse("", text, right);
    return 0;
}

static options parse(int argc, char **argv) {
    static const struct option known[] = {
        {"threads", required_argument, NULL, 't'}, {"cpus", required_argument, NULL, 'c'},
        {"num_runs", required_argument, NULL, 'n'}, {"warmup_runs", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0},
    };
    options o = {.threads = 1, .runs = 50, .warmup_runs = 5};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) switch (option) {
            case 't': o.threads = number("--threads", optarg, 1, MOST_CPUS); break;
            case 'c':
                o.cpu_count = tvmconv_cpu_list(optarg, MOST_CPUS, o.cpus);
                if (o.cpu_count < 0) refuse("--cpus ", optarg, "is not a list of CPUs such as 0,2-3");
                break;
            case 'n': o.runs = number("--num_runs", optarg, 1, 100000000); break;
            case 'w': o.warmup_runs = number("--warmup_runs", optarg, 0, 100000000); break;
            case 'j': o.json = 1; break;
            case 'h': printf(usage, argv[0], layer_count, target); exit(0);
            default: refuse("", argv[optind - 1], "is no option, or lacks its value");
        }
    if (optind < argc) refuse("", argv[optind], "is no option: the layers are those compiled in");
    if (o.cpu_count && o.cpu_count < o.threads) refuse("--cpus", "", "must name a CPU for each thread, each once");
    if (o.cpu_count) o.cpu_count = o.threads;
    return o;
}

/* The value of a line of /proc/cpuinfo, "" if there is none; the line lives as long as the program. */
static const char *cpuinfo(const char *key) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char *line = NULL, *value = NULL;
    for (size_t size = 0; file && !value && getline(&line, &size, file) > 0;)
        if (!strncmp(line, key, strlen(key)) && strchr(" \t:", line[strlen(key)])) value = strchr(line, ':');
    if (file) fclose(file);
    if (!value) return "";
    value[strcspn(value, "\n")] = 0;
    return value + 1 + strspn(value + 1, " ");
}

/* As Linux lists them; of this program's architecture alone: qemu-user shows the file of the machine that emulates. */
static const char *cpu_features(void) {
#if defined(__x86_64__)
    return cpuinfo("flags");
#else
    return cpuinfo("Features");
#endif
}

static int has_feature(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += length)
        if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ' ')) return 1;
    return 0;
}

/* Whether all that the kernels need is there; of an unknown CPU it is taken for granted. */
static int runs_here(void) {
    const char *list = cpu_features();
    for (const char *const *name = features; *list && *name; name++)
        if (!has_feature(list, *name)) {
            fprintf(stderr, "this was made for %s, and this machine lacks %s\n", target, *name);
            return 0;
        }
    return 1;
}

static int pin(int32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

typedef struct {
    pool *pool;
    int32_t thread, cpu;
} helper;

static void *serve(void *argument) {
    helper own = *(helper *)argument;
    free(argument);
    if (own.cpu >= 0) pin(own.cpu);
    tvmconv_pool_serve(own.pool, own.thread);
    return NULL;
}

/* A running pool, the caller in its place too; NULL for one thread. Ends the program where it cannot be had. */
static const tvmconv_pool *start_pool(const options *o) {
    for (int32_t i = 0; i < o->cpu_count; i++) /* each once, to know that it may be used; the caller's own last */
        if (pin(o->cpus[o->cpu_count - 1 - i])) {
            fprintf(stderr, "--cpus: no CPU %d for this process: %s\n", o->cpus[o->cpu_count - 1 - i], strerror(errno));
            exit(WRONG_CALL);
        }
    if (o->threads == 1) return NULL;
    pool *p = tvmconv_pool_allocate(o->threads);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    if (p) tvmconv_pool_initialize(p, o->threads);
    for (int32_t i = 1; i < o->threads; i++) {
        helper *own = malloc(sizeof *own);
        pthread_t thread;
        if (own) *own = (helper){p, i, o->cpu_count ? o->cpus[i] : -1};
        if (!p || !own || pthread_create(&thread, &attributes, serve, own)) {
            fprintf(stderr, "there is no memory for %d threads\n", o->threads);
            exit(FAILED);
        }
    }
    return (const tvmconv_pool *)p;
}

typedef struct {
    const char *status, *reason; /* as in a row of bench */
    char text[160];
    double error, median, p20, p80; /* seconds; of a layer that is exact */
} result;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

/* Of sorted values, between two of them in proportion. */
static double quantile(const double *sorted, int32_t count, double share) {
    double place = share * (count - 1);
    int32_t below = (int32_t)place;
    return below + 1 == count ? sorted[below] : sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

static void *memory(size_t bytes) { return aligned_alloc(ALIGNMENT, (bytes / ALIGNMENT + 1) * ALIGNMENT); }

/* Whether y is exact; the result says what is wrong. */
static int exact(const layer *l, const problem *p, const float *y, result *r, const char *when) {
    r->error = largest_error(l, p, y);
    if (r->error == 0) return 1;
    r->status = "mismatch";
    if (r->error != r->error) snprintf(r->text, sizeof r->text, "an output is NaN %s", when);
    else snprintf(r->text, sizeof r->text, "outputs are wrong %s, by %g at most", when, r->error);
    r->reason = r->text;
    return 0;
}

static void measure(const layer *l, const problem *p, const options *o, const tvmconv_pool *pool, result *r) {
    size_t x_bytes = x_size(l) * sizeof(float), y_bytes = y_size(l) * sizeof(float);
    float *x = memory(x_bytes), *y = memory(y_bytes);
    void *packed = memory(l->packed_bytes()), *workspace = memory(l->workspace_bytes(o->threads));
    double *times = malloc(o->runs * sizeof *times);
    int status = -1;
    r->status = "error", r->reason = "there is no memory for it";
    if (x && y && packed && workspace && times) {
        memcpy(x, p->x, x_bytes);
        memset(y, 0xff, y_bytes); /* NaN */
        status = l->pack(p->w, p->bias, packed) | l->clamp(p->lower, p->upper, packed) | l->prepare(workspace);
        if (!status) status = l->run(x, packed, y, workspace, pool);
        r->reason = status ? "a function of it returned a status" : NULL;
    }
    if (!status && exact(l, p, y, r, "in the first run")) {
        for (int32_t i = 0; i < o->warmup_runs; i++) l->run(x, packed, y, workspace, pool);
        for (int32_t i = 0; i < o->runs; i++) {
            double start = seconds_now();
            l->run(x, packed, y, workspace, pool);
            times[i] = seconds_now() - start;
        }
        qsort(times, o->runs, sizeof *times, ascending);
        r->median = quantile(times, o->runs, 0.5);
        r->p20 = quantile(times, o->runs, 0.2), r->p80 = quantile(times, o->runs, 0.8);
        if (exact(l, p, y, r, "after many runs")) r->status = "ok";
    }
    free(x), free(y), free(packed), free(workspace), free(times);
}

static double flops(const layer *l) {
    return 2.0 * y_size(l) * (l->ic / l->g) * l->kh * l->kw; /* padding counted */
}

static void print_string(const char *text) {
    putchar('"');
    for (; *text; text++) (unsigned char)*text < ' ' ? printf("\\u%04x", *text) : printf(strchr("\"\\", *text) ? "\\%c" : "%c", *text);
    putchar('"');
}

static void print_context(int argc, char **argv) {
    struct utsname system;
    char now[32];
    time_t seconds = time(NULL);
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S+00:00", gmtime(&seconds));
    const char *name = cpuinfo("model name");
    printf("{%s, \"argv\": [", context);
    for (int i = 1; i < argc; i++) printf(i > 1 ? ", " : ""), print_string(argv[i]);
    printf("], \"cpu\": ");
    print_string(*name || uname(&system) ? name : system.machine);
    printf(", \"features\": [");
    char *list = strdup(cpu_features()), *rest = list;
    for (char *word = strtok_r(list, " ", &rest), *comma = ""; word; word = strtok_r(NULL, " ", &rest), comma = ", ") {
        printf("%s", comma);
        print_string(word);
    }
    free(list);
    printf("], \"time\": \"%s\"}\n", now);
}

static void print_row(const layer *l, const options *o, const result *r) {
    int ok = !strcmp(r->status, "ok");
    printf("{%s, \"threads\": %d, \"cpus\": [", l->row, o->threads);
    for (int32_t i = 0; i < o->cpu_count; i++) printf("%s%d", i ? ", " : "", o->cpus[i]);
    printf("], \"status\": \"%s\", \"verified\": %s, \"exact\": %s", r->status, ok ? "true" : "false", ok ? "true" : "false");
    printf(r->error == r->error ? ", \"max_error\": %g, \"reason\": " : ", \"max_error\": null, \"reason\": ", r->error);
    if (r->reason) print_string(r->reason);
    else printf("null");
    if (ok)
        printf(", \"seconds\": {\"median\": %.9g, \"p20\": %.9g, \"p80\": %.9g, \"n\": %d}, \"gflops\": %.6g, "
               "\"rounds\": {\"n\": %d, \"repeated\": 0, \"slow\": 0}}\n",
               r->median, r->p20, r->p80, o->runs, flops(l) / r->median / 1e9, o->runs);
    else
        printf(", \"seconds\": null, \"gflops\": null, \"rounds\": null}\n");
}

static void print_line(const layer *l, const result *r) {
    if (strcmp(r->status, "ok")) printf("%-60s %s: %s\n", l->title, r->status, r->reason);
    else
        printf("%-60s %9.3f %9.3f %9.3f %9.1f  exact\n", l->title, r->median * 1e3, r->p20 * 1e3, r->p80 * 1e3,
               flops(l) / r->median / 1e9);
}

int main(int argc, char **argv) {
    options o = parse(argc, argv);
    if (!runs_here()) return FAILED;
    const tvmconv_pool *pool = start_pool(&o);
    if (o.json) print_context(argc, argv);
    else printf("%-60s %9s %9s %9s %9s\n", target, "median ms", "p20", "p80", "GFLOP/s");
    int code = 0;
    for (int32_t i = 0; i < layer_count; i++) {
        problem p;
        result r = {.status = "error", .reason = "there is no memory for its problem", .error = 0.0 / 0.0};
        if (make_problem(&layers[i], &p)) measure(&layers[i], &p, &o, pool, &r);
        free_problem(&p);
        if (o.json) print_row(&layers[i], &o, &r);
        else print_line(&layers[i], &r);
        fflush(stdout);
        if (strcmp(r.status, "ok")) code = FAILED;
    }
    return code;
}
