#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "server.h"

static const char usage[] =
    "usage: tvmconv-server [OPTION VALUE]...\n\n"
    "Serves TVM's RPC protocol. Whoever reaches its port runs code here: it listens on loopback unless told otherwise.\n\n"
    "  --host ADDRESS        where to listen (default: 127.0.0.1; :: is everywhere)\n"
    "  --port N              default: 9090; 0: any that is free\n"
    "  --tracker HOST:PORT   register there, with --key; clients then come through it alone\n"
    "  --key KEY             what this device is called\n"
    "  --custom-addr HOST    where the tracker's clients find us (default: where the tracker sees us)\n"
    "  --lib DIR[:DIR]       have libtvm_ffi.so and libtvm_runtime.so (default: this program's folder)\n"
    "  --work DIR            where sessions have their folders (default: /tmp)\n"
    "  --disk BYTES          that a session may store (default: half of what is free, at most 1 GB)\n"
    "  --cpus LIST           CPUs to run on, as in 0,2-3 (default: all)\n"
    "  --session-timeout S   most seconds of a session, whatever its client asks for (default: 3600; 0: no limit)\n"
    "  --stop-at-eof         end when stdin does\n"
    "  --version, --help\n\n"
    "The first line on stdout is `listening on HOST:PORT`.\n";

enum { INTERRUPTED = 130 }; /* as shells, and tvmconv, have it for Ctrl-C */

typedef struct {
    const char *host, *key, *lib;
    int port, has_tracker;
    tracker registry;
    session_rules rules;
} options;

__attribute__((noreturn)) static void refuse(const char *option, const char *value, const char *right) {
    fprintf(stderr, "tvmconv-server: %s %s is not %s (--help says more)\n", option, value, right);
    exit(2);
}

static double number(const char *option, const char *value, double most, const char *right) {
    char *end;
    double found = strtod(value, &end);
    if (end == value || *end || !(found >= 0 && found <= most)) refuse(option, value, right);
    return found;
}

static double whole(const char *option, const char *value, double most, const char *right) {
    double found = number(option, value, most, right);
    if (found != floor(found)) refuse(option, value, right);
    return found;
}

static void check_key(const char *key) {
    int wrong = !*key || strlen(key) >= KEY;
    for (const char *c = key; *c; c++) wrong |= *c <= ' ' || *c >= 0x7f;
    if (wrong) refuse("--key", key, "a name of printable ASCII without blanks");
}

static void pin_server(const char *list) {
    cpu_set_t cpus;
    if (parse_cpus(list, &cpus)) refuse("--cpus", list, "a list of CPUs such as 0,2-3");
    if (pin_process(&cpus)) refuse("--cpus", list, "what this device has");
}

static void own_folder(char path[PATH]) {
    ssize_t size = readlink("/proc/self/exe", path, PATH - 1);
    path[size > 0 ? size : 0] = 0;
    char *name = strrchr(path, '/');
    if (name) *name = 0;
}

static options parse(int count, char **arguments) {
    enum { HOST, PORT, TRACKER, KEY_, CUSTOM, LIB, WORK, DISK, CPUS, TIMEOUT, EOF_, VERSION_, HELP };
    static const struct option known[] = {
        {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"tracker", 1, 0, TRACKER}, {"key", 1, 0, KEY_},
        {"custom-addr", 1, 0, CUSTOM}, {"lib", 1, 0, LIB}, {"work", 1, 0, WORK}, {"disk", 1, 0, DISK},
        {"cpus", 1, 0, CPUS}, {"session-timeout", 1, 0, TIMEOUT}, {"stop-at-eof", 0, 0, EOF_},
        {"version", 0, 0, VERSION_}, {"help", 0, 0, HELP}, {0}};
    static char folder[PATH];
    own_folder(folder);
    options o = {"127.0.0.1", "", folder, 9090, 0, {.fd = -1}, {"/tmp", 3600, 0, -1}};
    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) switch (option) {
            case HOST: o.host = optarg; break;
            case PORT: o.port = (int)whole("--port", optarg, 65535, "a port, or 0 for any"); break;
            case TRACKER:
                if (split_address(optarg, o.registry.host, o.registry.port)) refuse("--tracker", optarg, "HOST:PORT or [IPV6]:PORT");
                o.has_tracker = 1;
                break;
            case KEY_: check_key(o.key = optarg); break;
            case CUSTOM: o.registry.custom = optarg; break;
            case LIB: o.lib = optarg; break;
            case WORK: o.rules.work = optarg; break;
            case DISK: o.rules.most = (int64_t)whole("--disk", optarg, 1e15, "a number of bytes, 0 to 1e15"); break;
            case CPUS: pin_server(optarg); break;
            case TIMEOUT: o.rules.longest = number("--session-timeout", optarg, MOST_SECONDS, "a number of seconds, 0 to 1e9"); break;
            case EOF_: watch_stdin = 1; break;
            case VERSION_: puts("tvmconv-server " VERSION); exit(0);
            case HELP: fputs(usage, stdout); exit(0);
            default: exit(2); /* getopt has said why */
        }
    if (optind < count) refuse("argument", arguments[optind], "known");
    if (o.has_tracker && !*o.key) refuse("--tracker", "without --key", "enough: name this device");
    return o;
}

/* What the next client has to know; NULL while the tracker does not know us. */
static const char *match_of(const options *o) {
    if (!o->has_tracker) return o->key;
    return o->registry.match[0] ? o->registry.match : NULL;
}

static void serve(options *o, pending_clients *clients) {
    while (!stopping) {
        double timeout;
        if (o->has_tracker && now() >= o->registry.next) tracker_check(&o->registry);
        clients->match = match_of(o);
        int fd = next_client(clients, &timeout);
        if (fd < 0) {
            attend(clients, -1, o->has_tracker ? o->registry.next : INFINITY);
            continue;
        }
        if (o->has_tracker) clients->match = NULL; /* it is good for one client */
        o->rules.tracker = o->registry.fd;
        if (!welcome(fd, o->key)) run_session(fd, timeout, &o->rules, clients);
        close(fd);
        if (o->has_tracker && !stopping) tracker_offer(&o->registry);
    }
}

int main(int count, char **arguments) {
    char address[ADDRESS];
    static pending_clients clients;
    options o = parse(count, arguments);
    sched_getaffinity(0, sizeof allowed, &allowed);
    catch_signals();
    load_tvm(o.lib);
    remove_abandoned(o.rules.work);
    pending_open(&clients, listen_on(o.host, o.port, address, &o.registry.own_port));
    snprintf(o.registry.key, sizeof o.registry.key, "%s", o.key);
    if (o.has_tracker) tracker_offer(&o.registry);
    printf("listening on %s\n", address);
    fflush(stdout);
    serve(&o, &clients);
    if (o.registry.fd >= 0) close(o.registry.fd);
    return stopping == SIGINT ? INTERRUPTED : 0;
}
