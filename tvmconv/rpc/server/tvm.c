#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "server.h"

static struct {
    __typeof__(&TVMFFIGetVersion) get_version;
    __typeof__(&TVMFFIObjectDecRef) release;
    __typeof__(&TVMFFIFunctionGetGlobal) find;
    __typeof__(&TVMFFIFunctionSetGlobal) set;
    __typeof__(&TVMFFIFunctionCreate) create;
    __typeof__(&TVMFFIFunctionCall) call;
    __typeof__(&TVMFFIStringFromByteArray) new_string;
    __typeof__(&TVMFFIErrorMoveFromRaised) take_error;
    __typeof__(&TVMFFIErrorSetRaisedFromCStr) raise;
} tvm;

static TVMFFIByteArray bytes_of(const char *string) { return (TVMFFIByteArray){string, strlen(string)}; }

static void *open_library(const char *folders, const char *name) {
    char path[PATH];
    for (const char *rest = folders; *rest; rest += *rest == ':') {
        int size = (int)strcspn(rest, ":");
        snprintf(path, sizeof path, "%.*s/%s", size, rest, name);
        rest += size;
        if (!access(path, F_OK)) break;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library) return library;
    say("TVM's runtime cannot be loaded: %s (--lib DIR says where it is)", dlerror());
    exit(1);
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found) return found;
    say("libtvm_ffi.so lacks %s: it is of another version than this server was made for", name);
    exit(1);
}

void load_tvm(const char *folders) {
    void *ffi = open_library(folders, "libtvm_ffi.so");
    tvm.get_version = (__typeof__(tvm.get_version))symbol(ffi, "TVMFFIGetVersion");
    tvm.release = (__typeof__(tvm.release))symbol(ffi, "TVMFFIObjectDecRef");
    tvm.find = (__typeof__(tvm.find))symbol(ffi, "TVMFFIFunctionGetGlobal");
    tvm.set = (__typeof__(tvm.set))symbol(ffi, "TVMFFIFunctionSetGlobal");
    tvm.create = (__typeof__(tvm.create))symbol(ffi, "TVMFFIFunctionCreate");
    tvm.call = (__typeof__(tvm.call))symbol(ffi, "TVMFFIFunctionCall");
    tvm.new_string = (__typeof__(tvm.new_string))symbol(ffi, "TVMFFIStringFromByteArray");
    tvm.take_error = (__typeof__(tvm.take_error))symbol(ffi, "TVMFFIErrorMoveFromRaised");
    tvm.raise = (__typeof__(tvm.raise))symbol(ffi, "TVMFFIErrorSetRaisedFromCStr");
    open_library(folders, "libtvm_runtime.so");
}

const char *tvm_ffi_version(void) {
    static char version[64];
    TVMFFIVersion found;
    tvm.get_version(&found);
    snprintf(version, sizeof version, "%u.%u.%u", found.major, found.minor, found.patch);
    return version;
}

int tvm_call(const char *name, const TVMFFIAny *arguments, int count, TVMFFIAny *result) {
    TVMFFIByteArray bytes = bytes_of(name);
    TVMFFIObjectHandle function = NULL;
    *result = (TVMFFIAny){.type_index = kTVMFFINone};
    if (tvm.find(&bytes, &function) || !function) return tvm_raise("RuntimeError", "TVM's runtime has no %s", name);
    int status = tvm.call(function, (TVMFFIAny *)arguments, count, result);
    tvm.release(function);
    return status;
}

void tvm_register(const char *name, TVMFFISafeCallType function) {
    TVMFFIByteArray bytes = bytes_of(name);
    TVMFFIObjectHandle handle;
    if (!tvm.create(NULL, function, NULL, &handle) && !tvm.set(&bytes, handle, 1)) return;
    tvm_say_error(name);
    exit(1);
}

int tvm_raise(const char *kind, const char *format, ...) {
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    tvm.raise(kind, message);
    return -1;
}

void tvm_say_error(const char *what) {
    TVMFFIObjectHandle error = NULL;
    tvm.take_error(&error);
    if (!error) return;
    TVMFFIErrorCell *cell = (TVMFFIErrorCell *)((char *)error + sizeof(TVMFFIObject));
    say("%s: %.*s: %.*s", what, (int)cell->kind.size, cell->kind.data, (int)cell->message.size, cell->message.data);
    tvm.release(error);
}

int tvm_return_string(const char *string, TVMFFIAny *result) {
    TVMFFIByteArray bytes = bytes_of(string);
    return tvm.new_string(&bytes, result);
}

int tvm_string(const TVMFFIAny *argument, const char *what, char *string, size_t room) {
    TVMFFIByteArray bytes;
    if (tvm_bytes(argument, &bytes)) return -1;
    if (bytes.size >= room || (bytes.size && memchr(bytes.data, 0, bytes.size)))
        return tvm_raise("ValueError", "%s has %zu bytes, or a 0 in it: use one of at most %zu", what, bytes.size, room - 1);
    if (bytes.size) memcpy(string, bytes.data, bytes.size);
    string[bytes.size] = 0;
    return 0;
}

int tvm_bytes(const TVMFFIAny *argument, TVMFFIByteArray *bytes) {
    switch (argument->type_index) {
        case kTVMFFIRawStr:
            *bytes = bytes_of(argument->v_c_str);
            return 0;
        case kTVMFFISmallStr:
        case kTVMFFISmallBytes:
            *bytes = (TVMFFIByteArray){argument->v_bytes, argument->small_str_len};
            return 0;
        case kTVMFFIByteArrayPtr:
            *bytes = *(TVMFFIByteArray *)argument->v_ptr;
            return 0;
        case kTVMFFIStr:
        case kTVMFFIBytes:
            *bytes = *(TVMFFIByteArray *)((char *)argument->v_obj + sizeof(TVMFFIObject));
            return 0;
        default:
            return tvm_raise("TypeError", "a string or bytes are expected, not TVM's type %d", argument->type_index);
    }
}
