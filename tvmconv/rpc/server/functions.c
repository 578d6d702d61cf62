#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "server.h"

#if defined(__aarch64__)
enum { OWN_MACHINE = EM_AARCH64 };
#define OWN_NAME "aarch64"
#elif defined(__x86_64__)
enum { OWN_MACHINE = EM_X86_64 };
#define OWN_NAME "x86-64"
#endif

static const folder *own;

static int need(int32_t count, int32_t wanted, const char *function) {
    if (count == wanted) return 0;
    return tvm_raise("TypeError", "%s takes %d arguments, not %d", function, wanted, count);
}

static int return_text(text *t, TVMFFIAny *result) {
    int status = tvm_return_string(t->data ? t->data : "", result);
    free(t->data);
    return status;
}

static int workpath(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self;
    char path[PATH];
    if (need(count, 1, "workpath") || inside(own, arguments, path)) return -1;
    return tvm_return_string(path, result);
}

/* TVM's own writes without looking whether that succeeds. */
static int upload(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self, (void)result;
    char path[PATH];
    TVMFFIByteArray content;
    if (need(count, 2, "upload") || inside(own, arguments, path) || tvm_bytes(arguments + 1, &content)) return -1;
    return store(own, path, &content);
}

/* dlopen would say of another architecture's file that there is no such file. */
static int check_machine(const char *path) {
    Elf64_Ehdr header;
    FILE *file = fopen(path, "re");
    const char *name = path + strlen(own->path) + 1;
    if (!file) return tvm_raise("OSError", "%s: %s", name, strerror(errno));
    size_t found = fread(&header, sizeof header, 1, file);
    fclose(file);
    if (!found || memcmp(header.e_ident, ELFMAG, SELFMAG)) return tvm_raise("ValueError", "%s is no shared object", name);
    if (header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == OWN_MACHINE) return 0;
    const char *its = header.e_machine == EM_AARCH64 ? "aarch64" : header.e_machine == EM_X86_64 ? "x86-64" : "another machine";
    return tvm_raise("ValueError", "%s was made for %s, and this device is an " OWN_NAME, name, its);
}

static int load_module(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self;
    char path[PATH];
    if (need(count, 1, "load_module") || inside(own, arguments, path) || check_machine(path)) return -1;
    TVMFFIAny argument = {.type_index = kTVMFFIRawStr, .v_c_str = path};
    return tvm_call("ffi.ModuleLoadFromFile", &argument, 1, result);
}

static int listdir(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self;
    char path[PATH];
    if (need(count, 1, "listdir") || inside(own, arguments, path)) return -1;
    DIR *entries = opendir(path);
    if (!entries) return tvm_raise("OSError", "%s: %s", path, strerror(errno));
    text names = {0};
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) add(&names, "%s%s", names.size ? "," : "", entry->d_name);
    closedir(entries);
    return return_text(&names, result);
}

static int describe(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self, (void)arguments;
    if (need(count, 0, "describe")) return -1;
    text json = {0};
    describe_machine(&json);
    return return_text(&json, result);
}

static int sensors(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self, (void)arguments;
    if (need(count, 0, "sensors")) return -1;
    text json = {0};
    read_sensors(&json);
    return return_text(&json, result);
}

static int pin(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self, (void)result;
    char string[PATH];
    cpu_set_t cpus, common;
    if (need(count, 1, "pin") || tvm_string(arguments, "a list of CPUs", string, sizeof string)) return -1;
    if (parse_cpus(string, &cpus)) return tvm_raise("ValueError", "%s is not a list of CPUs such as 0,2-3", string);
    CPU_AND(&common, &cpus, &allowed);
    if (!CPU_EQUAL(&common, &cpus)) {
        text own_cpus = {0};
        add_cpus(&own_cpus, &allowed);
        tvm_raise("ValueError", "CPUs %s: this session may use %s", string, own_cpus.data);
        free(own_cpus.data);
        return -1;
    }
    if (pin_process(&cpus)) return tvm_raise("OSError", "CPUs %s: %s", string, strerror(errno));
    pool_cpus(&cpus);
    return 0;
}

static int pool_of(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    (void)self;
    if (need(count, 1, "pool")) return -1;
    if (arguments->type_index != kTVMFFIInt) return tvm_raise("TypeError", "pool takes a number of threads");
    int threads = arguments->v_int64 < 0 || arguments->v_int64 > CPU_SETSIZE ? 0 : (int)arguments->v_int64;
    void *pool;
    if (session_pool(threads, &pool)) return -1;
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = (int64_t)(intptr_t)pool};
    return 0;
}

void register_functions(const folder *f) {
    own = f;
    pool_cpus(&allowed);
    tvm_register("tvm.rpc.server.workpath", workpath);
    tvm_register("tvm.rpc.server.upload", upload);
    tvm_register("tvm.rpc.server.load_module", load_module);
    tvm_register("tvm.rpc.server.listdir", listdir);
    tvm_register("tvmconv.describe", describe);
    tvm_register("tvmconv.sensors", sensors);
    tvm_register("tvmconv.pin", pin);
    tvm_register("tvmconv.pool", pool_of);
}
