#include <dirent.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "../server.h"

#ifndef SYS /* a test has another one */
#define SYS "/sys"
#endif
enum { LINE = 256, MOST_CLUSTERS = 32 };

static void add_features(text *t, const char *names) {
    const char *comma = "";
    while (*(names += strspn(names, " \t\n"))) {
        int size = (int)strcspn(names, " \t\n");
        add(t, "%s\"%.*s\"", comma, size, names);
        comma = ", ";
        names += size;
    }
}

#if defined(__aarch64__)
/* As arch/arm64/kernel/cpuinfo.c names them, by the bits of uapi/asm/hwcap.h. /proc/cpuinfo itself is another machine's
   under qemu. */
static const char *const hwcap[] = {
    "fp",     "asimd",    "evtstrm", "aes",   "pmull", "sha1",   "sha2",  "crc32",   "atomics", "fphp", "asimdhp",
    "cpuid",  "asimdrdm", "jscvt",   "fcma",  "lrcpc", "dcpop",  "sha3",  "sm3",     "sm4",     "asimddp",
    "sha512", "sve",      "asimdfhm", "dit",  "uscat", "ilrcpc", "flagm", "ssbs",    "sb",      "paca", "pacg"};
static const char *const hwcap2[] = {
    "dcpodp",    "sve2",      "sveaes",   "svepmull",  "svebitperm", "svesha3",   "svesm4",  "flagm2",   "frint",
    "svei8mm",   "svef32mm",  "svef64mm", "svebf16",   "i8mm",       "bf16",      "dgh",     "rng",      "bti",
    "mte",       "ecv",       "afp",      "rpres",     "mte3",       "sme",       "smei16i64", "smef64f64", "smei8i32",
    "smef16f32", "smeb16f32", "smef32f32", "smefa64",  "wfxt",       "ebf16",     "sveebf16", "cssc",    "rprfm",
    "sve2p1",    "sme2",      "sme2p1",   "smei16i32", "smebi32i32", "smeb16b16", "smef16f16", "mops",   "hbc",
    "sveb16b16", "lrcpc3",    "lse128",   "fpmr",      "lut",        "faminmax",  "f8cvt",   "f8fma",    "f8dp4",
    "f8dp2"};

static void add_bits(text *names, unsigned long bits, const char *const *name, size_t count) {
    for (size_t bit = 0; bit < count; bit++)
        if (bits >> bit & 1) add(names, "%s ", name[bit]);
}

static void add_own_features(text *t) {
    text names = {0};
    add_bits(&names, getauxval(AT_HWCAP), hwcap, sizeof hwcap / sizeof *hwcap);
    add_bits(&names, getauxval(AT_HWCAP2), hwcap2, sizeof hwcap2 / sizeof *hwcap2);
    add_features(t, names.data ? names.data : "");
    free(names.data);
}
#else
static void add_own_features(text *t) {
    char line[8192] = "";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "flags", 5)) break;
    if (file) fclose(file);
    const char *names = strncmp(line, "flags", 5) ? NULL : strchr(line, ':');
    add_features(t, names ? names + 1 : "");
}
#endif

/* A file about one CPU in sysfs, its line; whether there is one. */
static int read_cpu(int cpu, const char *name, char line[LINE]) {
    char path[LINE];
    snprintf(path, sizeof path, SYS "/devices/system/cpu/cpu%d/%s", cpu, name);
    return read_line(path, line, LINE);
}

typedef struct {
    unsigned long midr; /* implementer, part and more of an Arm core; 0: not known */
    long khz;           /* its highest clock; 0: not known */
    cpu_set_t cpus;
} cluster;

static void add_cluster(text *t, const cluster *c) {
    add(t, "{\"cpus\": \"");
    add_cpus(t, &c->cpus);
    add(t, "\", ");
    if (c->midr)
        add(t, "\"implementer\": \"0x%02lx\", \"part\": \"0x%03lx\"", c->midr >> 24 & 0xff, c->midr >> 4 & 0xfff);
    else
        add(t, "\"implementer\": null, \"part\": null");
    if (c->khz)
        add(t, ", \"max_mhz\": %ld}", c->khz / 1000);
    else
        add(t, ", \"max_mhz\": null}");
}

/* CPUs of the same core and the same highest clock are a cluster. */
static void add_clusters(text *t) {
    static cluster found[MOST_CLUSTERS];
    int count = 0;
    char line[LINE];
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed)) continue;
        cluster own = {0};
        if (read_cpu(cpu, "regs/identification/midr_el1", line)) own.midr = strtoul(line, NULL, 16);
        if (read_cpu(cpu, "cpufreq/cpuinfo_max_freq", line)) own.khz = atol(line);
        int i = 0;
        while (i < count && (found[i].midr != own.midr || found[i].khz != own.khz)) i++;
        if (i == MOST_CLUSTERS) continue;
        if (i == count) found[count++] = own;
        CPU_SET((size_t)cpu, &found[i].cpus);
    }
    for (int i = 0; i < count; i++) {
        add(t, i ? ", " : "");
        add_cluster(t, &found[i]);
    }
}

void describe_machine(text *t) {
    struct utsname system;
    uname(&system);
    add(t, "{\"server\": \"tvmconv " VERSION "\", \"tvm_ffi\": \"%s\", \"machine\": ", tvm_ffi_version());
    add_json(t, system.machine);
    add(t, ", \"system\": ");
    add_json(t, system.release);
    add(t, ", \"libc\": \"glibc %s\", \"page_bytes\": %ld, \"cpus\": \"", gnu_get_libc_version(), sysconf(_SC_PAGESIZE));
    add_cpus(t, &allowed);
    add(t, "\", \"features\": [");
    add_own_features(t);
    add(t, "], \"clusters\": [");
    add_clusters(t);
    add(t, "]}");
}

static void add_temperatures(text *t) {
    const char *const place = SYS "/class/thermal", *comma = "";
    DIR *zones = opendir(place);
    if (!zones) return;
    for (struct dirent *zone; (zone = readdir(zones));) {
        char path[2 * LINE], name[LINE], value[LINE];
        if (strncmp(zone->d_name, "thermal_zone", 12)) continue;
        snprintf(path, sizeof path, "%s/%s/type", place, zone->d_name);
        if (!read_line(path, name, sizeof name)) continue;
        snprintf(path, sizeof path, "%s/%s/temp", place, zone->d_name);
        if (!read_line(path, value, sizeof value)) continue;
        long milli = atol(value);
        if (milli <= -100000 || milli >= 200000 || !milli) continue; /* a sensor that is switched off */
        add(t, "%s", comma);
        add_json(t, name);
        add(t, ": %.1f", (double)milli / 1000);
        comma = ", ";
    }
    closedir(zones);
}

void read_sensors(text *t) {
    const char *comma = "";
    char line[LINE];
    add(t, "{\"mhz\": {");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &allowed) && read_cpu(cpu, "cpufreq/scaling_cur_freq", line)) {
            add(t, "%s\"%d\": %ld", comma, cpu, atol(line) / 1000);
            comma = ", ";
        }
    add(t, "}, \"celsius\": {");
    add_temperatures(t);
    add(t, "}}");
}
