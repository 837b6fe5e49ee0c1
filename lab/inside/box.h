/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one static program of the guest. It is started under several names (links), as busybox is, since
 * a static libc per tool would make the initramfs, and with it every boot, larger.
 */
#ifndef LAB_BOX_H
#define LAB_BOX_H

/* Process 1: reaps orphans and runs the commands that arrive on the second serial port. */
int agent_main(int argc, char **argv);

/* procs COUNT: start COUNT processes that sleep for ever. */
int procs_main(int argc, char **argv);

/* hog: take memory until the OOM killer acts. */
int hog_main(int argc, char **argv);

/* forkbomb COUNT: double until COUNT processes exist; they stay. */
int forkbomb_main(int argc, char **argv);

/* stuck-writer FILE: write one byte to FILE, for ever in state D if its file system is frozen. */
int stuck_writer_main(int argc, char **argv);

/* sleepers COUNT: start COUNT processes that share one memory and sleep for ever; quicker than procs. */
int sleepers_main(int argc, char **argv);

/* work cpu|memory ROUNDS: a fixed amount of work, how long it took, and its median round. */
int work_main(int argc, char **argv);

/* victim: a process "lab-victim" of user 1000, for lab/rootkit; prints its pid. */
int victim_main(int argc, char **argv);

#endif
