/* Preloaded into a process so that a test can give it a wrong clock, a slow disk or a full one while it runs (see faults.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* What the file named by WARMLOOP_FAULTS holds; the test writes to it. */
struct faults {
    double clock;         /* seconds that the wall clock is ahead */
    double fsync;         /* seconds that every fsync takes */
    double full;          /* not 0: nothing more can be written below `folder` */
    char folder[PATH_MAX];
};
static volatile struct faults *faults;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("WARMLOOP_FAULTS");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) faults = found;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t id, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(id, now);
    if (faults && result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += (time_t)faults->clock;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int result = real(now, zone);
    if (faults && now) now->tv_sec += (time_t)faults->clock;
    return result;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}

static int full(int file) {
    if (!faults || faults->full == 0) return 0;
    struct stat status;
    if (fstat(file, &status) || !S_ISREG(status.st_mode)) return 0;
    char link[64], path[PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, (const char *)faults->folder, strlen((const char *)faults->folder))) return 0;
    errno = ENOSPC;
    return 1;
}

static void wait_for_disk(void) {
    if (faults && faults->fsync > 0) {
        struct timespec span = {(time_t)faults->fsync, (long)((faults->fsync - (time_t)faults->fsync) * 1e9)};
        nanosleep(&span, NULL);
    }
}

int fsync(int file) { REAL(fsync); wait_for_disk(); return full(file) ? -1 : real(file); }
int fdatasync(int file) { REAL(fdatasync); wait_for_disk(); return full(file) ? -1 : real(file); }
ssize_t write(int file, const void *data, size_t size) { REAL(write); return full(file) ? -1 : real(file, data, size); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at) { REAL(pwrite); return full(file) ? -1 : real(file, data, size, at); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) { REAL(pwrite64); return full(file) ? -1 : real(file, data, size, at); }
ssize_t writev(int file, const struct iovec *parts, int count) { REAL(writev); return full(file) ? -1 : real(file, parts, count); }
