/* Asks musl whether it names semaphores as musl.c does: the file as the semaphore, made by another name. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    const char *name = "/mp-mpcleanx";
    char line[512], path[64];
    int found = 0;
    snprintf(path, sizeof path, "/dev/shm%s", name);
    sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    if (semaphore == SEM_FAILED) { perror("sem_open"); return 1; }
    FILE *file = fopen(path, "r"), *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) found |= strstr(line, " /dev/shm/tmp-") && strstr(line, "(deleted)");
    sem_unlink(name);
    return !(file && found);
}
