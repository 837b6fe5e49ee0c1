/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LAB_ROOTKIT_H
#define LAB_ROOTKIT_H

#include <linux/atomic.h>
#include <linux/types.h>

/* The one process that the tricks on processes take. */
#define VICTIM "lab-victim"

/* What the kernel does not export; given by whoever loads the module. */
enum { SYS_CALL_TABLE, MODULES, NULL_FOPS, SET_MEMORY_RO, SET_MEMORY_X, ADDRESSES };
extern unsigned long addresses[ADDRESSES];
/* Of the victim. */
extern int pid;

enum trick_id {
	HIDE_TASK,
	HIDE_PID,
	HIDE_MODULE,
	SYSCALL,
	FTRACE,
	KPROBE,
	NETFILTER,
	NOTIFIER,
	TIMER,
	TEXT,
	FOPS,
	FOPS_OUTSIDE,
	PROTO,
	CRED,
	CRED_CAPS,
	CRED_INIT,
	TRICKS,
};

/* Of the hooks, by trick. */
extern atomic_t calls[TRICKS];

int hide_task(void);
void show_task(void);
int hide_pid(void);
void show_pid(void);
int hide_module(void);
void show_module(void);
int syscall_on(void);
void syscall_off(void);
int ftrace_on(void);
void ftrace_off(void);
int kprobe_on(void);
void kprobe_off(void);
int netfilter_on(void);
void netfilter_off(void);
int notifier_on(void);
void notifier_off(void);
int timer_on(void);
void timer_off(void);
int text_on(void);
void text_off(void);
int fops_on(void);
void fops_off(void);
int fops_outside_on(void);
void fops_outside_off(void);
int proto_on(void);
void proto_off(void);
int cred_on(void);
void cred_off(void);
int cred_caps_on(void);
int cred_init_on(void);
void cred_init_off(void);

#endif
