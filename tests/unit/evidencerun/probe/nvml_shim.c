// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for libnvidia-ml.so.1 in tests: answers from a file of key=value lines (variable NVML_SHIM), so that the
// real Python binding, its structures and the loader are exercised. `fail.SYMBOL=CODE` makes a call fail,
// `fail.SYMBOL.INDEX=CODE` for one GPU; `busy.SYMBOL.INDEX=FILE` fails once with "not ready" and makes that file; `hang.SYMBOL.INDEX=FILE` makes that file and blocks for ever, `crash.SYMBOL.INDEX` ends the process.
// Whatever is not here gives the binding's "function not found".
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef SHIM_MOCK
const char *shim_variable = "MOCK_NVML_CONFIG";
#endif

static const char *value_of(const char *key) {
  static char line[512];
  const char *path = getenv("NVML_SHIM");
  FILE *file = path ? fopen(path, "r") : NULL;
  size_t length = strlen(key);
  while (file && fgets(line, sizeof line, file)) {
    if (!strncmp(line, key, length) && line[length] == '=') {
      fclose(file);
      line[strcspn(line, "\n")] = 0;
      return line + length + 1;
    }
  }
  if (file) fclose(file);
  return NULL;
}

static const char *about(const char *what, const char *symbol, long index) {
  char key[128];
  snprintf(key, sizeof key, "%s.%s.%ld", what, symbol, index);
  const char *found = value_of(key);
  if (found) return found;
  snprintf(key, sizeof key, "%s.%s", what, symbol);
  return value_of(key);
}

static int fault(const char *symbol, long index) {
  const char *hung = about("hang", symbol, index);
  if (hung) {
    FILE *mark = fopen(hung, "w");
    if (mark) fclose(mark);
    for (;;) pause();
  }
  if (about("crash", symbol, index)) raise(SIGSEGV);
  const char *busy = about("busy", symbol, index);
  if (busy && access(busy, F_OK)) {
    FILE *mark = fopen(busy, "w");
    if (mark) fclose(mark);
    return 27;
  }
  const char *code = about("fail", symbol, index);
  return code ? atoi(code) : 0;
}

static long number(const char *name, long index, long otherwise) {
  const char *found = about("gpu", name, index);
  return found ? strtol(found, NULL, 0) : otherwise;
}

static long index_of(void *device) { return (long)device - 1; }

static int text(const char *symbol, const char *name, long index, char *out, unsigned length) {
  int code = fault(symbol, index);
  const char *found = about("gpu", name, index);
  if (code) return code;
  if (!found) return 3;
  snprintf(out, length, "%s", found);
  return 0;
}

