/* A disk that fails: preloaded into processes (LD_PRELOAD), it makes chosen calls on files below one folder fail or wait.
   What is to fail stands in a file that all of these processes map (ALMR_DISK_FAULTS); disk_faults.py writes it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, SYNC = 4, RENAME = 8, MAKE = 16, LIST = 32, READ = 64, REMOVE = 128 };

struct faults { /* as in disk_faults.py */
  volatile int armed, kinds, number, once;
  volatile long first, delay_ms, count;
  char folder[1024], last[1024];
};

static struct faults *faults;

__attribute__((constructor)) static void map_faults(void) {
  const char *file = getenv("ALMR_DISK_FAULTS");
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int descriptor = file ? real(file, O_RDWR) : -1;
  if (descriptor < 0) return;
  void *found = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (found != MAP_FAILED) faults = found;
  close(descriptor);
}

/* Whether this call fails; sets errno. Waits where it is to wait. */
static int fails(int kind, const char *path) {
  if (!faults || !faults->armed || !(faults->kinds & kind)) return 0;
  size_t length = strlen((const char *)faults->folder);
  if (strncmp(path, (const char *)faults->folder, length) || (path[length] && path[length] != '/')) return 0;
  long at = __atomic_add_fetch(&faults->count, 1, __ATOMIC_SEQ_CST);
  if (faults->once ? at != faults->first : at < faults->first) return 0;
  snprintf(faults->last, sizeof faults->last, "%d %s", kind, path);
  if (faults->delay_ms) {
    struct timespec left = {faults->delay_ms / 1000, faults->delay_ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
  }
  errno = faults->number;
  return faults->number != 0;
}

static int on_path(int kind, int folder, const char *path) {
  char whole[PATH_MAX * 2], link[64];
  if (!faults || !faults->armed || !path) return 0;
  if (path[0] == '/') return fails(kind, path);
  if (folder == AT_FDCWD) {
    if (!getcwd(whole, PATH_MAX)) return 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX - 1);
    if (length < 0) return 0;
    whole[length] = 0;
  }
  strncat(whole, "/", sizeof whole - strlen(whole) - 1);
  strncat(whole, path, sizeof whole - strlen(whole) - 1);
  return fails(kind, whole);
}

static int on_file(int kind, int descriptor) {
  char path[PATH_MAX], link[64];
  if (!faults || !faults->armed) return 0;
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = before;
  if (length < 0 || path[0] != '/') return 0;
  path[length] = 0;
  return fails(kind, path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define OPENS(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR) ? OPEN : READ)
#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

#define OPEN_CALL(name) \
  int name(const char *path, int flags, ...) { \
    MODE(flags) REAL(name); \
    return on_path(OPENS(flags), AT_FDCWD, path) ? -1 : real(path, flags, mode); }
#define OPENAT_CALL(name) \
  int name(int folder, const char *path, int flags, ...) { \
    MODE(flags) REAL(name); \
    return on_path(OPENS(flags), folder, path) ? -1 : real(folder, path, flags, mode); }
OPEN_CALL(open) OPEN_CALL(open64) OPENAT_CALL(openat) OPENAT_CALL(openat64)

FILE *fopen64(const char *path, const char *mode) {
  REAL(fopen64);
  return on_path(mode[0] == 'r' && !strchr(mode, '+') ? READ : OPEN, AT_FDCWD, path) ? NULL : real(path, mode);
}
FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }

#define ON_FILE(type, failed, kind, name, parameters, arguments, descriptor) \
  type name parameters { REAL(name); return on_file(kind, descriptor) ? failed : real arguments; }
#define ON_PATH(type, failed, kind, name, parameters, arguments, folder, path) \
  type name parameters { REAL(name); return on_path(kind, folder, path) ? failed : real arguments; }

ON_FILE(ssize_t, -1, WRITE, write, (int fd, const void *b, size_t n), (fd, b, n), fd)
ON_FILE(ssize_t, -1, WRITE, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), fd)
ON_FILE(ssize_t, -1, WRITE, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), fd)
ON_FILE(ssize_t, -1, WRITE, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd)
ON_FILE(ssize_t, -1, WRITE, sendfile, (int out, int in, off_t *o, size_t n), (out, in, o, n), out)
ON_FILE(ssize_t, -1, WRITE, sendfile64, (int out, int in, off64_t *o, size_t n), (out, in, o, n), out)
ON_FILE(int, -1, WRITE, ftruncate, (int fd, off_t n), (fd, n), fd)
ON_FILE(int, -1, WRITE, ftruncate64, (int fd, off64_t n), (fd, n), fd)
ON_FILE(size_t, 0, WRITE, fwrite, (const void *b, size_t s, size_t n, FILE *f), (b, s, n, f), fileno(f))
ON_FILE(int, -1, SYNC, fsync, (int fd), (fd), fd)
ON_FILE(int, -1, SYNC, fdatasync, (int fd), (fd), fd)
ON_FILE(DIR *, NULL, LIST, fdopendir, (int fd), (fd), fd)
ON_PATH(DIR *, NULL, LIST, opendir, (const char *p), (p), AT_FDCWD, p)
ON_PATH(int, -1, RENAME, rename, (const char *a, const char *b), (a, b), AT_FDCWD, b)
ON_PATH(int, -1, RENAME, renameat, (int x, const char *a, int y, const char *b), (x, a, y, b), y, b)
ON_PATH(int, -1, RENAME, link, (const char *a, const char *b), (a, b), AT_FDCWD, b)
ON_PATH(int, -1, RENAME, linkat, (int x, const char *a, int y, const char *b, int f), (x, a, y, b, f), y, b)
ON_PATH(int, -1, RENAME, symlink, (const char *a, const char *b), (a, b), AT_FDCWD, b)
ON_PATH(int, -1, MAKE, mkdir, (const char *p, mode_t m), (p, m), AT_FDCWD, p)
ON_PATH(int, -1, MAKE, mkdirat, (int x, const char *p, mode_t m), (x, p, m), x, p)
ON_PATH(int, -1, REMOVE, unlink, (const char *p), (p), AT_FDCWD, p)
ON_PATH(int, -1, REMOVE, unlinkat, (int x, const char *p, int f), (x, p, f), x, p)
ON_PATH(int, -1, REMOVE, rmdir, (const char *p), (p), AT_FDCWD, p)
ON_PATH(int, -1, READ, stat, (const char *p, struct stat *s), (p, s), AT_FDCWD, p)
ON_PATH(int, -1, READ, stat64, (const char *p, struct stat64 *s), (p, s), AT_FDCWD, p)
ON_PATH(int, -1, READ, lstat, (const char *p, struct stat *s), (p, s), AT_FDCWD, p)
ON_PATH(int, -1, READ, lstat64, (const char *p, struct stat64 *s), (p, s), AT_FDCWD, p)
ON_PATH(int, -1, READ, fstatat, (int x, const char *p, struct stat *s, int f), (x, p, s, f), x, p)
ON_PATH(int, -1, READ, fstatat64, (int x, const char *p, struct stat64 *s, int f), (x, p, s, f), x, p)
