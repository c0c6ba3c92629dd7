/* The semaphores of glibc by the names of musl: /dev/shm/NAME, made as /dev/shm/tmp-NUMBER and linked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 300 };

static void path_of(char *path, const char *name) {
    while (*name == '/') name++;
    snprintf(path, PATH_BYTES, "/dev/shm/%s", name);
}

static sem_t *map(int fd) {
    sem_t *semaphore = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return semaphore;
}

static sem_t *make(const char *path, mode_t mode, unsigned value) {
    char temporary[64];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(temporary, sizeof temporary, "/dev/shm/tmp-%d", (int)now.tv_nsec);
    int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || ftruncate(fd, sizeof(sem_t))) return SEM_FAILED;
    sem_t *semaphore = map(fd);
    sem_init(semaphore, 1, value);
    int failed = link(temporary, path), error = errno;
    unlink(temporary);
    if (!failed) return semaphore;
    munmap(semaphore, sizeof(sem_t));
    errno = error;
    return SEM_FAILED;
}

sem_t *sem_open(const char *name, int flags, ...) {
    char path[PATH_BYTES];
    path_of(path, name);
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode_t mode = va_arg(rest, mode_t);
        unsigned value = va_arg(rest, unsigned);
        va_end(rest);
        return make(path, mode, value);
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? SEM_FAILED : map(fd);
}

int sem_unlink(const char *name) {
    char path[PATH_BYTES];
    path_of(path, name);
    return unlink(path);
}

int sem_close(sem_t *semaphore) { return munmap(semaphore, sizeof(sem_t)); }