#define SYSTEM_TEXT(symbol, key) \
  int symbol(char *out, unsigned length) { \
    int code = fault(#symbol, 0); \
    const char *found = value_of(key); \
    if (code) return code; \
    if (!found) return 3; \
    snprintf(out, length, "%s", found); \
    return 0; \
  }
#define DEVICE_TEXT(symbol, key) \
  int symbol(void *device, char *out, unsigned length) { return text(#symbol, key, index_of(device), out, length); }
#define DEVICE_NUMBER(symbol, key) \
  int symbol(void *device, unsigned *out) { \
    int code = fault(#symbol, index_of(device)); \
    long found = number(key, index_of(device), -1); \
    if (code) return code; \
    if (found < 0) return 3; \
    *out = (unsigned)found; \
    return 0; \
  }

int nvmlInitWithFlags(unsigned flags) { (void)flags; return fault("nvmlInitWithFlags", 0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "shim"; }
SYSTEM_TEXT(nvmlSystemGetDriverVersion, "driver")
SYSTEM_TEXT(nvmlSystemGetNVMLVersion, "nvml")

int nvmlSystemGetCudaDriverVersion_v2(int *out) {
  int code = fault("nvmlSystemGetCudaDriverVersion_v2", 0);
  const char *found = value_of("cuda");
  if (code || !found) return code ? code : 3;
  *out = atoi(found);
  return 0;
}

int nvmlDeviceGetCount_v2(unsigned *out) {
  int code = fault("nvmlDeviceGetCount_v2", 0);
  const char *found = value_of("count");
  *out = found ? (unsigned)atoi(found) : 0;
  return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
  *out = (void *)((long)index + 1);
  return fault("nvmlDeviceGetHandleByIndex_v2", index);
}

DEVICE_TEXT(nvmlDeviceGetName, "name")
DEVICE_TEXT(nvmlDeviceGetUUID, "uuid")
DEVICE_TEXT(nvmlDeviceGetSerial, "serial")
DEVICE_TEXT(nvmlDeviceGetBoardPartNumber, "board")
DEVICE_TEXT(nvmlDeviceGetVbiosVersion, "vbios")
DEVICE_TEXT(nvmlDeviceGetInforomImageVersion, "inforom")
DEVICE_NUMBER(nvmlDeviceGetModuleId, "module")
DEVICE_NUMBER(nvmlDeviceGetArchitecture, "architecture")
DEVICE_NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
DEVICE_NUMBER(nvmlDeviceGetVirtualizationMode, "virtualization")

int nvmlDeviceGetGspFirmwareVersion(void *device, char *out) {
  return text("nvmlDeviceGetGspFirmwareVersion", "gsp", index_of(device), out, 64);
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
  int code = fault("nvmlDeviceGetCudaComputeCapability", index_of(device));
  long found = number("capability", index_of(device), -1);
  if (code || found < 0) return code ? code : 3;
  *major = (int)(found / 10);
  *minor = (int)(found % 10);
  return 0;
}

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(void *device, struct memory *out) {
  int code = fault("nvmlDeviceGetMemoryInfo", index_of(device));
  out->total = (unsigned long long)number("memory", index_of(device), 0) << 20;
  out->free = out->total;
  out->used = 0;
  return code;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; };

int nvmlDeviceGetPciInfo_v3(void *device, struct pci *out) {
  memset(out, 0, sizeof *out);
  out->id = (unsigned)number("pci", index_of(device), 0);
  out->subsystem = (unsigned)number("subsystem", index_of(device), 0);
  snprintf(out->address, sizeof out->address, "00000000:%02lX:00.0", index_of(device) + 1);
  return fault("nvmlDeviceGetPciInfo_v3", index_of(device));
}

int nvmlDeviceGetMaxClockInfo(void *device, unsigned kind, unsigned *out) {
  *out = (unsigned)number(kind == 2 ? "memory-clock" : "clock", index_of(device), 0);
  return fault("nvmlDeviceGetMaxClockInfo", index_of(device));
}

int nvmlDeviceGetNvLinkState(void *device, unsigned link, unsigned *out) {
  int code = fault("nvmlDeviceGetNvLinkState", index_of(device));
  *out = 1;
  if (code) return code;
  return link < (unsigned)number("links", index_of(device), 0) ? 0 : 2;
}

int nvmlDeviceGetNvLinkVersion(void *device, unsigned link, unsigned *out) {
  (void)link;
  *out = (unsigned)number("link-version", index_of(device), 0);
  return fault("nvmlDeviceGetNvLinkVersion", index_of(device));
}

struct fabric {
  unsigned version;
  unsigned char cluster[16];
  int status;
  unsigned clique;
  unsigned state;
  unsigned mask;
  unsigned char summary;
};

int nvmlDeviceGetGpuFabricInfoV(void *device, struct fabric *out) {
  int code = fault("nvmlDeviceGetGpuFabricInfoV", index_of(device));
  long newest = number("fabric-version", index_of(device), 3);
  if (code) return code;
  if ((out->version >> 24) > newest) return 25;
  memset(out->cluster, (int)number("fabric-cluster", index_of(device), 0), sizeof out->cluster);
  out->status = 0;
  out->clique = (unsigned)number("fabric-clique", index_of(device), 0);
  out->state = (unsigned)number("fabric-state", index_of(device), 3);
  return 0;
}
